//! An ISO on its way into a directory of the admin's, and what is left of it where nobody could clean up.
//!
//! It has a name of its own and is locked for as long as it is written, so the next run can tell what a killed one has
//! left from what another one is at.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use coreos_names::{Sha256, WithCauses};
use image_store::{StagingFile, remove_if_abandoned};
use live_iso::Layout;
use release_payload::{BootImage, IsoSink};
use rustix::fs::FallocateFlags;
use sha2::Digest as _;
use uuid::Uuid;

use super::progress::{Progress, tell};

/// What the name of an unfinished ISO is made of, with a UUID between the two.
const UNFINISHED: (&str, &str) = (".coreos-image-service-", ".extracting");

/// An ISO whose bytes are arriving. Dropped, it leaves nothing behind.
pub(super) struct Download {
    directory: PathBuf,
    file: StagingFile,
    hasher: sha2::Sha256,
    progress: Progress,
}

impl Download {
    pub(super) fn new(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let (begin, end) = UNFINISHED;
        let file = StagingFile::create(directory, || format!("{begin}{}{end}", Uuid::new_v4()))?;
        let (directory, progress) = (directory.to_owned(), Progress::new(name));
        Ok(Self { directory, file, hasher: sha2::Sha256::new(), progress })
    }

    /// Gives the file its final name, if it is what the release states. `false` if something has that name.
    pub(super) fn publish(self, path: &Path, stated: &BootImage) -> anyhow::Result<bool> {
        let Self { mut file, hasher, progress, .. } = self;
        drop(progress);
        let actual = Sha256::new(hasher.finalize());
        ensure!(
            actual == stated.sha256,
            "the ISO's sha256 is {actual}; the release states {}",
            stated.sha256
        );
        Layout::read(file.file()).context("the ISO is none that can be served")?;
        // Otherwise the name could outlive a loss of power, and the bytes not.
        file.sync()?;
        Ok(file.rename_to_new(path)?.is_some())
    }
}

impl IsoSink for Download {
    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.file.truncate(0).map_err(io::Error::other)?;
        self.hasher = sha2::Sha256::new();
        self.progress.begin(size);
        // A disk that is too small says so before a gigabyte has come. Not every file system can tell.
        match rustix::fs::fallocate(self.file.file(), FallocateFlags::KEEP_SIZE, 0, size) {
            Err(full @ rustix::io::Errno::NOSPC) => {
                let what = format!("cannot make room for {size} bytes in {}", self.directory.display());
                Err(io::Error::other(anyhow::Error::new(full).context(what)))
            }
            _ => Ok(()),
        }
    }
}

impl Write for Download {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer).map_err(|source| {
            let what = format!("cannot write into {}", self.directory.display());
            io::Error::other(anyhow::Error::new(source).context(what))
        })?;
        self.hasher.update(&buffer[..count]);
        self.progress.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Removes what runs that were killed have left in a directory. What a living one is at stays, and so does everything
/// else.
pub(super) fn remove_abandoned(directory: &Path) -> anyhow::Result<()> {
    let cannot_list = || format!("cannot list {}", directory.display());
    for entry in directory.read_dir().with_context(cannot_list)? {
        let entry = entry.with_context(cannot_list)?;
        if !is_unfinished(&entry.file_name()) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // It may be somebody else's. It harms no ISO, and the next one is asked for all the same.
        if let Err(error) = remove_if_abandoned(&entry.path()) {
            tell(format_args!("an unfinished ISO stays behind: {}", WithCauses(&error)));
        }
    }
    Ok(())
}

fn is_unfinished(name: &OsStr) -> bool {
    let (begin, end) = UNFINISHED;
    let uuid = name.to_str().and_then(|name| name.strip_prefix(begin)?.strip_suffix(end));
    uuid.is_some_and(|uuid| Uuid::try_parse(uuid).is_ok())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_removed_but_what_nobody_is_at() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let ours = |uuid: Uuid| format!("{}{uuid}{}", UNFINISHED.0, UNFINISHED.1);
        let [left, link, folder, pipe] = [(); 4].map(|()| ours(Uuid::new_v4()));
        fs::write(path(&left), "half").unwrap();
        fs::create_dir(path(&folder)).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, path(&pipe), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let mine = [".coreos-image-service-notes.extracting", ".extracting-a1b2c3.iso", "x.iso"];
        for name in mine {
            File::create(path(name)).unwrap();
        }
        symlink(path("x.iso"), path(&link)).unwrap();
        let alive = Download::new(directory.path(), "alive").unwrap();

        remove_abandoned(directory.path()).unwrap();
        assert!(!path(&left).exists());
        for name in mine.into_iter().chain([&*link, &*folder, &*pipe]) {
            assert!(path(name).symlink_metadata().is_ok(), "{name}");
        }
        let unfinished = || {
            directory
                .path()
                .read_dir()
                .unwrap()
                .filter(|entry| is_unfinished(&entry.as_ref().unwrap().file_name()))
                .count()
        };
        assert_eq!(unfinished(), 4);
        drop(alive);
        assert_eq!(unfinished(), 3);
    }
}
