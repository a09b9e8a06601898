use std::time::Duration;

use crate::Error;

/// How often a source is asked for one thing, and how long is waited in between.
///
/// This is about hiccups: a registry restarting, a gateway timing out, a limit of requests per second. Longer
/// troubles are left to the caller, who knows what else there is to do.
#[derive(Clone, Debug)]
pub struct Retry {
    /// How often, the first time included.
    pub tries: u32,
    /// How long before the second try. Doubles with every further one.
    pub first_delay: Duration,
    /// A peer that asks (`Retry-After`) for more than this is not asked again: coming back sooner than told would be
    /// rude, waiting that long is for the caller to decide.
    pub longest_delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 3, first_delay: Duration::from_secs(1), longest_delay: Duration::from_secs(30) }
    }
}

/// How long a download that has begun waits for somebody to go on with it.
///
/// What has come already is worth more patience than a first request: a registry that is restarted, or a node that is
/// drained, is away for minutes, and a gigabyte would start over.
#[derive(Clone, Debug)]
pub struct ResumePatience {
    /// How long after a break a download is given up, if it has not got on by a MiB since.
    pub longest_outage: Duration,
    /// How long before somebody who has failed is asked again. Doubles with every further failure.
    pub first_delay: Duration,
    /// What the doubling ends at. A peer that asks (`Retry-After`) for more gets it, as far as `longest_outage` allows.
    pub longest_delay: Duration,
}

impl Default for ResumePatience {
    fn default() -> Self {
        Self {
            longest_outage: Duration::from_mins(15),
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(30),
        }
    }
}

impl ResumePatience {
    /// How long to wait after this many failures, `outage` after the break. `None`: no more tries.
    pub(crate) fn delay(&self, failures: u32, error: &Error, outage: Duration) -> Option<Duration> {
        if !error.is_retryable() {
            return None;
        }
        let backoff = doubled(self.first_delay, failures).min(self.longest_delay);
        let wait = error.retry_after().map_or(backoff, |asked| asked.max(backoff));
        (outage.checked_add(wait)? < self.longest_outage).then_some(wait)
    }
}

/// The delay after this many failures, the first of them included.
fn doubled(first: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)))
}

impl Retry {
    /// How long to wait after this many tries and this error. `None`: no more tries.
    pub(crate) fn delay(&self, tries: u32, error: &Error) -> Option<Duration> {
        if tries >= self.tries || !error.is_retryable() {
            return None;
        }
        let backoff = doubled(self.first_delay, tries).min(self.longest_delay);
        let wait = error.retry_after().map_or(backoff, |asked| asked.max(backoff));
        (wait <= self.longest_delay).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outbound_http::InvalidCas;

    use super::{ResumePatience, Retry};
    use crate::{Answer, Error, RedactedUrl};

    const SECOND: Duration = Duration::from_secs(1);

    fn rate_limited(retry_after: Option<Duration>) -> Error {
        let url = RedactedUrl::from(&"https://quay.io/v2/".parse().unwrap());
        Error::RateLimited { url, retry_after, answer: Answer::default() }
    }

    #[test]
    fn delays_double_until_the_tries_are_spent() {
        let retry = Retry { tries: 4, first_delay: SECOND, longest_delay: 3 * SECOND };
        let delays = [1, 2, 3, 4].map(|tries| retry.delay(tries, &rate_limited(None)));
        assert_eq!(delays, [Some(SECOND), Some(2 * SECOND), Some(3 * SECOND), None]);
    }

    #[test]
    fn nobody_is_asked_again_sooner_than_told() {
        let retry = Retry { tries: 3, first_delay: 2 * SECOND, longest_delay: 30 * SECOND };
        let delay = |asked: u32| retry.delay(1, &rate_limited(Some(asked * SECOND)));
        assert_eq!(delay(1), Some(2 * SECOND));
        assert_eq!(delay(30), Some(30 * SECOND));
        assert_eq!(delay(31), None);
    }

    #[test]
    fn a_download_waits_as_long_as_the_outage_may_last() {
        let patience = ResumePatience::default();
        let delay = |failures, asked: Option<u32>, outage: u32| {
            patience.delay(failures, &rate_limited(asked.map(|asked| asked * SECOND)), outage * SECOND)
        };
        assert_eq!([1, 2, 5, 6, u32::MAX].map(|failures| delay(failures, None, 0)), {
            [1, 2, 16, 30, 30].map(|seconds| Some(seconds * SECOND))
        });
        assert_eq!(delay(1, Some(60), 0), Some(60 * SECOND));
        assert_eq!(delay(1, Some(899), 0), Some(899 * SECOND));
        assert_eq!(delay(1, Some(900), 0), None);
        assert_eq!(delay(1, Some(60), 850), None);
        assert_eq!(delay(1, None, 898), Some(SECOND));
        assert_eq!(delay(1, None, 899), None);
        let for_ever = rate_limited(Some(Duration::MAX));
        assert_eq!(patience.delay(1, &for_ever, SECOND), None);
        assert_eq!(patience.delay(1, &Error::TrustedCa(InvalidCas::None), Duration::ZERO), None);
    }

    #[test]
    fn what_cannot_get_better_is_not_tried_again() {
        assert_eq!(Retry::default().delay(1, &Error::TrustedCa(InvalidCas::None)), None);
    }
}
