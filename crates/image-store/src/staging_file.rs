//! Files under construction: written under a name of their own, locked, and removed unless they get a final name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::Error;

/// A locked file that is being written. Dropped, it is removed, unless it was renamed or is kept.
///
/// The lock tells a second process on the same volume that the file is alive, see [`remove_if_abandoned`].
#[derive(Debug)]
pub struct StagingFile {
    file: File,
    path: PathBuf,
    stays: bool,
}

impl StagingFile {
    /// Creates a file in `directory` under one of `names`.
    pub fn create(directory: &Path, mut names: impl FnMut() -> String) -> Result<Self, Error> {
        loop {
            let path = directory.join(names());
            // Between the creation and the lock another process may have taken the file for an abandoned one.
            if let Some(file) = Self::lock(&path, File::options().create_new(true))? {
                return Ok(file);
            }
        }
    }

    /// Opens or creates the file at `path`. `None` while somebody else has it.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Error> {
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            if let Some(file) = Self::lock(path, File::options().create(true).truncate(false))? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Opens and locks a file. `None` if somebody else has it, or if `path` leads to another file by now: its owner
    /// may have published it between our opening and our locking, and what is published must never be written to.
    fn lock(path: &Path, options: &mut OpenOptions) -> Result<Option<Self>, Error> {
        let file = options.read(true).write(true).open(path).map_err(Error::io("create", path))?;
        match file.try_lock() {
            Ok(()) if leads_to(path, &file)? => Ok(Some(Self { file, path: path.to_owned(), stays: false })),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
        }
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is for somebody to go on with it.
    pub(crate) fn keep(&mut self) {
        self.stays = true;
    }

    /// Cuts the file to `len` bytes and goes on writing behind them.
    pub fn truncate(&mut self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(Error::io("truncate", &self.path))?;
        self.file.seek(SeekFrom::Start(len)).map_err(Error::io("truncate", &self.path))?;
        Ok(())
    }

    /// Makes everything written so far durable.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))
    }

    /// Gives the file, which was synced, a final name that nothing has. `None` if something has it.
    pub fn rename_to_new(&mut self, target: &Path) -> Result<Option<File>, Error> {
        match renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE) {
            Ok(()) => self.renamed(target).map(Some),
            // Some network file systems cannot promise it.
            Err(Errno::INVAL) if !target.exists() => self.rename(target).map(Some),
            Err(Errno::EXIST | Errno::INVAL) => Ok(None),
            Err(errno) => Err(Error::io("create", target)(errno.into())),
        }
    }

    /// Makes everything written so far durable and gives the file its final name, replacing what has it.
    pub(crate) fn rename(&mut self, target: &Path) -> Result<File, Error> {
        self.sync()?;
        std::fs::rename(&self.path, target).map_err(Error::io("create", target))?;
        self.renamed(target)
    }

    fn renamed(&mut self, target: &Path) -> Result<File, Error> {
        self.stays = true;
        if let Some(directory) = target.parent() {
            sync_directory(directory)?;
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
        if !self.stays
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(error = %coreos_names::WithCauses(&error), "an unfinished file stays behind");
        }
    }
}

/// Removes a file that nobody holds. A file that is alive stays, and so does another one that has its name by now.
/// Returns whether nothing is left of it.
pub fn remove_if_abandoned(path: &Path) -> Result<bool, Error> {
    // NFS locks a file against others only for who may write it.
    let file = match File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        // A living process has just published or removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    match file.try_lock() {
        Ok(()) if leads_to(path, &file)? => remove(path).map(|()| true),
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Renames a file, if it is there, to a name that nothing has. So it loses nothing but its name.
pub(crate) fn move_aside(path: &Path) -> Result<(), Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for seconds in now.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".unusable-{seconds}"));
        let aside = PathBuf::from(name);
        let renamed = match renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE) {
            // Some network file systems cannot promise it.
            Err(Errno::INVAL) if !aside.exists() => std::fs::rename(path, &aside),
            Err(Errno::EXIST | Errno::INVAL) => continue,
            renamed => renamed.map_err(io::Error::from),
        };
        return match renamed {
            Ok(()) => {
                tracing::warn!(path = %path.display(), aside = %aside.display(), "moved a file aside that is not the image of its name");
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io("rename", path)(error)),
        };
    }
    Ok(())
}

/// Makes durable which files a directory has.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|handle| handle.sync_all()).map_err(Error::io("sync", directory))
}

fn leads_to(path: &Path, file: &File) -> Result<bool, Error> {
    let opened = file.metadata().map_err(Error::io("read", path))?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_published_or_replaced_meanwhile_is_not_taken_for_the_one_of_that_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.part");
        let opened = File::create(&path).unwrap();
        assert!(leads_to(&path, &opened).unwrap());
        let published = directory.path().join("published");
        std::fs::rename(&path, &published).unwrap();
        assert!(!leads_to(&path, &opened).unwrap());
        let successor = File::create(&path).unwrap();
        assert!(!leads_to(&path, &opened).unwrap());
        assert!(leads_to(&path, &successor).unwrap());
    }

    #[test]
    fn a_file_has_one_owner_until_it_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.part");
        let mut first = StagingFile::open(&path).unwrap().expect("it is free");
        assert!(StagingFile::open(&path).unwrap().is_none());
        assert!(!remove_if_abandoned(&path).unwrap());
        first.keep();
        drop(first);
        drop(StagingFile::open(&path).unwrap().expect("it is free again"));
        assert!(!path.exists());
    }
}
