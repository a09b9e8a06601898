use std::time::Duration;

use crate::Error;

/// How often a source is asked for one thing, and how long is waited in between.
///
/// This is about hiccups: a registry restarting, a gateway timing out, a limit of requests per second. Longer
/// troubles are left to the caller, who knows what else there is to do.
#[derive(Clone, Debug)]
pub struct Retry {
    /// How often, the first time included. A download that gets on starts to count anew.
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

impl Retry {
    /// How long to wait after this many tries and this error. `None`: no more tries.
    pub(crate) fn delay(&self, tries: u32, error: &Error) -> Option<Duration> {
        if tries >= self.tries || !error.is_retryable() {
            return None;
        }
        let doubled =
            self.first_delay.saturating_mul(2_u32.saturating_pow(tries - 1)).min(self.longest_delay);
        let wait = error.retry_after().map_or(doubled, |asked| asked.max(doubled));
        (wait <= self.longest_delay).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outbound_http::InvalidCas;

    use super::Retry;
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
    fn what_cannot_get_better_is_not_tried_again() {
        assert_eq!(Retry::default().delay(1, &Error::TrustedCa(InvalidCas::None)), None);
    }
}
