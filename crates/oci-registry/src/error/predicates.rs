//! What may be done about an error. Of several places, all are looked at.

use std::time::Duration;

use reqwest::StatusCode;

use super::Error;

impl Error {
    /// Whether the same request may succeed later with nothing changed at our end.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Transport { .. }
            | Self::TimedOut { .. }
            | Self::Truncated { .. }
            | Self::WrongBytes { .. } => true,
            Self::Unavailable { attempts, .. } => attempts.iter().any(|attempt| attempt.error.is_retryable()),
            Self::Disk { source, .. } => source.is_retryable(),
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT,
            _ => false,
        }
    }

    /// Whether nobody answered: no connection, a lost or much too slow one, or no TLS that is trusted; of several places,
    /// at none.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::TimedOut { .. } | Self::Tls { .. } => true,
            Self::Unavailable { attempts, .. } => {
                !attempts.is_empty() && attempts.iter().all(|attempt| attempt.error.is_silence())
            }
            _ => false,
        }
    }

    /// Whether the registry said, or the folder shows, that it does not have it; of several places, every one.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Unavailable { attempts, .. } => {
                !attempts.is_empty() && attempts.iter().all(|attempt| attempt.error.is_not_found())
            }
            Self::Disk { source, .. } => source.is_missing(),
            _ => false,
        }
    }

    /// Whether the bytes that came, or were announced, are not those that were asked for. That a peer makes nothing of
    /// ranges says nothing of its bytes.
    pub fn is_wrong_content(&self) -> bool {
        match self {
            Self::DigestMismatch { .. }
            | Self::TooLong { .. }
            | Self::WrongLength { .. }
            | Self::WrongBytes { .. } => true,
            Self::Unavailable { attempts, .. } => {
                attempts.iter().any(|attempt| attempt.error.is_wrong_content())
            }
            _ => false,
        }
    }

    /// Whether another pull secret could help.
    pub fn is_unauthorized(&self) -> bool {
        match self {
            Self::Unauthorized { .. } | Self::Denied { .. } | Self::UnusableEntry { .. } => true,
            Self::Unavailable { attempts, .. } => {
                attempts.iter().any(|attempt| attempt.error.is_unauthorized())
            }
            _ => false,
        }
    }

    /// Whether no connection came about, so that another way of connecting may be tried.
    pub(crate) fn is_connection_failure(&self) -> bool {
        match self {
            Self::Tls { .. } => true,
            Self::Transport { source, .. } => source.is_connect(),
            _ => false,
        }
    }

    /// How long the peer asked to be left alone; of several, the one that may be asked first. `None` if it did not ask.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { attempts, .. } => {
                let recover = attempts.iter().filter(|attempt| attempt.error.is_retryable());
                let waits = recover.map(|attempt| attempt.error.retry_after());
                // `None` is less than any wait.
                waits.min().flatten()
            }
            Self::RateLimited { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
