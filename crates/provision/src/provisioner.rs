//! What all who bring images in share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coreos_names::Sha256;
use image_store::{Catalog, ImageKey, ImageStore};
use oci_registry::Registry;
use release_payload::{IsoSource, SignaturePolicy};
use tokio::sync::watch;

use crate::once::{Brought, Locks};
use crate::origin::Origin;
use crate::queue::Queue;
use crate::retry::RetryPolicy;

/// Brings desired images into the store and keeps the catalog up to date.
#[derive(Debug)]
pub struct Provisioner {
    registry: watch::Sender<Registry>,
    pub(crate) origin: Origin,
    pub(crate) store: ImageStore,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) retry: RetryPolicy,
    pub(crate) signatures: Option<SignaturePolicy>,
    /// For downloads.
    pub(crate) downloads: Arc<Queue>,
    /// For searches of the data directory, which may have to read a whole image.
    pub(crate) searches: Arc<Queue>,
    /// Held while what a release was resolved to is written anew.
    pub(crate) records: tokio::sync::Mutex<()>,
    /// Held while an image is brought in, so that all who share it fetch it once.
    pub(crate) keys: Locks<ImageKey>,
    /// The same for images of which nobody can say before which one it is.
    pub(crate) sources: Locks<IsoSource>,
    pub(crate) brought: Brought,
}

impl Provisioner {
    /// A provisioner that downloads at most `concurrent_downloads` images at a time. `registry` is asked until a list
    /// brings another client.
    pub fn new(
        registry: Registry,
        origin: Origin,
        store: ImageStore,
        catalog: Arc<Catalog>,
        retry: RetryPolicy,
        concurrent_downloads: usize,
    ) -> Self {
        let [downloads, searches] = [(); 2].map(|()| Queue::new(Arc::clone(&catalog), concurrent_downloads));
        let registry = watch::Sender::new(registry);
        Self {
            registry,
            origin,
            store,
            catalog,
            retry,
            signatures: None,
            downloads,
            searches,
            records: tokio::sync::Mutex::default(),
            keys: Locks::default(),
            sources: Locks::default(),
            brought: Brought::default(),
        }
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

    /// Takes another client into use, unless it is the same.
    pub(crate) fn set_registry(&self, registry: &Registry) {
        self.registry.send_if_modified(|current| {
            let is_other = !current.is_same(registry);
            current.clone_from(registry);
            is_other
        });
    }

    /// The client that is in use now and from now on.
    pub(crate) fn registry(&self) -> RegistryInUse {
        RegistryInUse(self.registry.subscribe())
    }
}

/// The client of registries as the settings are at the time.
pub(crate) struct RegistryInUse(watch::Receiver<Registry>);

impl RegistryInUse {
    /// For one attempt.
    pub(crate) fn current(&mut self) -> Registry {
        self.0.borrow_and_update().clone()
    }

    /// Waits for the next attempt. What an attempt has failed for may be another client's to mend, so that one is not
    /// waited with.
    pub(crate) async fn rest(&mut self, wait: Duration) {
        let changed = async {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        // The time being up or the client being another one is all there is to know.
        let _ = tokio::time::timeout(wait, changed).await;
    }
}
