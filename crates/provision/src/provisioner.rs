//! Who brings images in: what all journeys share, and how they begin and end together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use coreos_names::{ImageKind, Sha256};
use image_store::{Catalog, ImageKey, ImageStore};
use oci_registry::Registry;
use release_payload::SignaturePolicy;
use release_payload::release_images::ReleaseImage;
use tokio::task::JoinSet;

use crate::origin::Origin;
use crate::os_image::DesiredOsImage;
use crate::os_images::OsImage;
use crate::queue::Queue;
use crate::release::Release;
use crate::retry::RetryPolicy;

/// Brings desired images into the store and keeps the catalog up to date.
#[derive(Debug)]
pub struct Provisioner {
    pub(crate) registry: Registry,
    pub(crate) origin: Origin,
    pub(crate) store: ImageStore,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) retry: RetryPolicy,
    pub(crate) signatures: Option<SignaturePolicy>,
    /// For downloads.
    pub(crate) downloads: Arc<Queue>,
    /// For searches of the data directory, which may have to read a whole image.
    pub(crate) searches: Arc<Queue>,
    keys: Mutex<BTreeMap<ImageKey, Arc<tokio::sync::Mutex<()>>>>,
}

impl Provisioner {
    /// A provisioner that downloads at most `concurrent_downloads` images at a time.
    pub fn new(
        registry: Registry,
        origin: Origin,
        store: ImageStore,
        catalog: Arc<Catalog>,
        retry: RetryPolicy,
        concurrent_downloads: usize,
    ) -> Self {
        let [downloads, searches] = [(); 2].map(|()| Queue::new(Arc::clone(&catalog), concurrent_downloads));
        let (signatures, keys) = (None, Mutex::default());
        Self { registry, origin, store, catalog, retry, signatures, downloads, searches, keys }
    }

    /// The same, refusing releases that the policy does not accept, also those that an earlier process brought in.
    #[must_use]
    pub fn requiring(self, signatures: SignaturePolicy) -> Self {
        Self { signatures: Some(signatures), ..self }
    }

    /// The fingerprints of the keyrings under which a release has to be verified.
    pub(crate) fn required_keyrings(&self) -> BTreeSet<Sha256> {
        self.signatures.as_ref().map(SignaturePolicy::keyrings).unwrap_or_default()
    }

    /// Puts every image into the catalog. From here on a request for one is answered "not ready", not "unknown".
    ///
    /// OS images own their names: what one of them covers is not fetched from a release.
    pub fn announce(self: &Arc<Self>, os_images: Vec<OsImage>, releases: Vec<ReleaseImage>) -> Provisioning {
        if os_images.is_empty() && releases.is_empty() {
            self.catalog.settle();
        }
        let covered = os_images.iter().filter(|image| image.kind == ImageKind::Full);
        let covered = covered.map(|image| (image.openshift_version.clone(), image.arch));
        let covered = Arc::new(covered.collect());
        let count = os_images.len();
        let os_images = DesiredOsImage::announce(self, os_images);
        let release =
            |(order, release)| Release::announce(Arc::clone(self), release, Arc::clone(&covered), order);
        Provisioning { os_images, releases: (count..).zip(releases).map(release).collect() }
    }

    /// Held while an image is brought in, so that all who share it fetch it once.
    pub(crate) async fn lock_key(&self, key: &ImageKey) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(keys.entry(key.clone()).or_default())
        };
        lock.lock_owned().await
    }
}

/// Images that wait for being brought in.
pub struct Provisioning {
    os_images: Vec<DesiredOsImage>,
    releases: Vec<Release>,
}

impl Provisioning {
    /// What unfinished downloads of these images are called in the store, which is to keep them.
    pub fn download_names(&self) -> BTreeSet<String> {
        self.os_images.iter().map(DesiredOsImage::download_name).collect()
    }

    /// Makes ready what an earlier process brought in. Asks nobody, so it is done before the first request is answered.
    pub async fn serve_known(&mut self) {
        for image in &self.os_images {
            image.serve_known().await;
        }
        for release in &mut self.releases {
            release.serve_known().await;
        }
    }

    /// Brings every other image in. Ends when each is ready or can never be; dropped, it stops everything.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for image in self.os_images {
            tasks.spawn(image.provision());
        }
        for release in self.releases {
            tasks.spawn(release.provision());
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(panic) = ended {
                tracing::error!(error = %panic, "provisioning of one image or release has ended for good");
            }
        }
    }
}
