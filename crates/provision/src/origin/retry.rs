//! The tries of one download.

use std::time::Duration;

use coreos_names::WithCauses;

use super::Error;
use crate::RetryPolicy;

/// The tries that a download has left.
pub(super) struct Tries {
    limit: u32,
    policy: RetryPolicy,
    failed: u32,
    waits: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Tries {
    pub(super) fn new(limit: u32, policy: RetryPolicy) -> Self {
        Self { limit, policy, failed: 0, waits: Box::new(policy.waits()) }
    }

    /// Counts from the beginning again: the download came on.
    pub(super) fn renew(&mut self) {
        *self = Self::new(self.limit, self.policy);
    }

    /// Waits for the next try after one that failed; gives the error back if there is none.
    pub(super) async fn next_after(&mut self, error: Error) -> Result<(), Error> {
        self.failed += 1;
        let Some(wait) = self.wait_after(&error) else { return Err(error) };
        tracing::debug!(error = %WithCauses(&error), ?wait, "trying the download again");
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn wait_after(&mut self, error: &Error) -> Option<Duration> {
        if self.failed >= self.limit || !error.is_hiccup() {
            return None;
        }
        let wait = self.waits.next()?.max(error.retry_after().unwrap_or_default());
        // Coming back sooner than told would be rude, waiting that long is for the caller to decide.
        (wait <= self.policy.longest).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oci_registry::RedactedUrl;
    use reqwest::StatusCode;

    use super::Tries;
    use crate::RetryPolicy;
    use crate::origin::Error;

    const SECOND: Duration = Duration::from_secs(1);

    fn tries() -> Tries {
        Tries::new(3, RetryPolicy { shortest: SECOND, longest: 30 * SECOND })
    }

    fn status(status: u16, retry_after: Option<Duration>) -> Error {
        let url = RedactedUrl::from(&"https://mirror/x.iso".parse().unwrap());
        Error::Status { url, status: StatusCode::from_u16(status).unwrap(), retry_after }
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_spent_unless_the_download_comes_on() {
        let mut tries = tries();
        for _ in 0..5 {
            tries.next_after(status(503, None)).await.unwrap();
            tries.next_after(status(503, None)).await.unwrap();
            tries.renew();
        }
        tries.next_after(status(503, None)).await.unwrap();
        tries.next_after(status(503, None)).await.unwrap();
        assert!(tries.next_after(status(503, None)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_over_in_a_moment_is_not_waited_for() {
        let full = Error::Sink(std::io::ErrorKind::StorageFull.into());
        for error in [status(404, None), status(403, Some(SECOND)), full] {
            assert!(tries().next_after(error).await.is_err());
        }
    }

    #[test]
    fn nobody_is_asked_again_sooner_than_told() {
        let wait = |asked: u32| tries().wait_after(&status(429, Some(asked * SECOND)));
        let soon = wait(0).unwrap();
        assert!((SECOND..=2 * SECOND).contains(&soon), "{soon:?}");
        assert_eq!(wait(20), Some(20 * SECOND));
        assert_eq!(wait(31), None);
    }
}
