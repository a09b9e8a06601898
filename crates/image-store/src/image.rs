//! An image that can be served, and the right to read it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use coreos_names::Sha256;
use live_iso::{Extent, Layout};

use crate::index::ImageRecord;
use crate::key::ImageKey;
use crate::nmstate::{NmstateArchive, NmstateTrouble};
use crate::proof::Proof;
use crate::store::Inner;

/// An image: an open file and everything any request may need to know of it.
#[derive(Debug)]
pub struct Image {
    key: ImageKey,
    sha256: Sha256,
    proof: Proof,
    layout: Layout,
    file: File,
    /// Tells files apart.
    device_and_inode: (u64, u64),
    nmstate: OnceLock<NmstateArchive>,
    nmstate_trouble: Mutex<Option<NmstateTrouble>>,
}

/// The right to read an image. While one exists the image stays readable, even after it was removed from the directory.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Image>);

/// An image that is remembered, but not held.
#[derive(Debug)]
pub(crate) struct WeakLease(Weak<Image>);

impl WeakLease {
    /// How many leases there are on it.
    pub(crate) fn count(&self) -> usize {
        self.0.strong_count()
    }

    /// Whether this lease is one of them.
    pub(crate) fn is_of(&self, lease: &Lease) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&lease.0))
    }
}

/// The images that somebody can read.
#[derive(Debug, Default)]
pub(crate) struct Leased(Mutex<Vec<Weak<Image>>>);

impl Inner {
    /// Leases the image of a record. One file is the same image for everybody.
    pub(crate) fn lease(
        &self,
        record: &ImageRecord,
        layout: Layout,
        file: File,
        metadata: &Metadata,
    ) -> Lease {
        let ImageRecord { key, sha256, proof, .. } = record.clone();
        let device_and_inode = (metadata.dev(), metadata.ino());
        let nmstate = OnceLock::new();
        let nmstate_trouble = Mutex::default();
        let image = Image { key, sha256, proof, layout, file, device_and_inode, nmstate, nmstate_trouble };
        let mut leased = self.leased.0.lock().unwrap_or_else(PoisonError::into_inner);
        leased.retain(|image| image.strong_count() > 0);
        let mut same = leased.iter().filter_map(Weak::upgrade).filter(|other| other.is_same(&image));
        if let Some(same) = same.next() {
            return Lease(same);
        }
        let image = Arc::new(image);
        leased.push(Arc::downgrade(&image));
        Lease(image)
    }

    /// Whether somebody in this process holds a lease on this image, in whichever version.
    pub(crate) fn is_leased(&self, key: &ImageKey) -> bool {
        let leased = self.leased.0.lock().unwrap_or_else(PoisonError::into_inner);
        leased.iter().filter_map(Weak::upgrade).any(|image| image.key == *key)
    }
}

impl Image {
    fn is_same(&self, other: &Self) -> bool {
        let identity = |image: &Self| (image.sha256, image.proof, image.device_and_inode);
        self.key == other.key && identity(self) == identity(other)
    }
}

impl Lease {
    /// Which image this is.
    pub fn key(&self) -> &ImageKey {
        &self.0.key
    }

    /// The SHA-256 of the whole ISO.
    pub fn sha256(&self) -> Sha256 {
        self.0.sha256
    }

    /// How the image was proven.
    pub fn proof(&self) -> Proof {
        self.0.proof
    }

    /// Where things are in the ISO.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    pub(crate) fn downgrade(&self) -> WeakLease {
        WeakLease(Arc::downgrade(&self.0))
    }

    /// The archive with `nmstatectl`, once [`crate::ImageStore::prepare_nmstate`] has been asked for it.
    pub fn nmstate(&self) -> Option<&NmstateArchive> {
        self.0.nmstate.get()
    }

    pub(crate) fn set_nmstate(&self, archive: NmstateArchive) {
        // Whoever was first made the same bytes.
        self.0.nmstate.get_or_init(|| archive);
    }

    /// Why there is no archive with `nmstatectl` though it was asked for. `None` if there is one, or nobody asked.
    pub fn nmstate_trouble(&self) -> Option<NmstateTrouble> {
        if self.nmstate().is_some() {
            return None;
        }
        self.0.nmstate_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_nmstate_trouble(&self, trouble: NmstateTrouble) {
        *self.0.nmstate_trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    /// Reads exactly `extent` of the ISO, on the thread pool for blocking work.
    ///
    /// The caller chooses the size of its reads; one buffer of that size is allocated.
    pub async fn read(&self, extent: Extent) -> io::Result<Bytes> {
        let image = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || read_extent(&image.file, extent)).await?
    }

    /// Reads exactly `extent` of the nmstate archive in the same way. Fails with [`io::ErrorKind::NotFound`] where there
    /// is none.
    pub async fn read_nmstate(&self, extent: Extent) -> io::Result<Bytes> {
        let image = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            let archive = image.nmstate.get().ok_or(io::ErrorKind::NotFound)?;
            read_extent(&archive.file, extent)
        })
        .await?
    }
}

/// Reads into fresh memory that is never zeroed first: on the serving path that is a tenth of the CPU time.
fn read_extent(file: &File, extent: Extent) -> io::Result<Bytes> {
    let len = usize::try_from(extent.len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut buffer = Vec::with_capacity(len);
    while buffer.len() < len {
        let offset = extent.offset + buffer.len() as u64;
        let read = rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), offset);
        match read {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // An allocator may give more room than was asked for, and the read fills all of it.
    buffer.truncate(len);
    Ok(Bytes::from(buffer))
}
