//! Files that are read again every few seconds.
//!
//! They are small, so they are compared by what they hold: neither the links that Kubernetes swaps under a mounted
//! ConfigMap, nor editors that replace files, nor network file systems need to be understood.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use feed_format::{Documents, SecretText};

/// How often files are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(2);

/// Four times what a ConfigMap can hold.
const MAX_SIZE: u64 = 4 << 20;

/// The files that are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// The directory of the feed.
    pub(crate) directory: Option<PathBuf>,
    /// The pull secret that the environment names.
    pub(crate) pull_secret: Option<PathBuf>,
}

/// What is in them.
#[derive(Debug)]
pub(crate) struct Contents {
    /// What is in the directory, if there is to be one.
    pub(crate) documents: Result<Option<Documents>, Unreadable>,
    /// What is in the file with the environment's pull secret, if there is to be one. It has nothing to do with the
    /// directory: whatever is wrong with it, lists are followed.
    pub(crate) pull_secret: Option<Result<SecretText, Unreadable>>,
}

/// A file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be read: {problem}", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    problem: String,
}

impl Files {
    pub(crate) fn is_empty(&self) -> bool {
        self.directory.is_none() && self.pull_secret.is_none()
    }

    /// Reads all of them. A file of the directory that is not there is no problem.
    pub(crate) async fn read(&self) -> Contents {
        let files = self.clone();
        let read = tokio::task::spawn_blocking(move || files.read_blocking());
        read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    pub(crate) fn read_blocking(&self) -> Contents {
        let documents = self.directory.as_deref().map(|directory| {
            // Nobody took everything away: it is not there yet, or no more.
            fs::read_dir(directory).map_err(|error| unreadable(directory, &error))?;
            Documents::collect(|key| read(&directory.join(key)))
        });
        let pull_secret = self.pull_secret.as_deref().map(|path| {
            let missing = || unreadable(path, &io::ErrorKind::NotFound.into());
            read(path)?.map(SecretText::new).ok_or_else(missing)
        });
        Contents { documents: documents.transpose(), pull_secret }
    }
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>, Unreadable> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MAX_SIZE => {
            Err(Unreadable { path: path.to_owned(), problem: format!("it is larger than {MAX_SIZE} bytes") })
        }
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Unreadable { path: path.to_owned(), problem: "it is not UTF-8".to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Unreadable {
    Unreadable { path: path.to_owned(), problem: error.to_string() }
}
