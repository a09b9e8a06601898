mod predicates;

use std::fmt;
use std::io;
use std::time::Duration;

use coreos_names::WithCauses;
use outbound_http::InvalidCas;
use reqwest::StatusCode;

use crate::answer::Answer;
use crate::credentials_used::CredentialsUsed;
use crate::excerpt::Excerpt;
use crate::redacted_url::RedactedUrl;
use crate::subject::Subject;
use crate::{Blocked, Digest, DiskError, HostCertificatesError, InvalidManifest, Reference, UnusableEntry};

/// What can go wrong between a reference and its verified bytes.
///
/// No variant can carry a credential, a token or the query of a presigned URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client could not be made: no certificate store, or no crypto provider installed in the process.
    #[error("cannot set up the registry client")]
    Client(#[source] reqwest::Error),
    /// The trusted CA bundle holds nobody to be trusted.
    #[error("cannot use the trusted CA bundle")]
    TrustedCa(#[source] InvalidCas),
    /// Wrong credentials, or none.
    #[error("not allowed to read {subject}: {credentials}{answer}")]
    Unauthorized {
        /// What was asked for.
        subject: Subject,
        /// What was shown to the registry.
        credentials: CredentialsUsed,
        /// What the registry says.
        answer: Answer,
    },
    /// The registry knows these credentials, and they do not cover the repository.
    #[error(
        "no pull access to {subject}: the credentials of pull secret entry {key:?} are valid, but not for it{answer}"
    )]
    Denied {
        /// What was asked for.
        subject: Subject,
        /// The pull secret's entry.
        key: String,
        /// What the registry says.
        answer: Answer,
    },
    /// The pull secret has an entry for the registry that cannot be used.
    #[error("not allowed to read {subject}")]
    UnusableEntry {
        /// What was asked for.
        subject: Subject,
        /// What is wrong with the entry.
        source: UnusableEntry,
    },
    /// The registry asks for a kind of authentication this client does not know.
    #[error(
        "not allowed to read {subject}: the registry wants authentication by {schemes}, only Basic and Bearer are known"
    )]
    UnknownChallenge {
        /// What was asked for.
        subject: Subject,
        /// The schemes it names.
        schemes: Excerpt,
    },
    /// The token server's answer holds no token.
    #[error("not allowed to read {subject}: the answer of {url} holds no token")]
    NoToken {
        /// What was asked for.
        subject: Subject,
        /// The token server.
        url: RedactedUrl,
    },
    /// The registry does not have it.
    #[error("{subject} not found{answer}")]
    NotFound {
        /// What was asked for.
        subject: Subject,
        /// What the registry says.
        answer: Answer,
    },
    /// The bytes are not those that were asked for. None of them may be used.
    #[error("{subject} has the wrong content: its digest is {actual}, not {expected}")]
    DigestMismatch {
        /// What was asked for.
        subject: Subject,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The bytes ended early, by a lost connection or without any sign.
    #[error("{subject} broke off after {received} of {expected} bytes from {url}{}", times(*resumed))]
    Truncated {
        /// What was asked for.
        subject: Subject,
        /// Where the bytes came from.
        url: RedactedUrl,
        /// The size it should have.
        expected: u64,
        /// How much of it came.
        received: u64,
        /// How often the rest was asked for again.
        resumed: u32,
        /// Why it was not asked for once more, or how the connection was lost.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// More bytes came than the descriptor promises.
    #[error("{subject} is longer than the {expected} bytes that its manifest states")]
    TooLong {
        /// What was asked for.
        subject: Subject,
        /// The size it should have.
        expected: u64,
    },
    /// Larger than the caller, or this client, accepts.
    #[error("{subject} is larger than the {limit} bytes that are accepted")]
    TooLarge {
        /// What was asked for.
        subject: Subject,
        /// The limit.
        limit: u64,
    },
    /// The bytes are what was asked for, and no manifest.
    #[error("{subject} cannot be used")]
    Manifest {
        /// What was asked for.
        subject: Subject,
        /// Why.
        source: InvalidManifest,
    },
    /// The bytes are what was asked for, and no image configuration.
    #[error("{subject} is not an image configuration: {problem}")]
    ImageConfig {
        /// What was asked for.
        subject: Subject,
        /// Why.
        problem: Excerpt,
    },
    /// The answer states another length than the manifest does.
    #[error("{url} states {stated} bytes for {subject}, whose manifest states {expected}")]
    WrongLength {
        /// What was asked for.
        subject: Subject,
        /// Who answered.
        url: RedactedUrl,
        /// The size it should have.
        expected: u64,
        /// What the answer states.
        stated: u64,
    },
    /// The rest of a blob was asked for, and something else was answered.
    #[error("{url} was asked for {subject} from byte {offset} on and answers with {}", excerpt_of(content_range.as_ref()))]
    WrongRange {
        /// What was asked for.
        subject: Subject,
        /// Who answered.
        url: RedactedUrl,
        /// Where the rest begins.
        offset: u64,
        /// Which part the answer says it is, if it says so.
        content_range: Option<Excerpt>,
    },
    /// The bytes that came were wrong, and can still be asked of others: trying again does.
    #[error("wrong bytes came from {}", joined(from, ", "))]
    WrongBytes {
        /// Everybody who sent a part of them. Whoever did so alone is asked last from now on; of several nobody is
        /// convicted, and the next download comes from one place alone.
        from: Vec<Reference>,
        /// What is wrong with the bytes.
        source: Box<Error>,
    },
    /// None of the places where it may lie has it.
    #[error("cannot get {subject} from anywhere; tried {}", joined(attempts, "; "))]
    Unavailable {
        /// What was asked for.
        subject: Subject,
        /// All places that were asked, in order, with what each said last.
        attempts: Vec<FailedSource>,
    },
    /// The admin forbids it.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// The certificates that the admin has laid down for a host are of no use.
    #[error("cannot talk to {url}")]
    HostCertificates {
        /// What is not asked for that reason.
        url: RedactedUrl,
        /// What is wrong with them.
        source: HostCertificatesError,
    },
    /// The folder that holds the image does not give it.
    #[error("cannot take {subject} from disk")]
    Disk {
        /// What was asked for.
        subject: Subject,
        /// Why.
        source: DiskError,
    },
    /// Too many requests. Ask again later.
    #[error("{url} answers that there are too many requests{answer}")]
    RateLimited {
        /// Who said so.
        url: RedactedUrl,
        /// How long to wait, if it said so.
        retry_after: Option<Duration>,
        /// What else it says.
        answer: Answer,
    },
    /// An answer that fits nothing above.
    #[error("{url} answers {status} when asked for {subject}{answer}")]
    Status {
        /// What was asked for.
        subject: Subject,
        /// Who answered. After a redirect, not the registry.
        url: RedactedUrl,
        /// The answer.
        status: StatusCode,
        /// How long to wait, if it said so.
        retry_after: Option<Duration>,
        /// What else it says.
        answer: Answer,
    },
    /// The peer's certificate is not accepted, or TLS cannot be spoken with it.
    #[error("no trusted TLS connection to {url}")]
    Tls {
        /// The peer.
        url: RedactedUrl,
        /// Why.
        source: reqwest::Error,
    },
    /// No connection, a lost one, or a silent one.
    #[error("no answer from {url}")]
    Transport {
        /// The peer.
        url: RedactedUrl,
        /// Why.
        source: reqwest::Error,
    },
    /// A peer that would take for ever, a byte now and then.
    #[error("no whole answer from {url} within {within:?}")]
    TimedOut {
        /// The peer.
        url: RedactedUrl,
        /// How long everything together may take that was asked for, up to this answer.
        within: Duration,
    },
    /// Sent on to plain HTTP, at a host that is not listed as insecure.
    #[error("{from} sends on to {to}, which is not encrypted and not listed as an insecure registry")]
    PlainHttp {
        /// Who sends.
        from: RedactedUrl,
        /// Where to.
        to: RedactedUrl,
    },
    /// A redirect that leads nowhere.
    #[error("{url} redirects to nowhere")]
    BadRedirect {
        /// Who sends.
        url: RedactedUrl,
    },
    /// Sent on and on.
    #[error("more than {limit} redirects, the last to {url}")]
    TooManyRedirects {
        /// Where the last one leads.
        url: RedactedUrl,
        /// How many are followed.
        limit: usize,
    },
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Error::DigestMismatch { .. } | Error::TooLong { .. } | Error::WrongBytes { .. } => {
                io::ErrorKind::InvalidData
            }
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// One place that was asked in vain.
#[derive(Debug)]
pub struct FailedSource {
    /// What was asked for there.
    pub reference: Reference,
    /// What came of it.
    pub error: Error,
}

impl fmt::Display for FailedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reference, WithCauses(&self.error))
    }
}

fn joined(items: &[impl fmt::Display], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

fn times(resumed: u32) -> String {
    match resumed {
        0 => String::new(),
        1 => ", resumed once".to_owned(),
        many => format!(", resumed {many} times"),
    }
}

fn excerpt_of(content_range: Option<&Excerpt>) -> String {
    content_range
        .map_or_else(|| "no Content-Range".to_owned(), |range| format!("Content-Range {:?}", range.as_str()))
}

#[cfg(test)]
mod tests {
    use super::Error;
    use crate::subject::Subject;
    use crate::{DiskError, EntryProblem, InvalidManifest, UnusableEntry};
    use coreos_names::WithCauses;

    #[test]
    fn no_chain_repeats_itself() {
        let subject = Subject::manifest(&"quay.io/a/b:t".parse().unwrap());
        let entry = UnusableEntry { key: "quay.io".to_owned(), problem: EntryProblem::NotBase64 };
        for (error, chain) in [
            (
                Error::UnusableEntry { subject: subject.clone(), source: entry },
                "not allowed to read manifest quay.io/a/b:t: pull secret entry \"quay.io\" has an \"auth\" that is not base64",
            ),
            (
                Error::Manifest { subject, source: InvalidManifest::SchemaVersion(3) },
                "manifest quay.io/a/b:t cannot be used: manifest schema version 3, where only 2 is known",
            ),
            (
                Error::Disk {
                    subject: Subject::manifest(&"dir:/mnt/image".parse().unwrap()),
                    source: DiskError::NotAFolder { path: "/mnt/image".into() },
                },
                "cannot take manifest file:///mnt/image from disk: /mnt/image is a file, and images are read from folders only: unpack or copy it into one",
            ),
        ] {
            assert_eq!(WithCauses(&error).to_string(), chain);
        }
    }
}
