//! A small cache of what was made, bounded by number.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The latest things that were made, so that what is asked for in thousands of ranges is not made for each.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    max: usize,
    /// The latest is the last.
    kept: Mutex<VecDeque<(K, V)>>,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    /// Keeps at most `max` of them.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, kept: Mutex::default() }
    }

    /// Finds a thing and makes it the latest.
    pub(crate) fn find(&self, key: &K) -> Option<V> {
        let mut all = self.lock();
        let found = all.iter().position(|(kept, _)| kept == key)?;
        let entry = all.remove(found)?;
        let value = entry.1.clone();
        all.push_back(entry);
        Some(value)
    }

    /// Keeps a thing in place of the one that was not asked for the longest.
    pub(crate) fn keep(&self, key: K, value: V) {
        let mut all = self.lock();
        all.retain(|(kept, _)| *kept != key);
        all.push_back((key, value));
        if all.len() > self.max {
            all.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(K, V)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn what_was_not_asked_for_the_longest_goes_first() {
        let recent = Recent::new(3);
        for number in 0..3 {
            recent.keep(number, number);
        }
        assert_eq!(recent.find(&0), Some(0));
        recent.keep(3, 3);
        assert_eq!([0, 1, 2, 3].map(|number| recent.find(&number)), [Some(0), None, Some(2), Some(3)]);
        recent.keep(2, 20);
        assert_eq!([0, 2, 3].map(|number| recent.find(&number)), [Some(0), Some(20), Some(3)]);
    }
}
