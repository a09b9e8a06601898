//! What nobody wants any more is served for a while, and then removed.
//!
//! Nothing is judged before every entry of the catalog has a build: one that has none yet may want any image. But a release
//! that can never be looked up must not fill the volume. So an entry that has failed for as long as images are retired is
//! passed over, and what the index has for any release of the list counts as wanted meanwhile. An image that is removed
//! nevertheless and was the entry's is fetched again: nobody has wanted it for that long a second time, and no host can
//! have been told of it under that entry's name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coreos_names::{OpenshiftVersion, Sha256, WithCauses};
use image_store::{
    Catalog, Error, Found, ImageKey, ImageReport, ImageStore, ResolvedRelease, Wanted, WantedImages,
};
use tokio::sync::watch;

use crate::blocking::blocking;
use crate::provisioning::Names;

/// How often it is looked what is wanted.
const INTERVAL: Duration = Duration::from_hours(1);

/// However short images are retired for.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(2);

/// How long to wait while nobody can say.
const WAIT: Duration = Duration::from_mins(1);

/// Looks after the images that the configuration no longer asks for.
#[derive(Debug)]
pub struct Collector {
    store: ImageStore,
    catalog: Arc<Catalog>,
    names: watch::Receiver<Names>,
    retire_after: Duration,
    /// The keyrings under which a release has to be verified.
    keyrings: BTreeSet<Sha256>,
}

impl Collector {
    /// A collector for images that nobody has wanted for `retire_after`.
    ///
    /// `names` is what the configuration names beside images: what is known of others goes too. It looks anew when that
    /// changes.
    pub fn new(
        store: ImageStore,
        catalog: Arc<Catalog>,
        names: watch::Receiver<Names>,
        retire_after: Duration,
    ) -> Self {
        Self { store, catalog, names, retire_after, keyrings: BTreeSet::new() }
    }

    /// The same, serving of the images that releases have brought only those that were verified under these keyrings,
    /// given by their fingerprints.
    #[must_use]
    pub fn requiring(self, keyrings: BTreeSet<Sha256>) -> Self {
        Self { keyrings, ..self }
    }

    /// Serves by their build the images of an earlier process that no entry of the catalog serves. Asks nobody and reads
    /// no image whole, so it is done before the first request is answered.
    pub async fn serve_known(&self) {
        let (retire_after, keyrings) = (self.retire_after, self.keyrings.clone());
        match self.blocking(move |store| verified(store, store.known(retire_after)?, &keyrings)).await {
            Ok(mut known) => {
                let report = self.catalog.report();
                let ready = report.iter().filter(|image| image.proof().is_some());
                let ready: Vec<_> = ready.filter_map(ImageReport::key).collect();
                known.retain(|found| !ready.contains(found.lease.key()));
                self.catalog.set_retired(known);
            }
            Err(error) => {
                tracing::warn!(error = %WithCauses(&error), "cannot look for images of an earlier process");
            }
        }
    }

    /// Collects once it can be said what is wanted, and then every hour, or as often as images are retired for a shorter
    /// time. Never ends; dropped, it stops.
    pub async fn run(mut self) {
        let interval = self.retire_after.clamp(SHORTEST_INTERVAL, INTERVAL);
        loop {
            self.names.mark_unchanged();
            let wait = match self.collect(SystemTime::now()).await {
                Ok(true) => interval,
                Ok(false) => WAIT.min(interval),
                Err(error) => {
                    tracing::warn!(error = %WithCauses(&error), "cannot tidy up the data directory");
                    interval
                }
            };
            let changed = async {
                if self.names.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            // Either is a reason to look again.
            let _ = tokio::time::timeout(wait, changed).await;
        }
    }

    /// Retires what nobody wants, and removes what was retired for long enough. Returns whether it can be said what is
    /// wanted; if not, nothing was done.
    pub async fn collect(&self, now: SystemTime) -> Result<bool, Error> {
        let Names { releases, downloads, is_complete } = self.names.borrow().clone();
        let wanted = self.catalog.wanted(self.retire_after).filter(|_| is_complete);
        let Some(WantedImages { mut images, is_all }) = wanted else { return Ok(false) };
        if !is_all {
            let releases = releases.clone();
            let of_releases = self.blocking(move |store| of_index(store, &releases)).await?;
            for (key, version) in of_releases {
                images.entry(key).or_insert(version);
            }
        }
        let retired = self.catalog.retired().into_iter();
        let formerly =
            retired.filter_map(|found| Some((found.lease.key().clone(), found.openshift_version?)));
        let formerly = formerly.collect();
        let wanted = Arc::new(Wanted { images, formerly, releases, downloads });
        let retire_after = self.retire_after;
        let retired = {
            let (wanted, keyrings) = (Arc::clone(&wanted), self.keyrings.clone());
            self.blocking(move |store| verified(store, store.retire(&wanted, now, retire_after)?, &keyrings))
                .await?
        };
        // The catalog's own lease would keep an image that is due.
        self.catalog.replace_retired(retired, &wanted.images);
        for key in self.blocking(move |store| store.collect(&wanted, retire_after)).await? {
            self.catalog.statistics().count_collected_images(1);
            tracing::info!(image.key = %key, "removed an image that nobody wants any more");
        }
        Ok(true)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ImageStore) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        blocking(move || work(&store)).await
    }
}

/// The images that these releases have brought, each with the version of the release.
fn of_index(
    store: &ImageStore,
    releases: &BTreeSet<String>,
) -> Result<BTreeMap<ImageKey, OpenshiftVersion>, Error> {
    let mut images = BTreeMap::new();
    for release in releases {
        if let Some(ResolvedRelease { version, images: brought, .. }) = store.resolved_release(release)? {
            images.extend(brought.into_values().map(|image| (image.key, version.clone())));
        }
    }
    Ok(images)
}

/// Those of the images that may be served where signatures are asked for.
fn verified(
    store: &ImageStore,
    mut found: Vec<Found>,
    keyrings: &BTreeSet<Sha256>,
) -> Result<Vec<Found>, Error> {
    if !keyrings.is_empty() {
        let unverified = store.unverified(keyrings)?;
        found.retain(|found| !unverified.contains(found.lease.key()));
    }
    Ok(found)
}
