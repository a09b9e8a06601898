//! Keys that the admin trusts, from one file.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use coreos_names::Sha256;
use pgp::armor::Dearmor;
use pgp::composed::{Deserializable as _, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails as _;
use sha2::Digest as _;

use crate::certificate::{self, Certificate, Issuer, hexadecimal};
use crate::error::Unacceptable;
use crate::message::SignedMessage;
use crate::policy::CLOCK_SKEW;
use crate::statement;

/// A large keyring of a distribution has 200 KiB.
const MAX_BYTES: usize = 8 << 20;

/// No keyring of a publisher has that many.
const MAX_KEYS: usize = 1000;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The keys of one file. One of them has to vouch for a release.
#[derive(Clone)]
pub struct Keyring {
    name: String,
    fingerprint: Sha256,
    certificates: Vec<Certificate>,
}

/// A file is no keyring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableKeyring {
    /// It is larger than keyrings are.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is GnuPG's own database.
    #[error("it is a GnuPG keybox; write its keys into a file with `gpg --export`")]
    Keybox,
    /// A public key is enough, and a secret one does not belong here.
    #[error("it holds a secret key; only public keys belong here")]
    SecretKey,
    /// Nothing in it is a key.
    #[error("it holds no OpenPGP public key")]
    NoKeys,
    /// A key in it cannot be read.
    #[error("it is not an OpenPGP keyring")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a good signature says.
pub(crate) struct Vouched {
    pub(crate) key_id: String,
    pub(crate) user_id: Option<String>,
    pub(crate) docker_reference: String,
}

impl Keyring {
    /// Reads a file of public keys, armored or binary, also with text around them. `name` is what it is called in
    /// errors.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, UnusableKeyring> {
        if bytes.len() > MAX_BYTES {
            return Err(UnusableKeyring::TooLarge);
        }
        if bytes.get(8..12) == Some(b"KBXf") {
            return Err(UnusableKeyring::Keybox);
        }
        let certificates = match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") => {
                return Err(UnusableKeyring::SecretKey);
            }
            Ok(text) => {
                let mut certificates = Vec::new();
                for block in blocks(text) {
                    certificates.extend(keys(std::io::BufReader::new(Dearmor::new(block.as_bytes())))?);
                }
                certificates
            }
            Err(_) => keys(bytes)?,
        };
        if certificates.is_empty() {
            return Err(UnusableKeyring::NoKeys);
        }
        Ok(Self {
            name: name.to_owned(),
            fingerprint: Sha256::new(sha2::Sha256::digest(bytes)),
            certificates,
        })
    }

    /// What it is called in errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of the file. Another one means that keys may have come, gone or been revoked.
    pub fn fingerprint(&self) -> Sha256 {
        self.fingerprint
    }

    /// Who its keys belong to, each with its fingerprint, for people.
    pub fn keys(&self) -> impl Iterator<Item = String> + '_ {
        self.certificates.iter().map(|certificate| {
            let fingerprint = hexadecimal(&certificate.0.primary_key.fingerprint());
            match certificate.user_id() {
                Some(user) => format!("{fingerprint} ({user})"),
                None => fingerprint,
            }
        })
    }

    /// Whether a message is signed by one of the keys and says that `digest` is a release.
    pub(crate) fn judge(
        &self,
        message: &[u8],
        digest: Sha256,
        now: SystemTime,
    ) -> Result<Vouched, Unacceptable> {
        let message = SignedMessage::read(message)?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut unknown = Vec::new();
        let mut fault = None;
        for signature in &message.signatures {
            match self.signer(signature, &message.data, now) {
                Ok((certificate, key_id)) => {
                    let docker_reference = statement::read(&message.data, digest)?;
                    return Ok(Vouched { key_id, user_id: certificate.user_id(), docker_reference });
                }
                Err(Unacceptable::UnknownSigner { key_ids }) => unknown.extend(key_ids),
                Err(other) => fault = Some(other),
            }
        }
        Err(fault.unwrap_or(Unacceptable::UnknownSigner { key_ids: unknown }))
    }

    /// The key that has made a signature, if it was allowed to.
    fn signer(
        &self,
        signature: &Signature,
        data: &[u8],
        now: u64,
    ) -> Result<(&Certificate, String), Unacceptable> {
        let mut key_ids = certificate::issuers(signature);
        let issuer = |certificate: &'_ Certificate| certificate.issuer_of(signature).is_some();
        let mut fault = None;
        // A key may be there twice, as it was and as it is.
        for certificate in self.certificates.iter().filter(|certificate| issuer(certificate)) {
            let Some(issuer) = certificate.issuer_of(signature) else { continue };
            let key_id = match issuer {
                Issuer::Primary => hexadecimal(&certificate.0.primary_key.legacy_key_id()),
                Issuer::Subkey(subkey) => hexadecimal(&subkey.legacy_key_id()),
            };
            match acceptable(certificate, issuer, signature, data, now, &key_id) {
                Ok(()) => return Ok((certificate, key_id)),
                Err(error) => fault = Some(error),
            }
        }
        key_ids.truncate(3);
        Err(fault.unwrap_or(Unacceptable::UnknownSigner { key_ids }))
    }
}

fn acceptable(
    certificate: &Certificate,
    issuer: Issuer<'_>,
    signature: &Signature,
    data: &[u8],
    now: u64,
    key_id: &str,
) -> Result<(), Unacceptable> {
    let key_id = || key_id.to_owned();
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err(Unacceptable::Kind { key_id: key_id() });
    }
    match signature.hash_alg() {
        Some(
            HashAlgorithm::Sha224
            | HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512,
        ) => {}
        other => {
            let hash = other.map_or_else(|| "an unknown hash".to_owned(), |hash| hash.to_string());
            return Err(Unacceptable::WeakHash { key_id: key_id(), hash });
        }
    }
    if !certificate.has_made(issuer, signature, data) {
        return Err(Unacceptable::Forged { key_id: key_id() });
    }
    // Without a time nobody could say whether the key was alive.
    let made = certificate::created(signature).ok_or_else(|| Unacceptable::Kind { key_id: key_id() })?;
    if made > now.saturating_add(CLOCK_SKEW) {
        return Err(Unacceptable::FromTheFuture { key_id: key_id(), made: date(made), now: date(now) });
    }
    if let Some(end) = certificate::expires(signature).filter(|end| *end <= now) {
        return Err(Unacceptable::Expired { key_id: key_id(), at: date(end) });
    }
    certificate.may_sign(issuer, made, now).map_err(|source| Unacceptable::Key { key_id: key_id(), source })
}

fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("second {seconds}"), |time| time.to_string())
}

/// The armored blocks of a text, which may be several, as in the file that Red Hat ships.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(BEGIN).filter_map(|(begin, _)| {
        let block = &text[begin..];
        let end = block.find(END)? + END.len();
        // The armor ends with the line.
        let end = block[end..].find('\n').map_or(block.len(), |newline| end + newline + 1);
        Some(&block[..end])
    })
}

/// The public keys of a stream. Those of a kind that is unknown here are left out if there are others.
fn keys(bytes: impl std::io::BufRead) -> Result<Vec<Certificate>, UnusableKeyring> {
    let malformed = |error: pgp::errors::Error| UnusableKeyring::Malformed(Box::new(error));
    let (mut keys, mut fault) = (Vec::new(), None);
    for key in SignedPublicKey::from_bytes_many(bytes).map_err(malformed)?.take(MAX_KEYS) {
        match key {
            Ok(key) => keys.push(Certificate(key)),
            Err(error) => fault = Some(error),
        }
    }
    match fault {
        Some(error) if keys.is_empty() => Err(malformed(error)),
        Some(error) => {
            tracing::warn!(%error, "a key of the keyring cannot be read and is left out");
            Ok(keys)
        }
        None => Ok(keys),
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("name", &self.name)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}
