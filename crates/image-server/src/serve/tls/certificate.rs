//! The certificate that a listener shows, and its key: two files that others replace while it runs.
//!
//! Kubernetes replaces them by turning a symbolic link, administrators one after the other. So they are read again and
//! compared as they are, at most once a second and before a handshake; no event of the file system is needed. Files that
//! cannot be used are logged once, and what was in use stays in use.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coreos_names::WithCauses;
use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// How long files that were read are taken for what they still are.
const FRESH: Duration = Duration::from_secs(1);

/// More than any chain of certificates needs.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a certificate and its key cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidTls {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{} has more than {MAX_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// There is no certificate in the file.
    #[error("no PEM certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file of certificates is malformed.
    #[error("malformed PEM certificates in {}", path.display())]
    MalformedCertificates {
        /// The file.
        path: PathBuf,
        /// In what way.
        source: pem::Error,
    },
    /// There is no private key in the file.
    #[error("no usable PEM private key in {}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// In what way.
        source: pem::Error,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} is not the one of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The certificate or its key is of a kind that is not understood.
    #[error("the certificate in {} cannot be used with the key in {}", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// In what way.
        source: rustls::Error,
    },
    /// The cipher suites and versions do not go together.
    #[error("no TLS can be spoken with these versions and cipher suites")]
    Policy(#[source] rustls::Error),
}

/// What is shown to clients.
pub(super) struct Certificate {
    files: Files,
    provider: Arc<CryptoProvider>,
    state: Mutex<State>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

struct State {
    in_use: Arc<CertifiedKey>,
    seen: Seen,
    seen_at: Instant,
}

/// What was in the files.
#[derive(PartialEq, Eq)]
enum Seen {
    Contents([u8; 32]),
    Nothing(String),
}

/// What is in the files.
struct Contents {
    certificate: Vec<u8>,
    key: SecretSlice<u8>,
}

impl Certificate {
    pub(super) fn load(
        certificate: &Path,
        key: &Path,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, InvalidTls> {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let contents = files.read()?;
        let in_use = Arc::new(files.understand(&contents, &provider)?);
        let state = State { in_use, seen: contents.seen(), seen_at: Instant::now() };
        Ok(Self { files, provider, state: Mutex::new(state) })
    }

    /// Takes up what others have put into the files, if it is time to look.
    pub(super) async fn refresh(self: &Arc<Self>) {
        if !self.is_due() {
            return;
        }
        let certificate = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || certificate.read_again()).await {
            tracing::error!(%error, "cannot look for another certificate");
        }
    }

    /// Whether it is time to look, which it is for one of all who ask.
    fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.seen_at.elapsed() >= FRESH;
        if is_due {
            state.seen_at = Instant::now();
        }
        is_due
    }

    fn read_again(&self) {
        let contents = self.files.read();
        let seen = match &contents {
            Ok(contents) => contents.seen(),
            Err(error) => Seen::Nothing(WithCauses(error).to_string()),
        };
        if self.state().seen == seen {
            return;
        }
        let understood = contents.and_then(|contents| self.files.understand(&contents, &self.provider));
        let mut state = self.state();
        state.seen = seen;
        match understood {
            Ok(certified) => {
                state.in_use = Arc::new(certified);
                tracing::info!("another certificate is in use");
            }
            Err(error) => {
                let error = WithCauses(&error);
                tracing::error!(%error, "the new certificate cannot be used, the old one stays in use");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.state().in_use))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("certificate", &self.files.certificate)
            .field("key", &self.files.key)
            .finish_non_exhaustive()
    }
}

impl Files {
    fn read(&self) -> Result<Contents, InvalidTls> {
        Ok(Contents { certificate: read(&self.certificate)?, key: read(&self.key)?.into() })
    }

    fn understand(&self, contents: &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, InvalidTls> {
        let chain = CertificateDer::pem_slice_iter(&contents.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| InvalidTls::MalformedCertificates { path: self.certificate.clone(), source })?;
        if chain.is_empty() {
            return Err(InvalidTls::NoCertificate { path: self.certificate.clone() });
        }
        let key = PrivateKeyDer::from_pem_slice(contents.key.expose_secret())
            .map_err(|source| InvalidTls::NoKey { path: self.key.clone(), source })?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    InvalidTls::Mismatch { certificate, key }
                }
                source => InvalidTls::Unusable { certificate, key, source },
            }
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, InvalidTls> {
    let mut contents = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut contents))
        .map_err(|source| InvalidTls::Unreadable { path: path.to_owned(), source })?;
    if contents.len() as u64 > MAX_BYTES {
        return Err(InvalidTls::TooLarge { path: path.to_owned() });
    }
    Ok(contents)
}

impl Contents {
    /// Enough to know them again, and no secret.
    fn seen(&self) -> Seen {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(&self.certificate));
        hash.update(Sha256::digest(self.key.expose_secret()));
        Seen::Contents(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Arc;

    use coreos_names::WithCauses;
    use rustls::crypto::ring::default_provider;
    use tempfile::TempDir;
    use test_support::registry;

    use super::{Certificate, InvalidTls};

    struct Pair {
        _directory: TempDir,
        certificate: PathBuf,
        key: PathBuf,
    }

    impl Pair {
        fn new(certificate_pem: &str, key_pem: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
            let pair = Self { _directory: directory, certificate, key };
            pair.write(certificate_pem, key_pem);
            pair
        }

        fn write(&self, certificate_pem: &str, key_pem: &str) {
            fs::write(&self.certificate, certificate_pem).unwrap();
            fs::write(&self.key, key_pem).unwrap();
        }

        fn load(&self) -> Result<Certificate, InvalidTls> {
            Certificate::load(&self.certificate, &self.key, Arc::new(default_provider()))
        }

        fn error(&self) -> String {
            WithCauses(&self.load().unwrap_err()).to_string()
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_file_and_without_its_contents() {
        let first = registry::Certificate::generate();
        let second = registry::Certificate::generate();
        let pair = Pair::new(&first.certificate_pem, &second.key_pem);
        assert!(matches!(pair.load(), Err(InvalidTls::Mismatch { .. })));
        for (certificate, key, file, is_expected) in [
            (
                "",
                &*first.key_pem,
                &pair.certificate,
                (|error| matches!(error, InvalidTls::NoCertificate { .. })) as fn(&InvalidTls) -> bool,
            ),
            (
                &*first.key_pem.replace("PRIVATE KEY", "CERTIFICATE"),
                &first.key_pem,
                &pair.certificate,
                |error| matches!(error, InvalidTls::Unusable { .. }),
            ),
            ("-----BEGIN CERTIFICATE-----\n*", &first.key_pem, &pair.certificate, |error| {
                matches!(error, InvalidTls::MalformedCertificates { .. })
            }),
            (&first.certificate_pem, "", &pair.key, |error| matches!(error, InvalidTls::NoKey { .. })),
            (&first.certificate_pem, &first.certificate_pem, &pair.key, |error| {
                matches!(error, InvalidTls::NoKey { .. })
            }),
            (&first.certificate_pem, &" ".repeat(1024 * 1024 + 1), &pair.key, |error| {
                matches!(error, InvalidTls::TooLarge { .. })
            }),
        ] {
            pair.write(certificate, key);
            let error = pair.load().unwrap_err();
            assert!(is_expected(&error), "{error:?}");
            assert!(pair.error().contains(&*file.to_string_lossy()), "{}", pair.error());
            let told = format!("{error:?} {}", pair.error());
            assert!(!first.key_pem.lines().any(|line| told.contains(line)), "{told}");
        }
        fs::remove_file(&pair.key).unwrap();
        assert!(matches!(pair.load(), Err(InvalidTls::Unreadable { path, .. }) if path == pair.key));
    }

    #[test]
    fn what_is_put_into_the_files_later_is_used_only_if_it_can_be() {
        let first = registry::Certificate::generate();
        let second = registry::Certificate::generate();
        let pair = Pair::new(&first.certificate_pem, &first.key_pem);
        let certificate = pair.load().unwrap();
        let shown = || certificate.state().in_use.cert[0].to_vec();
        let before = shown();

        fs::remove_file(&pair.key).unwrap();
        certificate.read_again();
        assert!(shown() == before);
        pair.write(&second.certificate_pem, &first.key_pem);
        certificate.read_again();
        assert!(shown() == before, "the key is still the old one");
        pair.write(&second.certificate_pem, &second.key_pem);
        certificate.read_again();
        assert!(shown() != before);
        pair.write(&first.certificate_pem, &first.key_pem);
        certificate.read_again();
        assert!(shown() == before);
    }

    #[test]
    fn no_key_is_shown_to_developers() {
        let made = registry::Certificate::generate();
        let pair = Pair::new(&made.certificate_pem, &made.key_pem);
        let text = format!("{:?}", pair.load().unwrap());
        assert!(text.ends_with("tls.key\", .. }"), "{text}");
    }
}
