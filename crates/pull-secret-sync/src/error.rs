use std::fmt;

use oci_registry::{CheckTarget, Excerpt, PullSecretError, RedactedUrl, Verdict};
use outbound_http::InvalidCas;

/// Whom the synchronisation talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Single sign-on, which gives out access tokens.
    Sso,
    /// The account service, which gives out the pull secret.
    Accounts,
    /// Vault's way in.
    VaultLogin,
    /// Vault, being read.
    VaultRead,
    /// Vault, being written.
    VaultWrite,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sso => "single sign-on",
            Self::Accounts => "the account service",
            Self::VaultLogin => "Vault's login",
            Self::VaultRead => "Vault, asked for the secret",
            Self::VaultWrite => "Vault, given the secret",
        })
    }
}

/// Why the secret in Vault may not be the account's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The CA certificates for one of the services cannot be used.
    #[error("the trusted CA certificates cannot be used")]
    TrustedCas(#[from] InvalidCas),
    /// The HTTP client cannot be made.
    #[error("cannot make the HTTP client")]
    Client(#[source] reqwest::Error),
    /// No connection, none that is trusted, or no answer in time.
    #[error("{service} does not answer at {url}")]
    Unreachable {
        /// Who was asked.
        service: Service,
        /// Where.
        url: RedactedUrl,
        /// Why not.
        source: reqwest::Error,
    },
    /// It knows us not, or does not let us.
    #[error("{service} at {url} refuses with status {status}: {answer}")]
    Refused {
        /// Who was asked.
        service: Service,
        /// Where.
        url: RedactedUrl,
        /// 400, 401 or 403.
        status: u16,
        /// What it says.
        answer: Excerpt,
    },
    /// It is in trouble.
    #[error("{service} at {url} fails with status {status}: {answer}")]
    Failed {
        /// Who was asked.
        service: Service,
        /// Where.
        url: RedactedUrl,
        /// The status of the answer.
        status: u16,
        /// What it says.
        answer: Excerpt,
    },
    /// It answers something else than its protocol says.
    #[error("{service} at {url} gives an answer that is none: {problem}")]
    Answer {
        /// Who was asked.
        service: Service,
        /// Where.
        url: RedactedUrl,
        /// What is wrong with it. Nothing of the answer is repeated.
        problem: &'static str,
    },
    /// A file with a credential cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which one.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// What the account service gives out is no pull secret.
    #[error("the account service gives out no pull secret")]
    NoPullSecret(#[source] PullSecretError),
    /// The account's pull secret pulls nothing.
    #[error("the account's pull secret does not pull, so Vault keeps what it has: {target}: {verdict}")]
    DoesNotPull {
        /// What it was tried on.
        target: CheckTarget,
        /// What has come of it.
        verdict: Box<Verdict>,
    },
    /// The registry has said nothing of the account's pull secret: it was not reached, is not trusted, is in trouble, asks
    /// for no credentials, or has nothing there.
    #[error("the account's pull secret cannot be tried, so Vault keeps what it has: {target}: {verdict}")]
    NotTried {
        /// What it was to be tried on.
        target: CheckTarget,
        /// What has come of it.
        verdict: Box<Verdict>,
    },
    /// The client that tries the pull secret cannot be made.
    #[error("cannot make the client that tries the pull secret")]
    Registry(#[source] oci_registry::Error),
    /// Somebody else wrote whenever we did.
    #[error("somebody else keeps writing the secret in Vault: gave up after {tries} tries")]
    Conflict {
        /// How often it was tried.
        tries: u32,
    },
    /// What was read back is not what was written.
    #[error("Vault does not hold what was written to it")]
    NotKept,
}

impl Error {
    /// The exit code of a program that fails for this reason, so that whoever runs it can tell them apart.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::TrustedCas(_) | Self::Client(_) | Self::Registry(_) | Self::File { .. } => 10,
            Self::Unreachable { service, .. }
            | Self::Refused { service, .. }
            | Self::Failed { service, .. }
            | Self::Answer { service, .. } => match service {
                Service::Sso => 11,
                Service::Accounts => 12,
                Service::VaultLogin => 13,
                Service::VaultRead => 14,
                Service::VaultWrite => 15,
            },
            Self::NoPullSecret(_) => 16,
            Self::DoesNotPull { .. } => 17,
            Self::Conflict { .. } => 18,
            Self::NotKept => 19,
            Self::NotTried { .. } => 20,
        }
    }
}
