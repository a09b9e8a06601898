//! How long an image waits after an attempt that failed. The tries within one download are `origin`'s own.

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use coreos_names::WithCauses;
use image_store::ImageState;

use crate::attempt::Error;

/// How long to wait between attempts. Waits double from the shortest to the longest and vary at random, so that many
/// replicas do not ask at the same instant.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The wait after the first failure.
    pub shortest: Duration,
    /// The wait that is never exceeded.
    pub longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { shortest: Duration::from_secs(5), longest: Duration::from_mins(10) }
    }
}

impl RetryPolicy {
    /// The waits between one image's attempts, without end.
    pub(crate) fn waits(self) -> impl Iterator<Item = Duration> + Send {
        ExponentialBuilder::new()
            .with_min_delay(self.shortest)
            .with_max_delay(self.longest)
            .with_jitter()
            .without_max_times()
            .build()
            // Random variation may go beyond the longest wait.
            .map(move |wait| wait.min(self.longest))
    }

    /// How long to wait after this error. What needs somebody to change something first is tried again only now and
    /// then, and nobody is asked again sooner than they said.
    pub(crate) fn wait_after(self, error: &Error, waits: &mut impl Iterator<Item = Duration>) -> Duration {
        if !error.is_retryable() {
            return self.longest;
        }
        let wait = waits.next().unwrap_or(self.longest);
        error.retry_after().map_or(wait, |asked| asked.clamp(wait, self.longest))
    }
}

/// The state of an image whose last attempt ended with `error`.
pub(crate) fn failed(error: &Error, wait: Duration) -> ImageState {
    ImageState::Failed { reason: WithCauses(error).to_string(), retry_at: SystemTime::now() + wait }
}
