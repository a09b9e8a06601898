use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use image_store::{Catalog, ImageKey, ImageStore};
use oci_registry::Registry;
use release_payload::release_images::ReleaseImage;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::release::Release;

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
}

/// Brings desired images into the store and keeps the catalog up to date.
#[derive(Debug)]
pub struct Provisioner {
    pub(crate) registry: Registry,
    pub(crate) store: ImageStore,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) retry: RetryPolicy,
    /// One permit for each download that may run at a time.
    pub(crate) downloads: Semaphore,
    keys: Mutex<BTreeMap<ImageKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl Provisioner {
    /// A provisioner that downloads at most `concurrent_downloads` images at a time.
    pub fn new(
        registry: Registry,
        store: ImageStore,
        catalog: Arc<Catalog>,
        retry: RetryPolicy,
        concurrent_downloads: usize,
    ) -> Self {
        let downloads = Semaphore::new(concurrent_downloads);
        Self { registry, store, catalog, retry, downloads, keys: Mutex::default() }
    }

    /// Puts every release into the catalog. From here on a request for one is answered "not ready", not "unknown".
    pub fn announce(self: &Arc<Self>, releases: Vec<ReleaseImage>) -> Provisioning {
        if releases.is_empty() {
            self.catalog.settle();
        }
        let releases = releases.into_iter().map(|release| Release::announce(Arc::clone(self), release));
        Provisioning(releases.collect())
    }

    /// Held while an image is brought in, so that two releases that share it fetch it once.
    pub(crate) async fn lock_key(&self, key: &ImageKey) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(keys.entry(key.clone()).or_default())
        };
        lock.lock_owned().await
    }
}

/// Releases that wait for being brought in.
pub struct Provisioning(Vec<Release>);

impl Provisioning {
    /// Makes ready what an earlier process brought in. Asks nobody, so it is done before the first request is answered.
    pub async fn serve_known(&mut self) {
        for release in &mut self.0 {
            release.serve_known().await;
        }
    }

    /// Brings every other image in. Ends when each is ready or can never be; dropped, it stops everything.
    pub async fn run(self) {
        let mut tasks: JoinSet<()> = self.0.into_iter().map(Release::provision).collect();
        while let Some(ended) = tasks.join_next().await {
            if let Err(panic) = ended {
                tracing::error!(error = %panic, "provisioning of one release has ended for good");
            }
        }
    }
}
