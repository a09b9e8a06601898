//! Pauses between attempts that grow with each failure.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Doubling pauses, with up to a quarter left out at random so that replicas do not ask in step.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after one more failure.
    pub(crate) fn next(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1).min(31);
        let pause = self.first.saturating_mul(factor).min(self.longest);
        pause.saturating_sub(pause.mul_f64(0.25 * random()))
    }

    /// Something has succeeded.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between 0 and 1, from the keys that the standard library gives its hash maps.
fn random() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for whole in [1, 2, 4, 8, 16, 30, 30] {
            let pause = backoff.next();
            let whole = Duration::from_secs(whole);
            assert!(pause <= whole && pause >= whole * 3 / 4, "{pause:?}");
        }
        for _ in 0..100 {
            backoff.next();
        }
        assert!(backoff.next() > Duration::from_secs(20));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
    }
}
