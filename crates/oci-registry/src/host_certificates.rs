use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use outbound_http::{InvalidCas, NamedCas};
use reqwest::Identity;
use rustix::fs::{Mode, OFlags};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The certificates in the directory of one host, as containers-certs.d(5) has them: whom to trust (`*.crt`), and who
/// we are there (`*.cert` with the `*.key` of the same name).
#[derive(Default)]
pub(crate) struct HostCertificates {
    /// All of them, in PEM. Empty if there are none.
    pub(crate) authorities: Vec<u8>,
    /// Of several, the one whose name comes first.
    pub(crate) identity: Option<ClientIdentity>,
}

/// A client's certificate and its key, as the makers of clients want to have it.
pub(crate) struct ClientIdentity {
    pub(crate) for_reqwest: Identity,
    pub(crate) for_rustls: CertifiedKey,
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
    /// A file without the CA certificates that it should have.
    #[error("{} cannot be used", path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why.
        source: InvalidCas,
    },
    /// A client certificate whose key is missing, or a key whose certificate is.
    #[error("{} is of no use without {}", path.display(), missing.display())]
    Incomplete {
        /// What is there.
        path: PathBuf,
        /// What is not.
        missing: PathBuf,
    },
    /// A client certificate and its key cannot be read.
    #[error("{} and its key are no client certificate", path.display())]
    Identity {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A client certificate and its key can be read, and cannot be used: they do not belong together, say.
    #[error("{} cannot be used with its key", path.display())]
    IdentityMismatch {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Everything can be read, and makes no client.
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

/// What shows that the files of a directory are others than before: their names, inodes, sizes and times.
pub(crate) type Stamp = Vec<(PathBuf, u64, u64, i64, i64)>;

/// As the directory is now. Files that are links are followed: a mounted secret consists of them.
pub(crate) fn stamp(directory: &Path) -> Result<Stamp, HostCertificatesError> {
    let stamp_of = |path: PathBuf| {
        // What cannot be seen is said when it is read.
        let seen = path.metadata().map(|file| (file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
        let (inode, size, seconds, nanoseconds) = seen.unwrap_or_default();
        (path, inode, size, seconds, nanoseconds)
    };
    Ok(files(directory)?.into_iter().map(stamp_of).collect())
}

impl HostCertificates {
    /// Bundles of all public authorities have a few hundred KiB.
    const MAX_FILE: u64 = 4 << 20;

    pub(crate) fn read(directory: &Path) -> Result<Self, HostCertificatesError> {
        let mut found = Self::default();
        for path in files(directory)? {
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => {
                    found.authorities.extend(authorities(&path)?);
                    found.authorities.push(b'\n');
                }
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

fn authorities(path: &Path) -> Result<Vec<u8>, HostCertificatesError> {
    let pem = read(path)?;
    match NamedCas::from_pem(&pem) {
        Ok(_) => Ok(pem),
        Err(source) => Err(HostCertificatesError::Authorities { path: path.to_owned(), source }),
    }
}

fn identity(path: &Path) -> Result<ClientIdentity, HostCertificatesError> {
    let key_path = complete(path, "key")?;
    let (mut certificate, key) = (read(path)?, read(&key_path)?);
    let no_pem = |source| HostCertificatesError::Identity { path: path.to_owned(), source };
    let chain =
        CertificateDer::pem_slice_iter(&certificate).collect::<Result<Vec<_>, _>>().map_err(no_pem)?;
    let private = PrivateKeyDer::from_pem_slice(&key).map_err(no_pem)?;
    if chain.is_empty() {
        return Err(no_pem(pem::Error::NoItemsFound));
    }
    let provider = CryptoProvider::get_default().expect("the clients that exist already needed one");
    let mismatch = |source| HostCertificatesError::IdentityMismatch { path: path.to_owned(), source };
    let for_rustls = CertifiedKey::from_der(chain, private, provider).map_err(mismatch)?;
    certificate.push(b'\n');
    certificate.extend(key);
    let for_reqwest = Identity::from_pem(&certificate)
        .map_err(|source| HostCertificatesError::Unusable { directory: path.to_owned(), source })?;
    Ok(ClientIdentity { for_reqwest, for_rustls })
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
    let read = open(path)
        .and_then(|file| file.take(HostCertificates::MAX_FILE + 1).read_to_end(&mut bytes))
        .and_then(|_| {
            let fits = bytes.len() as u64 <= HostCertificates::MAX_FILE;
            if fits { Ok(()) } else { Err(io::ErrorKind::FileTooLarge.into()) }
        });
    read.map(|()| bytes).map_err(|source| unreadable(path, source))
}

/// A pipe without a writer must not hold up everybody who talks to the host.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

fn unreadable(path: &Path, source: io::Error) -> HostCertificatesError {
    HostCertificatesError::Unreadable { path: path.to_owned(), source }
}
