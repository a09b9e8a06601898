//! From the registry to the images of a release: its payload, and one image for each architecture side by side. What
//! fails is tried again until it succeeds, and what it has brought is noted in the index.

use std::sync::Arc;

use coreos_names::{Arch, WithCauses};
use image_store::{EntryId, ImageState, ImageStore, Lease, ResolvedImage, ResolvedRelease};
use oci_registry::Registry;
use release_payload::{OsStream, Payload, Reference, Verification};
use tokio::task::JoinSet;

use super::Release;
use crate::attempt::Error;
use crate::provisioner::Provisioner;
use crate::queue::Place;
use crate::retry::failed;

impl Release {
    /// Reads the payload, trying until it succeeds.
    pub(super) async fn resolve(&self) -> Payload {
        let mut waits = self.provisioner.retry.waits();
        let mut registry = self.provisioner.registry();
        loop {
            let client = registry.current();
            let looked_up =
                self.provisioner.look_up(&client, &self.image.pullspec, self.image.os_stream).await;
            let error = match looked_up.map_err(Error::from).and_then(|payload| self.check_version(payload)) {
                Ok(payload) => return payload,
                Err(error) => error,
            };
            let wait = self.provisioner.retry.wait_after(&error, &mut waits);
            tracing::error!(
                release.pullspec = %self.image.pullspec, error = %WithCauses(&error),
                retry.seconds = wait.as_secs(), "cannot resolve the release"
            );
            self.set_all(&failed(&error, wait));
            registry.rest(wait).await;
        }
    }

    /// Says if the release is another one than its entry says, or refuses it where signatures are asked for.
    fn check_version(&self, payload: Payload) -> Result<Payload, Error> {
        let (configured, actual) = (&self.image.version, payload.version());
        if self.stated.is_some() || actual == configured {
            return Ok(payload);
        }
        if self.provisioner.signatures.is_some() {
            let (pullspec, configured) = (self.image.pullspec.to_string(), configured.clone());
            return Err(Error::OtherVersion { pullspec, configured, actual: actual.clone() });
        }
        tracing::warn!(
            release.pullspec = %self.image.pullspec, %configured, %actual,
            "the release image is of another version than its entry in RELEASE_IMAGES says"
        );
        Ok(payload)
    }

    /// Brings the images of all architectures in, side by side.
    pub(super) async fn bring_images(self, payload: Payload) {
        let (payload, release) = (Arc::new(payload), Arc::new(self));
        let mut images = JoinSet::new();
        let roster = release.roster.clone();
        for (arch, entry) in release.entries() {
            let (payload, release) = (Arc::clone(&payload), Arc::clone(&release));
            let (provisioner, version) = (Arc::clone(&release.provisioner), release.image.version.clone());
            let place = Place::new([entry].into(), release.order);
            let bringing = async move {
                let (lease, payload) = release.bring_image(payload, arch, entry, &place).await;
                release.check_build(arch, &lease);
                let again = provisioner.prepare_nmstate(&lease, &version).await;
                provisioner.record(release.image.identity(), &payload, &lease).await;
                provisioner.catalog.set_state(entry, ImageState::Ready(lease));
                if again {
                    provisioner.retry_nmstate(&[entry], &version).await;
                }
            };
            roster.set_task(entry, images.spawn(bringing));
        }
        while let Some(ended) = images.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(release.pullspec = %release.image.pullspec, %error, "one image is given up");
            }
        }
    }

    /// Brings one image in, trying until it succeeds. Returns the payload it came from in the end.
    async fn bring_image(
        &self,
        mut payload: Arc<Payload>,
        arch: Arch,
        entry: EntryId,
        place: &Arc<Place>,
    ) -> (Lease, Arc<Payload>) {
        let provisioner = &self.provisioner;
        let mut waits = provisioner.retry.waits();
        let mut registry = provisioner.registry();
        loop {
            let error = match provisioner.attempt(&registry.current(), &payload, arch, entry, place).await {
                Ok(lease) => return (lease, payload),
                Err(error) => error,
            };
            place.count_failure();
            let wait = provisioner.retry.wait_after(&error, &mut waits);
            tracing::error!(
                release.pullspec = %payload.pullspec(), %arch, error = %WithCauses(&error),
                retry.seconds = wait.as_secs(), "cannot bring in the live ISO"
            );
            provisioner.catalog.set_state(entry, failed(&error, wait));
            registry.rest(wait).await;
            // The same release would only be downloaded to fail in the same way.
            while error.is_content() {
                let client = registry.current();
                let other = provisioner.look_up(&client, payload.pullspec(), payload.os_stream()).await;
                match other.map_err(Error::from).and_then(|other| self.check_version(other)) {
                    Ok(other) if other.digest() != payload.digest() => {
                        payload = Arc::new(other);
                        break;
                    }
                    _ => {
                        provisioner.catalog.set_state(entry, failed(&error, wait));
                        registry.rest(wait).await;
                    }
                }
            }
        }
    }
}

impl Provisioner {
    /// Finds out what a release holds, and counts it.
    async fn look_up(
        &self,
        registry: &Registry,
        pullspec: &Reference,
        os_stream: Option<OsStream>,
    ) -> Result<Payload, release_payload::Error> {
        let statistics = self.catalog.statistics();
        statistics.count_lookup();
        let result = Payload::resolve(registry, pullspec, self.signatures.as_ref()).await;
        if result.is_err() {
            statistics.count_failed_lookup();
        }
        result.map(|payload| payload.with_os_stream(os_stream))
    }

    /// Notes in the index that a release has brought an image. What it has brought before of other architectures, or of
    /// this one as long as that is not there, stays noted: it is served, also after a restart.
    async fn record(&self, identity: String, payload: &Payload, lease: &Lease) {
        let digest = payload.digest().to_string();
        let (version, arches) = (payload.version().clone(), payload.arches().to_vec());
        let image = ResolvedImage {
            key: lease.key().clone(),
            sha256: lease.sha256(),
            release_digest: digest.clone(),
            verified_by: payload.verification().map(Verification::keyrings).unwrap_or_default(),
        };
        let _one_by_one = self.records.lock().await;
        let recorded = self.blocking(move |store: &ImageStore| {
            if !image.verified_by.is_empty() {
                store.note_verified(&image.key, image.sha256, &image.verified_by)?;
            }
            let known = store.resolved_release(&identity)?.map(|known| known.images);
            let mut images = known.unwrap_or_default();
            images.insert(image.key.arch, image);
            store.record_release(&ResolvedRelease { pullspec: identity, digest, version, arches, images })
        });
        if let Err(error) = recorded.await {
            tracing::warn!(error = %WithCauses(&error), "cannot write the index; a restart will ask the registry again");
        }
    }
}
