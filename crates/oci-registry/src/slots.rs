use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// One place for a value under each key. Whoever fills it holds its lock, so that nobody else does the same work.
pub(crate) struct Slots<K, V>(Mutex<HashMap<K, Slot<V>>>);

pub(crate) type Slot<V> = Arc<tokio::sync::Mutex<Option<V>>>;

impl<K, V> Default for Slots<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Slots<K, V> {
    pub(crate) fn slot(&self, key: K) -> Slot<V> {
        Slot::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }
}
