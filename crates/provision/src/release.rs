//! One release of the configuration, from its announcement to its last image.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coreos_names::{Arch, ImageKind, OpenshiftVersion, WithCauses};
use image_store::{EntryId, ImageState, Lease, ResolvedRelease, Wanted};
use release_payload::Payload;
use release_payload::release_images::{Architectures, ReleaseImage};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::attempt::Error;
use crate::provisioner::Provisioner;

/// A release whose entries are in the catalog.
pub(crate) struct Release {
    provisioner: Arc<Provisioner>,
    image: ReleaseImage,
    entries: Entries,
}

/// The release's entries in the catalog.
enum Entries {
    /// The payload will tell its architectures.
    Unknown(EntryId),
    /// One for each architecture.
    Known(BTreeMap<Arch, EntryId>),
}

impl Release {
    /// Adds the release's images to the catalog.
    pub(crate) fn announce(provisioner: Arc<Provisioner>, image: ReleaseImage) -> Self {
        let arches = match &image.architectures {
            Architectures::Listed(arches) => arches.iter().copied().map(Some).collect(),
            Architectures::OfPayload => vec![None],
        };
        let wanted: Vec<_> = arches.iter().map(|arch| wanted(&image, *arch)).collect();
        let ids = provisioner.catalog.add(wanted);
        let known: BTreeMap<Arch, EntryId> =
            arches.iter().zip(&ids).filter_map(|(arch, id)| Some(((*arch)?, *id))).collect();
        let entries = match ids.first() {
            Some(id) if known.is_empty() => Entries::Unknown(*id),
            _ => Entries::Known(known),
        };
        Self { provisioner, image, entries }
    }

    /// Does all that can be done for the release. Returns when nothing is left to do.
    pub(crate) async fn provision(mut self) {
        if !self.image.version.payload_has_iso() {
            let (major, minor) = OpenshiftVersion::FIRST_WITH_ISO;
            let reason = format!(
                "release {} is older than {major}.{minor}: its payload carries no live ISO; list the ISO in OS_IMAGES",
                self.image.version
            );
            tracing::warn!(release.pullspec = %self.image.pullspec, "{reason}");
            self.set_all(&ImageState::Unsupported { reason });
            return;
        }
        let known = self.serve_from_index().await;
        // A digest never means another image; a tag is asked again, in case it moved.
        if self.is_complete() && self.image.pullspec.digest().is_some() {
            return;
        }
        let payload = self.resolve().await;
        if self.is_complete() && known.is_some_and(|known| known.digest == payload.digest().to_string()) {
            return;
        }
        self.split(payload.arches());
        self.bring_images(payload).await;
    }

    /// Makes images ready that an earlier process brought in, with no network at all.
    async fn serve_from_index(&mut self) -> Option<ResolvedRelease> {
        let pullspec = self.image.pullspec.to_string();
        let known = self.provisioner.blocking(move |store| store.resolved_release(&pullspec)).await;
        let known = known.unwrap_or_else(|error| {
            tracing::warn!(error = %WithCauses(&error), "cannot read the index; the release is resolved anew");
            None
        })?;
        self.split(&known.arches);
        for key in known.images.clone() {
            let Some(&entry) = self.entries().get(&key.arch) else { continue };
            match self.provisioner.blocking(move |store| store.image(&key)).await {
                Ok(Some(lease)) => {
                    tracing::info!(release.version = %known.version, image.key = %lease.key(), "serving from the data directory");
                    self.provisioner.catalog.set_state(entry, ImageState::Ready(lease));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = %WithCauses(&error), "cannot use a published image; it is fetched again");
                }
            }
        }
        Some(known)
    }

    /// Reads the payload, trying until it succeeds.
    async fn resolve(&self) -> Payload {
        let mut waits = self.provisioner.retry.waits();
        loop {
            match Payload::resolve(&self.provisioner.registry, &self.image.pullspec).await {
                Ok(payload) => {
                    if *payload.version() != self.image.version {
                        tracing::warn!(
                            release.pullspec = %self.image.pullspec, configured = %self.image.version, actual = %payload.version(),
                            "the release image is of another version than its entry in RELEASE_IMAGES says"
                        );
                    }
                    return payload;
                }
                Err(error) => {
                    let error = Error::from(error);
                    let wait = wait_after(&error, &mut waits, self.provisioner.retry.longest);
                    tracing::error!(
                        release.pullspec = %self.image.pullspec, error = %WithCauses(&error),
                        retry.seconds = wait.as_secs(), "cannot resolve the release"
                    );
                    self.set_all(&failed(&error, wait));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Brings the images of all architectures in, side by side.
    async fn bring_images(self, payload: Payload) {
        let record = ResolvedRelease {
            pullspec: self.image.pullspec.to_string(),
            digest: payload.digest().to_string(),
            version: payload.version().clone(),
            arches: self.entries().keys().copied().collect(),
            images: Vec::new(),
        };
        let (payload, record) = (Arc::new(payload), Arc::new(Mutex::new(record)));
        let mut images = JoinSet::new();
        for (&arch, &entry) in self.entries() {
            let (provisioner, payload, record) =
                (Arc::clone(&self.provisioner), Arc::clone(&payload), Arc::clone(&record));
            images.spawn(async move {
                let lease = provisioner.bring_image(&payload, arch, entry).await;
                // Held until it is written, so that an older state never replaces a newer one.
                let mut record = record.lock().await;
                record.images.push(lease.key().clone());
                let snapshot = record.clone();
                if let Err(error) = provisioner.blocking(move |store| store.record_release(&snapshot)).await {
                    tracing::warn!(error = %WithCauses(&error), "cannot write the index; a restart will ask the registry again");
                }
                provisioner.catalog.set_state(entry, ImageState::Ready(lease));
            });
        }
        images.join_all().await;
    }

    /// Gives the release one entry per architecture, if its configuration named none.
    fn split(&mut self, arches: &[Arch]) {
        if let Entries::Unknown(id) = self.entries {
            let ids = self
                .provisioner
                .catalog
                .replace(id, arches.iter().map(|arch| wanted(&self.image, Some(*arch))));
            self.entries = Entries::Known(arches.iter().copied().zip(ids).collect());
        }
    }

    fn entries(&self) -> &BTreeMap<Arch, EntryId> {
        static NONE: BTreeMap<Arch, EntryId> = BTreeMap::new();
        match &self.entries {
            Entries::Unknown(_) => &NONE,
            Entries::Known(entries) => entries,
        }
    }

    fn is_complete(&self) -> bool {
        match &self.entries {
            Entries::Unknown(_) => false,
            Entries::Known(entries) => {
                entries.values().all(|&id| self.provisioner.catalog.lease(id).is_some())
            }
        }
    }

    fn set_all(&self, state: &ImageState) {
        match &self.entries {
            Entries::Unknown(id) => self.provisioner.catalog.set_state(*id, state.clone()),
            Entries::Known(entries) => {
                for &id in entries.values() {
                    self.provisioner.catalog.set_state(id, state.clone());
                }
            }
        }
    }
}

impl Provisioner {
    /// Brings one image in, trying until it succeeds.
    async fn bring_image(&self, payload: &Payload, arch: Arch, entry: EntryId) -> Lease {
        let mut waits = self.retry.waits();
        loop {
            match self.attempt(payload, arch, entry).await {
                Ok(lease) => return lease,
                Err(error) => {
                    let wait = wait_after(&error, &mut waits, self.retry.longest);
                    tracing::error!(
                        release.pullspec = %payload.pullspec(), %arch, error = %WithCauses(&error),
                        retry.seconds = wait.as_secs(), "cannot bring in the live ISO"
                    );
                    self.catalog.set_state(entry, failed(&error, wait));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// What needs somebody to change something first is tried again only now and then.
fn wait_after(error: &Error, waits: &mut impl Iterator<Item = Duration>, longest: Duration) -> Duration {
    if error.is_retryable() { waits.next().unwrap_or(longest) } else { longest }
}

fn failed(error: &Error, wait: Duration) -> ImageState {
    ImageState::Failed { reason: WithCauses(error).to_string(), retry_at: SystemTime::now() + wait }
}

fn wanted(image: &ReleaseImage, arch: Option<Arch>) -> Wanted {
    Wanted {
        source: image.pullspec.to_string(),
        openshift_version: image.openshift_version.clone(),
        release_version: Some(image.version.clone()),
        arch,
        kind: ImageKind::Full,
    }
}
