use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::DiskError;

/// A folder, and what can be reached below it without ever leaving it.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: PathBuf,
    fd: OwnedFd,
}

/// A regular file below a [`Tree`]'s folder.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: PathBuf,
    /// How many bytes it had when it was opened.
    pub(crate) size: u64,
    file: File,
}

impl Tree {
    /// A pipe without a writer must not hold us up, a terminal not become ours.
    const OPEN: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

    /// A folder that the admin names.
    pub(crate) fn at(folder: &Path) -> Result<Self, DiskError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(folder, flags, Mode::empty())
            .map_err(|errno| DiskError::Io { path: folder.to_owned(), source: errno.into() })?;
        Ok(Self { folder: folder.to_owned(), fd })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a file. `None` if there is nothing.
    pub(crate) fn open(&self, relative: &str) -> Result<Option<OpenFile>, DiskError> {
        let path = self.folder.join(relative);
        let not_a_file = || DiskError::NotAFile { path: path.clone() };
        let file = match self.open_below(relative, Self::OPEN) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::XDEV | Errno::LOOP) => return Err(DiskError::Escapes { path }),
            // A socket, or a device that is none.
            Err(Errno::NXIO | Errno::NODEV) => return Err(not_a_file()),
            Err(errno) => return Err(DiskError::Io { path, source: errno.into() }),
        };
        let metadata = file.metadata().map_err(|source| DiskError::Io { path: path.clone(), source })?;
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        Ok(Some(OpenFile { path, size: metadata.len(), file }))
    }

    /// Reads a small file. `None` if there is nothing.
    pub(crate) fn read(&self, relative: &str, limit: u64) -> Result<Option<Vec<u8>>, DiskError> {
        self.open(relative)?.map(|file| file.read(limit)).transpose()
    }

    /// Some names in a folder, in no order, for an error message: whatever goes wrong is not worth one of its own.
    pub(crate) fn names(&self, relative: &str, limit: usize) -> Vec<String> {
        let open = || Dir::new(self.open_below(relative, Self::OPEN | OFlags::DIRECTORY).ok()?).ok();
        let names = open().into_iter().flatten().map_while(Result::ok);
        names
            .filter_map(|entry| Some(entry.file_name().to_str().ok()?.to_owned()))
            .filter(|name| !matches!(name.as_str(), "." | ".."))
            .take(limit)
            .collect()
    }

    fn open_below(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        /// A rename anywhere on the machine at the same moment makes the kernel unsure.
        const TRIES: usize = 32;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..TRIES {
            match rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A kernel before 5.6, or a sandbox that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) => return self.open_checked(relative, flags),
                answer => return answer,
            }
        }
        Err(Errno::AGAIN)
    }

    /// As good as it gets without help from the kernel: who can change the tree meanwhile can cheat.
    fn open_checked(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let canonical = |path: &Path| {
            path.canonicalize().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        let path = canonical(&self.folder.join(relative))?;
        if !path.starts_with(canonical(&self.folder)?) {
            return Err(Errno::XDEV);
        }
        rustix::fs::openat(CWD, path, flags | OFlags::NOFOLLOW, Mode::empty())
    }
}

impl OpenFile {
    /// The next bytes, none at the end.
    pub(crate) fn read_up_to(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(limit).unwrap_or_default());
        (&self.file).take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// All bytes, if they are no more than `limit`.
    pub(crate) fn read(self, limit: u64) -> Result<Vec<u8>, DiskError> {
        let Self { path, file, .. } = self;
        let mut bytes = Vec::new();
        match file.take(limit + 1).read_to_end(&mut bytes) {
            Ok(length) if length as u64 > limit => Err(DiskError::TooLarge { path, limit }),
            Ok(_) => Ok(bytes),
            Err(source) => Err(DiskError::Io { path, source }),
        }
    }
}
