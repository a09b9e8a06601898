use std::fmt;

use coreos_names::{Sha256, WithCauses};
use outbound_http::InvalidCas;

use crate::certificate::KeyFault;
use crate::store::Unreadable;
use crate::{message, statement};

/// Why no policy could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The CAs that are trusted beside the system's cannot be read.
    #[error("the trusted CAs cannot be used")]
    TrustedCa(#[source] InvalidCas),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the client for signature stores")]
    Client(#[source] reqwest::Error),
}

/// Why a message does not vouch for a release.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unacceptable {
    /// It is not a signed message.
    #[error(transparent)]
    Message(Box<dyn std::error::Error + Send + Sync>),
    /// The signature is good, but what it signs is not a statement about this release.
    #[error(transparent)]
    Statement(Box<dyn std::error::Error + Send + Sync>),
    /// None of the keys has signed it.
    #[error("it is signed by {}, which the keyring does not have", signers(key_ids))]
    UnknownSigner {
        /// Who it says that it is signed by, in hexadecimal.
        key_ids: Vec<String>,
    },
    /// It is of a kind that is not made over documents, or lacks the time when it was made.
    #[error("the signature of key {key_id} is not one over a document")]
    Kind {
        /// The key.
        key_id: String,
    },
    /// Its hash algorithm is broken or unknown.
    #[error("the signature of key {key_id} uses {hash}, which is not accepted")]
    WeakHash {
        /// The key.
        key_id: String,
        /// The algorithm.
        hash: String,
    },
    /// The key that it names has not made it over these bytes.
    #[error("the signature of key {key_id} is wrong: it or what it signs was changed")]
    Forged {
        /// The key.
        key_id: String,
    },
    /// It claims to be made later than now.
    #[error("the signature of key {key_id} was made at {made}, but the clock here says {now}")]
    FromTheFuture {
        /// The key.
        key_id: String,
        /// When it was made.
        made: String,
        /// The clock of this machine.
        now: String,
    },
    /// It was made for a time that is over.
    #[error("the signature of key {key_id} expired at {at}")]
    Expired {
        /// The key.
        key_id: String,
        /// When.
        at: String,
    },
    /// The key was not allowed to make it.
    #[error("key {key_id} has signed it, but cannot vouch for it")]
    Key {
        /// The key.
        key_id: String,
        /// What is wrong with the key.
        source: KeyFault,
    },
}

impl From<message::Error> for Unacceptable {
    fn from(error: message::Error) -> Self {
        Self::Message(Box::new(error))
    }
}

impl From<statement::Error> for Unacceptable {
    fn from(error: statement::Error) -> Self {
        Self::Statement(Box::new(error))
    }
}

fn signers(key_ids: &[String]) -> String {
    match key_ids {
        [] => "a key that it does not name".to_owned(),
        [one] => format!("key {one}"),
        several => format!("keys {}", several.join(", ")),
    }
}

/// No store has a signature that makes a release acceptable.
#[derive(Debug, thiserror::Error)]
#[error(
    "the release {} has no valid signature of a key in {}; {}; {}",
    joined(digests.iter().map(|digest| format!("sha256:{digest}")), " or "),
    joined(keyrings, " and none in "),
    joined(answers, "; "),
    ADVICE
)]
pub struct Refusal {
    /// The digests of which any would have done.
    pub digests: Vec<Sha256>,
    /// The keyrings that vouch for none of them.
    pub keyrings: Vec<String>,
    /// What each store answered, in the order in which they were asked.
    pub answers: Vec<Answer>,
}

const ADVICE: &str = "put its signature into one of RELEASE_SIGNATURE_STORES, or the key that signed it into \
    RELEASE_SIGNATURE_KEYS if you trust it; a mirror that drops manifest lists or rewrites the image changes its digest, \
    and signatures no longer fit: mirror it with its digest kept";

impl Refusal {
    /// Whether a store could not be asked, so that trying again soon may give another answer.
    pub fn is_retryable(&self) -> bool {
        self.answers.iter().flat_map(|answer| &answer.findings).any(Finding::is_retryable)
    }
}

/// What a store had.
#[derive(Debug)]
pub struct Answer {
    /// The store.
    pub store: String,
    /// What was found; nothing where it has no signature.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return write!(f, "{} has no signature of it", self.store);
        }
        write!(f, "{}: {}", self.store, joined(&self.findings, ", "))
    }
}

/// Something in a store that does not vouch for the release.
#[derive(Debug)]
#[non_exhaustive]
pub enum Finding {
    /// It cannot be read.
    Unreadable {
        /// Where in the store it is.
        place: String,
        /// Why not.
        source: Unreadable,
    },
    /// It is there, but does not satisfy a keyring.
    Unacceptable {
        /// Where in the store it is.
        place: String,
        /// The keyring.
        keyring: String,
        /// Why not.
        source: Unacceptable,
    },
}

impl Finding {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreadable { source, .. } if source.is_retryable())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { place, source } => write!(f, "{place} {}", WithCauses(source)),
            Self::Unacceptable { place, keyring, source } => {
                write!(f, "{place} for {keyring}: {}", WithCauses(source))
            }
        }
    }
}

fn joined(items: impl IntoIterator<Item: fmt::Display>, separator: &str) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
}
