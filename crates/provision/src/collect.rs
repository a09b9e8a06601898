//! What nobody wants any more is served for a while, and then removed.
//!
//! Nothing is judged before every entry of the catalog has a build: one that has none yet may want any image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coreos_names::{Sha256, WithCauses};
use image_store::{Catalog, Error, Found, ImageReport, ImageStore, Wanted};

use crate::blocking::blocking;

/// How often it is looked what is wanted.
const INTERVAL: Duration = Duration::from_hours(1);

/// How long to wait while nobody can say.
const WAIT: Duration = Duration::from_mins(1);

/// Looks after the images that the configuration no longer asks for.
#[derive(Debug)]
pub struct Collector {
    store: ImageStore,
    catalog: Arc<Catalog>,
    /// The images in it are filled in from the catalog each time.
    wanted: Wanted,
    retire_after: Duration,
    /// The keyrings under which a release has to be verified.
    keyrings: BTreeSet<Sha256>,
}

impl Collector {
    /// A collector for images that nobody has wanted for `retire_after`.
    ///
    /// `releases` are the configured release images, as the admin wrote them, and `downloads` the names of downloads
    /// that may be gone on with: what is known of others goes too.
    pub fn new(
        store: ImageStore,
        catalog: Arc<Catalog>,
        releases: BTreeSet<String>,
        downloads: BTreeSet<String>,
        retire_after: Duration,
    ) -> Self {
        let wanted = Wanted { images: BTreeMap::new(), releases, downloads };
        Self { store, catalog, wanted, retire_after, keyrings: BTreeSet::new() }
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

    /// Collects once it can be said what is wanted, and then every hour. Never ends; dropped, it stops.
    pub async fn run(self) {
        loop {
            let wait = match self.collect(SystemTime::now()).await {
                Ok(true) => INTERVAL,
                Ok(false) => WAIT,
                Err(error) => {
                    tracing::warn!(error = %WithCauses(&error), "cannot tidy up the data directory");
                    INTERVAL
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Retires what nobody wants, and removes what was retired for long enough. Returns whether it can be said what is
    /// wanted; if not, nothing was done.
    pub async fn collect(&self, now: SystemTime) -> Result<bool, Error> {
        let Some(images) = self.catalog.wanted() else { return Ok(false) };
        let wanted = Arc::new(Wanted { images, ..self.wanted.clone() });
        let retire_after = self.retire_after;
        let retired = {
            let (wanted, keyrings) = (Arc::clone(&wanted), self.keyrings.clone());
            self.blocking(move |store| verified(store, store.retire(&wanted, now, retire_after)?, &keyrings))
                .await?
        };
        // The catalog's own lease would keep an image that is due.
        self.catalog.set_retired(retired);
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
