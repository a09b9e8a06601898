//! What the service has done since it started, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters that only ever grow. The inbound wing counts, the outbound wing shows.
#[derive(Debug, Default)]
pub struct Statistics {
    fetches: AtomicU64,
    failed_fetches: AtomicU64,
    fetched_bytes: AtomicU64,
    fetching_milliseconds: AtomicU64,
    lookups: AtomicU64,
    failed_lookups: AtomicU64,
    collected_images: AtomicU64,
    applied_lists: AtomicU64,
    refused_lists: AtomicU64,
}

impl Statistics {
    /// A fetch of an image begins.
    pub fn count_fetch(&self) {
        self.fetches.fetch_add(1, Ordering::Relaxed);
    }

    /// A fetch has failed.
    pub fn count_failed_fetch(&self) {
        self.failed_fetches.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of an image have arrived.
    pub fn count_fetched_bytes(&self, bytes: u64) {
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A fetch has taken so long, whatever became of it.
    pub fn count_fetching(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.fetching_milliseconds.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// It is being found out what a release holds.
    pub fn count_lookup(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// It could not be found out what a release holds.
    pub fn count_failed_lookup(&self) {
        self.failed_lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// So many images were removed because nobody wanted them any more.
    pub fn count_collected_images(&self, images: u64) {
        self.collected_images.fetch_add(images, Ordering::Relaxed);
    }

    /// Another list of desired images was taken into use.
    pub fn count_applied_list(&self) {
        self.applied_lists.fetch_add(1, Ordering::Relaxed);
    }

    /// Another list of desired images could not be used.
    pub fn count_refused_list(&self) {
        self.refused_lists.fetch_add(1, Ordering::Relaxed);
    }

    /// How often an image began to be fetched.
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }

    /// How many of those have failed.
    pub fn failed_fetches(&self) -> u64 {
        self.failed_fetches.load(Ordering::Relaxed)
    }

    /// Bytes of images that have arrived, those of failed fetches included.
    pub fn fetched_bytes(&self) -> u64 {
        self.fetched_bytes.load(Ordering::Relaxed)
    }

    /// For how long images were fetched, to the millisecond. Fetches that run side by side count each.
    pub fn fetching(&self) -> Duration {
        Duration::from_millis(self.fetching_milliseconds.load(Ordering::Relaxed))
    }

    /// How often it began to be found out what a release holds.
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }

    /// How many of those lookups have failed.
    pub fn failed_lookups(&self) -> u64 {
        self.failed_lookups.load(Ordering::Relaxed)
    }

    /// How many images were removed because nobody wanted them any more.
    pub fn collected_images(&self) -> u64 {
        self.collected_images.load(Ordering::Relaxed)
    }

    /// How often another list of desired images was taken into use.
    pub fn applied_lists(&self) -> u64 {
        self.applied_lists.load(Ordering::Relaxed)
    }

    /// How often another list of desired images could not be used.
    pub fn refused_lists(&self) -> u64 {
        self.refused_lists.load(Ordering::Relaxed)
    }
}
