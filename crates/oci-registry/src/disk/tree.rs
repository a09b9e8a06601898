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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::io::Errno;
    use tempfile::TempDir;

    use super::Tree;

    #[test]
    fn no_link_leads_out_with_or_without_help_from_the_kernel() {
        let directory = TempDir::new().unwrap();
        let folder = directory.path().join("folder");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(folder.join("inside"), "").unwrap();
        for outside in ["outside", "folder-beside"] {
            fs::write(directory.path().join(outside), "").unwrap();
            symlink(format!("../../{outside}"), folder.join("sub").join(outside)).unwrap();
        }
        symlink("../inside", folder.join("sub/link")).unwrap();
        symlink("/", folder.join("root")).unwrap();
        // The admin's own path may lead over links.
        symlink(&folder, directory.path().join("admins")).unwrap();

        let tree = Tree::at(&directory.path().join("admins")).unwrap();
        for open in [Tree::open_below, Tree::open_checked] {
            let open = |name| open(&tree, name, Tree::OPEN).map(drop);
            assert_eq!(open("inside"), Ok(()));
            assert_eq!(open("sub/link"), Ok(()));
            assert_eq!(open("sub/../inside"), Ok(()));
            for name in ["sub/outside", "sub/folder-beside", "root/etc/passwd", "../outside", "/etc/passwd"] {
                assert_eq!(open(name), Err(Errno::XDEV), "{name}");
            }
            assert_eq!(open("absent"), Err(Errno::NOENT));
            assert_eq!(open("inside/absent"), Err(Errno::NOTDIR));
        }
    }
}
