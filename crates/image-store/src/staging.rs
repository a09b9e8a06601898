//! Files on their way in: written under a name of their own, locked, and removed unless they are published.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreos_names::Sha256;
use live_iso::Layout;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use sha2::Digest;

use crate::error::Error;
use crate::image::{Image, Lease, Proof};
use crate::index::ImageRecord;
use crate::key::ImageKey;
use crate::store::{Inner, Promise};

/// A locked file in the staging directory. Dropped, it is removed; [`StagingFile::rename`] gives it its final name.
///
/// The lock tells a second process on the same volume that the file is alive, see [`remove_abandoned`].
#[derive(Debug)]
pub(crate) struct StagingFile {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl StagingFile {
    /// Creates a file in `directory` under one of `names`.
    pub(crate) fn create(directory: &Path, mut names: impl FnMut() -> String) -> Result<Self, Error> {
        loop {
            let path = directory.join(names());
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path)
                .map_err(Error::io("create", &path))?;
            let file = Self { file, path, renamed: false };
            // Between the creation and the lock another process may have taken the file for an abandoned one.
            match file.file.try_lock() {
                Ok(()) if file.is_linked()? => return Ok(file),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &file.path)(error)),
            }
        }
    }

    fn is_linked(&self) -> Result<bool, Error> {
        Ok(self.file.metadata().map_err(Error::io("read", &self.path))?.nlink() > 0)
    }

    /// Makes everything written so far durable.
    fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))
    }

    /// Gives the file, which was synced, a final name that nothing has. `None` if something has it.
    fn rename_to_new(self, target: &Path) -> Result<Option<File>, Error> {
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => self.renamed(target).map(Some),
            // Some network file systems cannot promise it.
            Err(Errno::INVAL) if !target.exists() => self.rename(target).map(Some),
            Err(Errno::EXIST | Errno::INVAL) => Ok(None),
            Err(errno) => Err(Error::io("create", target)(errno.into())),
        }
    }

    /// Makes everything written so far durable and gives the file its final name, replacing what has it.
    pub(crate) fn rename(self, target: &Path) -> Result<File, Error> {
        self.sync()?;
        std::fs::rename(&self.path, target).map_err(Error::io("create", target))?;
        self.renamed(target)
    }

    fn renamed(mut self, target: &Path) -> Result<File, Error> {
        self.renamed = true;
        if let Some(directory) = target.parent() {
            File::open(directory)
                .and_then(|handle| handle.sync_all())
                .map_err(Error::io("sync", directory))?;
        }
        let file = self.file.try_clone().map_err(Error::io("open", target))?;
        file.unlock().map_err(Error::io("unlock", target))?;
        Ok(file)
    }
}

impl Write for StagingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for StagingFile {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished file");
        }
    }
}

/// Removes the staging files that no living process holds: what a crash left behind.
pub(crate) fn remove_abandoned(directory: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(directory).map_err(Error::io("list", directory))?;
    for entry in entries {
        let path = entry.map_err(Error::io("list", directory))?.path();
        let file = match File::open(&path) {
            Ok(file) => file,
            // A living process has just published or removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        match file.try_lock() {
            // Its owner may have published it meanwhile, or another process may have removed it.
            Ok(()) => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                _ => {}
            },
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
    Ok(())
}

/// An image whose bytes are arriving. They are hashed as they are written; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    file: StagingFile,
    hasher: sha2::Sha256,
    written: u64,
    promise: Promise,
    store: Arc<Inner>,
}

impl Staging {
    pub(crate) fn new(file: StagingFile, store: Arc<Inner>) -> Self {
        let promise = Promise::none(Arc::clone(&store));
        Self { file, hasher: sha2::Sha256::new(), written: 0, promise, store }
    }

    /// Makes sure that `size` bytes have room beside everything that other downloads were promised.
    pub fn reserve(&mut self, size: u64) -> Result<(), Error> {
        self.promise.renew(size)
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Proves the image: its digest must be `expected` and its layout one that this program understands.
    pub fn seal(mut self, expected: Sha256) -> Result<Sealed, Error> {
        let actual = Sha256::new(self.hasher.finalize_reset());
        if actual != expected {
            return Err(Error::WrongDigest { expected, actual });
        }
        let layout = Layout::read(&self.file.file).map_err(Error::Layout)?;
        self.file.sync()?;
        Ok(Sealed { staging: self, sha256: actual, proof: Proof::Digest, layout })
    }
}

impl Write for Staging {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.written += count as u64;
        self.promise.keep(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// An image that is proven, understood and on stable storage, but not yet under its name.
#[derive(Debug)]
pub struct Sealed {
    staging: Staging,
    sha256: Sha256,
    proof: Proof,
    layout: Layout,
}

impl Sealed {
    /// Gives the image its final name and records it in the index. From here on a restart finds it.
    ///
    /// A file of that name is replaced only if it is ours and damaged. One that holds the same bytes is taken instead of
    /// the new one; one that holds others is an error ([`Error::Conflict`], [`Error::Occupied`]), because somebody may
    /// rely on it.
    pub fn publish(self, key: ImageKey) -> Result<Lease, Error> {
        let Self { staging, sha256, proof, layout } = self;
        let store = Arc::clone(&staging.store);
        let path = store.image_path(&key);
        if let Some(published) = store.find(&key, sha256)? {
            return Ok(published);
        }
        let file = match ImageRecord::read(&store, &key)? {
            Some(_) => staging.file.rename(&path)?,
            None => staging.file.rename_to_new(&path)?.ok_or(Error::Occupied { path: path.clone() })?,
        };
        let metadata = file.metadata().map_err(Error::io("read", &path))?;
        ImageRecord::new(key.clone(), sha256, proof, &metadata).write(&store)?;
        Ok(Lease::new(Image { key, sha256, proof, layout, file }))
    }
}
