//! Why a download failed, and whether it is worth trying again.

use std::io;
use std::time::Duration;

use oci_registry::RedactedUrl;
use outbound_http::InvalidCas;
use reqwest::StatusCode;

/// Why an image could not be downloaded.
///
/// No variant can carry a header or query parameter of a request, nor a user or password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client could not be made: no certificate store, or no crypto provider installed in the process.
    #[error("cannot set up the client for OS images")]
    Client(#[source] reqwest::Error),
    /// The trusted CA bundle cannot be used.
    #[error("the trusted CA bundle for OS images cannot be used")]
    TrustedCas(#[source] InvalidCas),
    /// No connection, none that is trusted, or a silent one.
    #[error("no answer from {url}")]
    Transport {
        /// Who was asked.
        url: RedactedUrl,
        /// Why.
        source: reqwest::Error,
    },
    /// The server refuses, or cannot.
    #[error("{url} answers {status}")]
    Status {
        /// Who answered. After a redirect, not the server that was asked.
        url: RedactedUrl,
        /// The answer.
        status: StatusCode,
        /// How long to wait, if it said so.
        retry_after: Option<Duration>,
    },
    /// The bytes ended early.
    #[error(
        "the download from {url} broke off after {received} {}",
        total.map_or_else(|| "bytes".to_owned(), |total| format!("of {total} bytes"))
    )]
    BrokenOff {
        /// Where the bytes came from.
        url: RedactedUrl,
        /// How many bytes there are now.
        received: u64,
        /// How many there should be, if the server said so.
        total: Option<u64>,
        /// How the connection was lost, if it was.
        source: Option<reqwest::Error>,
    },
    /// The bytes come so slowly that they would never be all there.
    #[error("{url} sends fewer than {bytes} bytes in {} s", within.as_secs())]
    TooSlow {
        /// Where the bytes come from.
        url: RedactedUrl,
        /// How many have to come.
        bytes: u64,
        /// In which time.
        within: Duration,
    },
    /// The server sends a part of the file that was not asked for, or of another file.
    #[error("{url} answers with another part of the file than the one from byte {offset} on")]
    WrongPart {
        /// Who answered.
        url: RedactedUrl,
        /// Where the part was to begin.
        offset: u64,
    },
    /// The bytes are compressed for the way although that was not wanted.
    #[error("{url} sends the file encoded as {encoding:?}; it has to be sent as it is")]
    Encoded {
        /// Who answered.
        url: RedactedUrl,
        /// The encoding it names, shortened.
        encoding: String,
    },
    /// Larger than any image is.
    #[error("the file at {url} is larger than the {limit} bytes that are accepted")]
    TooLarge {
        /// Where it is.
        url: RedactedUrl,
        /// The limit.
        limit: u64,
    },
    /// Sent on from HTTPS to plain HTTP.
    #[error("{from} sends on to {to}, which is not encrypted")]
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
    /// The sink does not take the bytes.
    #[error("cannot store the download")]
    Sink(#[source] io::Error),
}

impl Error {
    /// Whether the same request may succeed later with nothing changed by an admin.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. }
            | Self::BrokenOff { .. }
            | Self::TooSlow { .. }
            | Self::WrongPart { .. }
            | Self::Sink(_) => true,
            Self::Status { status, .. } => {
                status.is_server_error() || matches!(status.as_u16(), 408 | 416 | 425 | 429)
            }
            _ => false,
        }
    }

    /// Whether it may well be over in a moment.
    pub(super) fn is_hiccup(&self) -> bool {
        // A disk that is full does not empty itself.
        self.is_retryable() && !matches!(self, Self::Sink(_))
    }

    /// How long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
