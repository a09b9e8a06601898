//! A published image and the right to read it.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use coreos_names::Sha256;
use live_iso::{Extent, Layout};
use serde::{Deserialize, Serialize};

use crate::key::ImageKey;

/// How it is known that an image is what its source meant it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Its SHA-256 is the one that a digest-verified release payload states.
    Digest,
}

impl Proof {
    /// The name shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Digest => "digest",
        }
    }
}

/// A published image: an open file and everything any request may need to know of it.
#[derive(Debug)]
pub struct Image {
    pub(crate) key: ImageKey,
    pub(crate) sha256: Sha256,
    pub(crate) proof: Proof,
    pub(crate) layout: Layout,
    pub(crate) file: File,
}

/// The right to read an image. While one exists the image stays readable, even after it was removed from the directory.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Image>);

impl Lease {
    pub(crate) fn new(image: Image) -> Self {
        Self(Arc::new(image))
    }

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

    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    /// Reads exactly `extent`, on the thread pool for blocking work.
    ///
    /// The caller chooses the size of its reads; one buffer of that size is allocated.
    pub async fn read(&self, extent: Extent) -> io::Result<Bytes> {
        let image = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || read_extent(&image.file, extent)).await?
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
