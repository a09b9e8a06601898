use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use coreos_names::WithCauses;

use crate::{PullSecret, PullSecretError};

/// Where a client has its credentials from. Cheap to clone; clones of a file see the same contents.
#[derive(Clone, Debug)]
pub enum CredentialSource {
    /// They stay as they are.
    Fixed(PullSecret),
    /// A file, which is read again when it changes.
    File(PullSecretFile),
}

impl CredentialSource {
    /// The pull secret as it was read last. Reads nothing.
    pub fn current(&self) -> PullSecret {
        match self {
            Self::Fixed(secret) => secret.clone(),
            Self::File(file) => file.current(),
        }
    }

    /// The pull secret as it is now.
    pub(crate) async fn latest(&self) -> PullSecret {
        self.read(PullSecretFile::reload_if_changed).await
    }

    /// The pull secret as it is now, even if the file looks as before: somebody has refused what it said.
    pub(crate) async fn reloaded(&self) -> PullSecret {
        self.read(PullSecretFile::reload).await
    }

    async fn read(&self, how: fn(&PullSecretFile) -> PullSecret) -> PullSecret {
        match self {
            Self::Fixed(secret) => secret.clone(),
            Self::File(file) => {
                let reading = file.clone();
                let read = tokio::task::spawn_blocking(move || how(&reading)).await;
                // Fails only while the runtime stops.
                read.unwrap_or_else(|_| file.current())
            }
        }
    }
}

impl Default for CredentialSource {
    fn default() -> Self {
        Self::Fixed(PullSecret::default())
    }
}

impl From<PullSecret> for CredentialSource {
    fn from(secret: PullSecret) -> Self {
        Self::Fixed(secret)
    }
}

impl From<PullSecretFile> for CredentialSource {
    fn from(file: PullSecretFile) -> Self {
        Self::File(file)
    }
}

/// A file with a pull secret, which may change at any time, in place or (as Kubernetes does with mounted Secrets) by
/// another file in its place.
///
/// A file that cannot be read any more, or holds no pull secret any more, changes nothing: the last good one counts.
/// What is no regular file, such as a pipe, is read once.
#[derive(Clone, Debug)]
pub struct PullSecretFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The last good one.
    secret: Mutex<PullSecret>,
    /// Held while the file is read, which may take long; whoever needs only the last good one need not wait.
    reading: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// What the file looked like when it was last read, whatever came of that. `None` if it could not be looked at.
    stamp: Option<Stamp>,
    /// Whether it has been complained about.
    broken: bool,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    /// Cannot be set back, as the time of modification can.
    changed: (i64, i64),
    regular: bool,
}

/// A file that should hold a pull secret does not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullSecretFileError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} holds no pull secret", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PullSecretError,
    },
}

impl PullSecretFile {
    /// Reads the file for the first time. Blocks.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PullSecretFileError> {
        let path = path.into();
        let (stamp, secret) = read(&path);
        let (secret, reading) = (Mutex::new(secret?), Mutex::new(Reading { stamp, broken: false }));
        Ok(Self(Arc::new(Inner { path, secret, reading })))
    }

    /// The pull secret as it was read last.
    pub fn current(&self) -> PullSecret {
        self.0.secret.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again if it does not look as it did. Blocks.
    pub fn reload_if_changed(&self) -> PullSecret {
        self.update(|before, now| before != now)
    }

    /// Reads the file again. Blocks.
    pub fn reload(&self) -> PullSecret {
        self.update(|_, _| true)
    }

    fn update(&self, wanted: impl Fn(Option<Stamp>, Option<Stamp>) -> bool) -> PullSecret {
        let path = &self.0.path;
        let mut reading = self.0.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let last_good = self.current();
        let stamp = fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        // A pipe is empty by now, and waiting for somebody to fill it would hold up everybody else.
        let readable = stamp.is_none_or(|stamp| stamp.regular);
        if !readable || !wanted(reading.stamp, stamp) {
            return last_good;
        }
        let (stamp, secret) = read(path);
        reading.stamp = stamp;
        match secret {
            Ok(secret) => {
                if reading.broken || !secret.is_same_as(&last_good) {
                    tracing::info!(path = %path.display(), "the pull secret has been read again");
                    secret.warnings().for_each(|warning| tracing::warn!("{warning}"));
                }
                reading.broken = false;
                let secret = secret.keeping(&last_good);
                self.0.secret.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&secret);
                secret
            }
            Err(error) => {
                if !reading.broken {
                    let error = WithCauses(&error);
                    tracing::warn!(%error, "the pull secret cannot be read again, the last good one is used on");
                }
                reading.broken = true;
                last_good
            }
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            regular: metadata.is_file(),
        }
    }
}

/// The looks of the file from before it was read, so that whoever writes meanwhile is noticed next time.
fn read(path: &Path) -> (Option<Stamp>, Result<PullSecret, PullSecretFileError>) {
    let mut stamp = None;
    let mut text = || {
        let file = File::open(path)?;
        stamp = Some(Stamp::of(&file.metadata()?));
        let mut text = String::new();
        // One byte more than is accepted tells that there is more.
        file.take(PullSecret::MAX_SIZE as u64 + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let secret = text()
        .map_err(|source| PullSecretFileError::Unreadable { path: path.to_owned(), source })
        .and_then(|text| {
            PullSecret::parse(&text)
                .map_err(|source| PullSecretFileError::Invalid { path: path.to_owned(), source })
        });
    (stamp, secret)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::{PullSecretFile, PullSecretFileError};
    use crate::PullSecret;

    fn text(user: &str) -> String {
        format!(r#"{{"auths":{{"quay.io":{{"username":"{user}","password":"p"}}}}}}"#)
    }

    fn user(secret: &PullSecret) -> String {
        let image = "quay.io/a/b".parse().unwrap();
        secret.lookup(&image).unwrap().unwrap().1.username().to_owned()
    }

    #[test]
    fn a_file_is_read_again_when_it_changes_and_only_then() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("auth.json");
        fs::write(&path, text("first")).unwrap();
        let file = PullSecretFile::open(&path).unwrap();
        let before = file.reload_if_changed();
        assert_eq!(user(&before), "first");
        assert!(before.is_identical_to(&file.reload_if_changed()), "nothing was read");

        fs::write(&path, text("other")).unwrap();
        assert_eq!(user(&file.current()), "first", "nothing is read by looking");
        assert_eq!(user(&file.reload_if_changed()), "other");
        assert_eq!(user(&file.clone().current()), "other");

        let elsewhere = directory.path().join("new");
        fs::write(&elsewhere, text("third")).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        assert_eq!(user(&file.reload_if_changed()), "third");
    }

    #[test]
    fn the_swaps_of_kubernetes_are_noticed() {
        let directory = TempDir::new().unwrap();
        let volume = directory.path();
        let publish = |version: &str, user: &str| {
            fs::create_dir(volume.join(version)).unwrap();
            fs::write(volume.join(version).join(".dockerconfigjson"), text(user)).unwrap();
            symlink(version, volume.join("..data_tmp")).unwrap();
            fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
        };
        publish("..2026_1", "first");
        symlink("..data/.dockerconfigjson", volume.join(".dockerconfigjson")).unwrap();
        let file = PullSecretFile::open(volume.join(".dockerconfigjson")).unwrap();
        assert_eq!(user(&file.reload_if_changed()), "first");
        publish("..2026_2", "other");
        fs::remove_dir_all(volume.join("..2026_1")).unwrap();
        assert_eq!(user(&file.reload_if_changed()), "other");
    }

    #[test]
    fn the_last_good_one_survives_a_broken_file() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("auth.json");
        fs::write(&path, text("first")).unwrap();
        let file = PullSecretFile::open(&path).unwrap();
        for broken in [b"{\"auths\":{".as_slice(), b"", b"\xff", &vec![b' '; PullSecret::MAX_SIZE + 1]] {
            fs::write(&path, broken).unwrap();
            assert_eq!(user(&file.reload_if_changed()), "first");
            assert_eq!(user(&file.reload()), "first");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(user(&file.reload_if_changed()), "first");
        fs::write(&path, text("other")).unwrap();
        assert_eq!(user(&file.reload_if_changed()), "other");
    }

    #[tokio::test]
    async fn a_token_given_in_exchange_survives_a_change_elsewhere_in_the_file() {
        use secrecy::ExposeSecret as _;

        let directory = TempDir::new().unwrap();
        let path = directory.path().join("auth.json");
        let text = |token: &str, other: &str| {
            format!(
                r#"{{"auths":{{"quay.io":{{"identitytoken":"{token}"}},"other.io":{{"registrytoken":"{other}"}}}}}}"#
            )
        };
        fs::write(&path, text("given", "a")).unwrap();
        let file = PullSecretFile::open(&path).unwrap();
        let token = async |secret: &PullSecret| {
            let image = "quay.io/a/b".parse().unwrap();
            let (_, credentials) = secret.lookup(&image).unwrap().unwrap();
            credentials.identity_token().await.unwrap().expose_secret().to_owned()
        };
        {
            let secret = file.current();
            let image = "quay.io/a/b".parse().unwrap();
            let (_, credentials) = secret.lookup(&image).unwrap().unwrap();
            *credentials.identity_token().await.unwrap() = "exchanged".into();
        }
        fs::write(&path, text("given", "b")).unwrap();
        assert_eq!(token(&file.reload_if_changed()).await, "exchanged");
        fs::write(&path, text("new", "b")).unwrap();
        assert_eq!(token(&file.reload_if_changed()).await, "new");
    }

    #[test]
    fn what_was_never_good_is_an_error() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("auth.json");
        let error = PullSecretFile::open(&path).unwrap_err();
        assert!(matches!(error, PullSecretFileError::Unreadable { .. }), "{error:?}");
        fs::write(&path, "{}").unwrap();
        let error = PullSecretFile::open(&path).unwrap_err();
        assert!(matches!(error, PullSecretFileError::Invalid { .. }), "{error:?}");
    }
}
