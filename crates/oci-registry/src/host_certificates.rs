use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use reqwest::{Certificate, Identity};

/// The certificates in the directory of one host, as containers-certs.d(5) has them: whom to trust (`*.crt`), and who
/// we are there (`*.cert` with the `*.key` of the same name).
#[derive(Debug, Default)]
pub(crate) struct HostCertificates {
    pub(crate) authorities: Vec<Certificate>,
    /// Of several, the one whose name comes first.
    pub(crate) identity: Option<Identity>,
}

/// What can be wrong with the certificates for one host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostCertificatesError {
    /// A file or the directory cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file with nothing in it that it should have.
    #[error("{} holds no readable PEM certificate", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// A client certificate whose key is missing, or a key whose certificate is.
    #[error("{} is of no use without {}", path.display(), missing.display())]
    Incomplete {
        /// What is there.
        path: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// A client certificate and its key cannot be read as that.
    #[error("{} and its key are no client certificate", path.display())]
    Identity {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: reqwest::Error,
    },
    /// Everything can be read, and TLS cannot be spoken with it: a key that belongs to another certificate, say.
    #[error("cannot use the certificates in {}", directory.display())]
    Unusable {
        /// Where they lie.
        directory: PathBuf,
        /// Why.
        source: reqwest::Error,
    },
}

/// The first directory for a host that goes by one of these names.
pub(crate) fn directory_of(certs_dirs: &[PathBuf], names: &[String]) -> Option<PathBuf> {
    // A host may come from a redirect, and be called `..`.
    let is_name = |name: &&String| {
        let mut parts = Path::new(name.as_str()).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    let directories =
        certs_dirs.iter().flat_map(|dir| names.iter().filter(is_name).map(|name| dir.join(name)));
    directories.into_iter().find(|directory| directory.is_dir())
}

impl HostCertificates {
    /// Bundles of all public authorities have a few hundred KiB.
    const MAX_FILE: u64 = 4 << 20;

    pub(crate) fn read(directory: &Path) -> Result<Self, HostCertificatesError> {
        let mut found = Self::default();
        for path in files(directory)? {
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => found.authorities.extend(authorities(&path)?),
                Some("cert") => {
                    let identity = identity(&path)?;
                    found.identity.get_or_insert(identity);
                }
                Some("key") => complete(&path, "cert").map(drop)?,
                _ => {}
            }
        }
        Ok(found)
    }
}

/// In the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>, HostCertificatesError> {
    let entries = directory.read_dir().and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut paths = entries.map_err(|source| unreadable(directory, source))?;
    paths.sort();
    Ok(paths)
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, HostCertificatesError> {
    let pem = read(path)?;
    Certificate::from_pem_bundle(&pem)
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| HostCertificatesError::NoCertificate { path: path.to_owned() })
}

fn identity(path: &Path) -> Result<Identity, HostCertificatesError> {
    let key = complete(path, "key")?;
    let mut pem = read(path)?;
    pem.push(b'\n');
    pem.extend(read(&key)?);
    Identity::from_pem(&pem)
        .map_err(|source| HostCertificatesError::Identity { path: path.to_owned(), source })
}

/// The other half of a pair.
fn complete(path: &Path, extension: &str) -> Result<PathBuf, HostCertificatesError> {
    let other = path.with_extension(extension);
    if other.exists() {
        Ok(other)
    } else {
        Err(HostCertificatesError::Incomplete { path: path.to_owned(), missing: other })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HostCertificatesError> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(HostCertificates::MAX_FILE + 1).read_to_end(&mut bytes))
        .and_then(|_| {
            let fits = bytes.len() as u64 <= HostCertificates::MAX_FILE;
            if fits { Ok(()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
        });
    read.map(|()| bytes).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: io::Error) -> HostCertificatesError {
    HostCertificatesError::Unreadable { path: path.to_owned(), source }
}
