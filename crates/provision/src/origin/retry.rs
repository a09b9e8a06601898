//! The tries of one download, and what a server says about when to come back.

use std::time::{Duration, SystemTime};

use coreos_names::WithCauses;
use reqwest::header::{HeaderMap, RETRY_AFTER};

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

/// Reads `Retry-After`: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than can be counted are too many in any case.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use oci_registry::RedactedUrl;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

    use super::{Tries, retry_after};
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

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |text| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            retry_after(&headers, now)
        };
        assert_eq!(parse(" 120"), Some(Duration::from_mins(2)));
        assert_eq!(parse("99999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        for text in ["", "-1", "+1", "soon", "1.5"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
