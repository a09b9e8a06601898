use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};

use crate::{Error, RedactedUrl};

/// Until when one exchange with a registry has to be over, however many requests it takes.
///
/// A limit on silence is none on a peer that sends a byte now and then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    start: Instant,
    within: Duration,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn within(within: Duration) -> Self {
        Self { start: Instant::now(), within }
    }

    /// Waits for an answer of `url`, or until time is up.
    ///
    /// Combinators and no `async`, which would hold the work twice: futures that are nested so grow at every step.
    pub(crate) fn hold<T>(
        self,
        url: impl Into<RedactedUrl>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        let (url, within) = (url.into(), self.within);
        let left = within.saturating_sub(self.start.elapsed());
        timeout(left, work).map(move |done| done.unwrap_or_else(|_| Err(Error::TimedOut { url, within })))
    }
}
