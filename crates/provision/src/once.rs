//! What several pieces of work want is fetched once.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use coreos_names::Sha256;
use image_store::ImageKey;
use release_payload::IsoSource;
use tokio::sync::OwnedMutexGuard;

/// A lock for each key.
#[derive(Debug)]
pub(crate) struct Locks<K>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Locks<K> {
    /// Waits until nobody else has the lock of this key.
    pub(crate) async fn lock(&self, key: &K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        lock.lock_owned().await
    }
}

/// Which images came from where, the latest at the end. It is needed where no release announces its ISO, or not the right
/// one: there only who has fetched it knows what it is.
#[derive(Debug, Default)]
pub(crate) struct Brought(Mutex<VecDeque<(IsoSource, ImageKey, Sha256)>>);

impl Brought {
    /// More images than any list has.
    const LONGEST: usize = 256;

    pub(crate) fn note(&self, source: IsoSource, key: ImageKey, sha256: Sha256) {
        let mut brought = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        brought.retain(|(known, ..)| *known != source);
        if brought.len() == Self::LONGEST {
            brought.pop_front();
        }
        brought.push_back((source, key, sha256));
    }

    pub(crate) fn get(&self, source: &IsoSource) -> Option<(ImageKey, Sha256)> {
        let brought = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, key, sha256) = brought.iter().find(|(known, ..)| known == source)?;
        Some((key.clone(), *sha256))
    }
}
