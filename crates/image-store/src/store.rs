//! The data directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coreos_names::Sha256;
use live_iso::Layout;
use sha2::Digest;
use uuid::Uuid;

use crate::error::Error;
use crate::image::{Image, Lease, Proof};
use crate::index::{ImageRecord, ResolvedRelease};
use crate::key::ImageKey;
use crate::staging::{self, Staging, StagingFile};

/// The images of one data directory. Cheap to clone. All its work is blocking file I/O.
#[derive(Clone, Debug)]
pub struct ImageStore(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    data_dir: PathBuf,
    /// Distinguishes the staging files of this process from those of others on the same volume.
    instance: String,
    next_staging_number: AtomicU64,
    /// Bytes that running downloads were promised and have not written yet.
    promised: Mutex<u64>,
}

impl ImageStore {
    /// Opens a data directory, makes ours inside it, and removes what an earlier process left unfinished.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let inner = Inner {
            data_dir: data_dir.to_owned(),
            instance: Uuid::new_v4().simple().to_string(),
            next_staging_number: AtomicU64::new(0),
            promised: Mutex::new(0),
        };
        for directory in [inner.staging_dir(), inner.images_dir(), inner.releases_dir()] {
            std::fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        }
        staging::remove_abandoned(&inner.staging_dir())?;
        Ok(Self(Arc::new(inner)))
    }

    /// The image of this name, if a file with exactly these bytes is there: one that was published, or one without an
    /// entry in the index that turns out to be the image, as after an upgrade from the predecessor.
    ///
    /// A file that was touched since it was proven is hashed; one of ours that is damaged counts as absent. Other bytes
    /// under this name are an error: [`Error::Conflict`] or [`Error::Occupied`].
    pub fn find(&self, key: &ImageKey, sha256: Sha256) -> Result<Option<Lease>, Error> {
        self.0.find(key, sha256)
    }

    /// A new place for the bytes of an image.
    pub fn stage(&self) -> Result<Staging, Error> {
        Ok(Staging::new(self.0.staging_file("iso")?, Arc::clone(&self.0)))
    }

    /// What `pullspec` was resolved to the last time, by this or an earlier process.
    pub fn resolved_release(&self, pullspec: &str) -> Result<Option<ResolvedRelease>, Error> {
        ResolvedRelease::read(&self.0, pullspec)
    }

    /// Remembers what a release image was resolved to.
    pub fn record_release(&self, release: &ResolvedRelease) -> Result<(), Error> {
        release.write(&self.0)
    }
}

impl Inner {
    fn own_dir(&self) -> PathBuf {
        self.data_dir.join(".coreos-image-service/v1")
    }

    fn staging_dir(&self) -> PathBuf {
        self.own_dir().join("staging")
    }

    pub(crate) fn images_dir(&self) -> PathBuf {
        self.own_dir().join("images")
    }

    pub(crate) fn releases_dir(&self) -> PathBuf {
        self.own_dir().join("releases")
    }

    pub(crate) fn image_path(&self, key: &ImageKey) -> PathBuf {
        self.data_dir.join(key.file_name())
    }

    pub(crate) fn find(&self, key: &ImageKey, sha256: Sha256) -> Result<Option<Lease>, Error> {
        let path = self.image_path(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let metadata = file.metadata().map_err(Error::io("read", &path))?;
        let record = ImageRecord::read(self, key)?;
        let as_recorded =
            record.as_ref().filter(|record| record.describes(&metadata)).map(|record| record.sha256);
        let actual = match as_recorded {
            Some(proven) => proven,
            None => sha256_of(&file).map_err(Error::io("read", &path))?,
        };
        if actual != sha256 {
            return match record {
                Some(record) if record.sha256 == actual => {
                    Err(Error::Conflict { key: key.clone(), published: actual, new: sha256 })
                }
                Some(_) => {
                    tracing::warn!(path = %path.display(), "the file is not the one that was proven; it is not served");
                    Ok(None)
                }
                None => Err(Error::Occupied { path }),
            };
        }
        let layout = Layout::read(&file).map_err(Error::Layout)?;
        if as_recorded.is_none() {
            ImageRecord::new(key.clone(), sha256, Proof::Digest, &metadata).write(self)?;
        }
        Ok(Some(Lease::new(Image { key: key.clone(), sha256, proof: Proof::Digest, layout, file })))
    }

    pub(crate) fn staging_file(&self, extension: &str) -> Result<StagingFile, Error> {
        StagingFile::create(&self.staging_dir(), || {
            let number = self.next_staging_number.fetch_add(1, Ordering::Relaxed);
            format!("{}-{number}.{extension}", self.instance)
        })
    }
}

/// Free space set aside for one download, so that several running at once do not count on the same bytes.
#[derive(Debug)]
pub(crate) struct Promise {
    remaining: u64,
    store: Arc<Inner>,
}

impl Promise {
    pub(crate) fn none(store: Arc<Inner>) -> Self {
        Self { remaining: 0, store }
    }

    /// Exchanges the promise for one of `size` bytes, or says that there are not so many.
    pub(crate) fn renew(&mut self, size: u64) -> Result<(), Error> {
        self.keep(self.remaining);
        let data_dir = &self.store.data_dir;
        let mut promised = self.store.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let free = rustix::fs::statvfs(data_dir)
            .map(|file_system| file_system.f_bavail.saturating_mul(file_system.f_frsize))
            .map_err(|errno| Error::io("read the free space of", data_dir)(errno.into()))?;
        let available = free.saturating_sub(*promised);
        if size > available {
            return Err(Error::NoSpace { path: data_dir.clone(), needed: size, available });
        }
        *promised += size;
        self.remaining = size;
        Ok(())
    }

    /// Counts `written` bytes as delivered: they are no longer free space.
    pub(crate) fn keep(&mut self, written: u64) {
        let kept = written.min(self.remaining);
        self.remaining -= kept;
        *self.store.promised.lock().unwrap_or_else(PoisonError::into_inner) -= kept;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(self.remaining);
    }
}

fn sha256_of(mut file: &File) -> io::Result<Sha256> {
    const CHUNK: usize = 256 * 1024;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256::new(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
