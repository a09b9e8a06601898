//! How long a client may take.

use std::time::Duration;

/// The times after which a connection or a download is given up. For tests, which have less of it.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, and after connecting to begin the first one.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Before it takes another byte of what it is waiting for.
    pub stall: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(3),
            idle: Duration::from_mins(3),
            stall: Duration::from_mins(10),
            handshake: Duration::from_secs(10),
        }
    }
}
