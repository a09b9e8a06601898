//! One release of the configuration, from its announcement to its last image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coreos_names::{Arch, ImageKind, OpenshiftVersion, WithCauses};
use image_store::{DesiredImage, EntryId, Expected, ImageState, Lease, ResolvedImage, ResolvedRelease};
use release_payload::release_images::{Architectures, ReleaseImage};
use release_payload::{OsStream, Payload, Reference};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::attempt::Error;
use crate::provisioner::Provisioner;
use crate::queue::Place;
use crate::retry::failed;

/// A release whose entries are in the catalog.
pub(crate) struct Release {
    provisioner: Arc<Provisioner>,
    image: ReleaseImage,
    entries: Entries,
    /// Where it stands in the configuration, behind OS_IMAGES.
    order: usize,
    /// What OS_IMAGES brings.
    covered: Arc<Covered>,
    /// The architectures of which it was said that OS_IMAGES brings them.
    said: BTreeSet<Arch>,
    /// What an earlier process knew of it.
    known: Option<ResolvedRelease>,
}

/// What OS_IMAGES brings in and releases therefore need not.
pub(crate) type Covered = BTreeSet<(OpenshiftVersion, Arch)>;

/// The release's entries in the catalog.
enum Entries {
    /// The payload will tell its architectures.
    Unknown(EntryId),
    /// One for each architecture.
    Known(BTreeMap<Arch, EntryId>),
}

impl Release {
    /// Adds the release's images to the catalog, except those that are `covered`.
    pub(crate) fn announce(
        provisioner: Arc<Provisioner>,
        image: ReleaseImage,
        covered: Arc<Covered>,
        order: usize,
    ) -> Self {
        let entries = Entries::Known(BTreeMap::new());
        let said = BTreeSet::new();
        let mut release = Self { provisioner, image, entries, order, covered, said, known: None };
        release.entries = match release.image.architectures.clone() {
            Architectures::OfPayload => {
                Entries::Unknown(release.provisioner.catalog.add(desired(&release.image, None)))
            }
            Architectures::Listed(arches) => {
                let wanted = release.uncovered(&arches).into_iter();
                let add = |arch| (arch, release.provisioner.catalog.add(desired(&release.image, Some(arch))));
                Entries::Known(wanted.map(add).collect())
            }
        };
        release
    }

    /// Those of the architectures that OS_IMAGES does not bring. Says once of each that it does.
    fn uncovered(&mut self, arches: &[Arch]) -> Vec<Arch> {
        let version = &self.image.openshift_version;
        let is_covered = |arch: Arch| self.covered.contains(&(version.clone(), arch));
        let (covered, wanted): (Vec<_>, _) = arches.iter().copied().partition(|&arch| is_covered(arch));
        for arch in covered {
            if self.said.insert(arch) {
                tracing::info!(
                    release.pullspec = %self.image.pullspec, openshift.version = %version, %arch,
                    "OS_IMAGES has an image for this version and architecture; the release's is not fetched"
                );
            }
        }
        wanted
    }

    /// Makes images ready that an earlier process brought in and nobody has touched since, with no network at all. Reads
    /// no image whole.
    pub(crate) async fn serve_known(&mut self) {
        let identity = self.image.identity();
        let known = match self.provisioner.blocking(move |store| store.resolved_release(&identity)).await {
            Ok(Some(known)) => known,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(error = %WithCauses(&error), "cannot read the index; the release is resolved anew");
                return;
            }
        };
        self.reconcile(&known.arches);
        for (&arch, &entry) in self.entries() {
            let Some(ResolvedImage { key, sha256, .. }) = known.images.get(&arch).cloned() else { continue };
            match self
                .provisioner
                .blocking(move |store| store.find_known(&key, Expected::Release(sha256)))
                .await
            {
                Ok(Some(lease)) => self.serve(entry, lease),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = %WithCauses(&error), "cannot serve a published image");
                }
            }
        }
        self.known = Some(known);
    }

    /// Does all that can be done for the release. Returns when nothing is left to do.
    pub(crate) async fn provision(self) {
        if matches!(self.image.architectures, Architectures::Listed(_)) && self.entries().is_empty() {
            return;
        }
        if !self.image.version.payload_has_iso() {
            let (major, minor) = OpenshiftVersion::FIRST_WITH_ISO;
            let reason = format!(
                "release {} is older than {major}.{minor}: its payload carries no live ISO",
                self.image.version
            );
            tracing::warn!(release.pullspec = %self.image.pullspec, "{reason}");
            self.set_all(&ImageState::Unsupported { reason });
            return;
        }
        self.serve_touched().await;
        // Goes on while the payload is read.
        let preparing = self.prepare_nmstate().await;
        self.bring_what_is_missing().await;
        preparing.join_all().await;
    }

    /// Makes images ready that an earlier process brought in and that have to be hashed again, as after a backup was
    /// restored. Asks nobody either.
    async fn serve_touched(&self) {
        let Some(known) = &self.known else { return };
        for (arch, &entry) in self.entries() {
            let Some(image) = known.images.get(arch) else { continue };
            if self.provisioner.catalog.lease(entry).is_some() {
                continue;
            }
            let place = Place::new([entry].into(), self.order);
            match self.provisioner.find(&image.key, Expected::Release(image.sha256), &place).await {
                Ok(Some(lease)) => self.serve(entry, lease),
                Ok(None) => {}
                Err(error) => tracing::warn!(error = %WithCauses(&error), "cannot serve a published image"),
            }
        }
    }

    fn serve(&self, entry: EntryId, lease: Lease) {
        tracing::info!(release.version = %self.image.version, image.key = %lease.key(), "serving from the data directory");
        self.provisioner.catalog.set_state(entry, ImageState::Ready(lease));
    }

    async fn bring_what_is_missing(mut self) {
        // A digest never means another image; a tag is asked again, in case it moved.
        if let Some(digest) = self.image.pullspec.digest()
            && self.is_complete(&digest.to_string())
        {
            return;
        }
        let payload = self.resolve().await;
        self.reconcile(payload.arches());
        if !self.is_complete(&payload.digest().to_string()) {
            self.bring_images(payload).await;
        }
    }

    /// For the images that an earlier process brought in. Returns what has to be tried again.
    async fn prepare_nmstate(&self) -> JoinSet<()> {
        let mut again = JoinSet::new();
        for &entry in self.entries().values() {
            if let Some(lease) = self.provisioner.catalog.lease(entry)
                && self.provisioner.prepare_nmstate(&lease, &self.image.version).await
            {
                let (provisioner, version) = (Arc::clone(&self.provisioner), self.image.version.clone());
                again.spawn(async move { provisioner.retry_nmstate(entry, &version).await });
            }
        }
        again
    }

    /// Reads the payload, trying until it succeeds.
    async fn resolve(&self) -> Payload {
        let mut waits = self.provisioner.retry.waits();
        loop {
            match self.provisioner.look_up(&self.image.pullspec, self.image.os_stream).await {
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
                    let wait = self.provisioner.retry.wait_after(&error, &mut waits);
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
        let record = Record {
            release: ResolvedRelease {
                pullspec: self.image.identity(),
                digest: payload.digest().to_string(),
                version: payload.version().clone(),
                arches: payload.arches().to_vec(),
                // What was served before is served until its successor is there, also after a restart.
                images: self.known.as_ref().map(|known| known.images.clone()).unwrap_or_default(),
            },
            provisioner: Arc::clone(&self.provisioner),
        };
        let (payload, record) = (Arc::new(payload), Arc::new(Mutex::new(record)));
        let mut images = JoinSet::new();
        for (&arch, &entry) in self.entries() {
            let (provisioner, payload, record) =
                (Arc::clone(&self.provisioner), Arc::clone(&payload), Arc::clone(&record));
            let version = self.image.version.clone();
            let place = Place::new([entry].into(), self.order);
            images.spawn(async move {
                let (lease, payload) = provisioner.bring_image(payload, arch, entry, &place).await;
                let again = provisioner.prepare_nmstate(&lease, &version).await;
                record.lock().await.add(&payload, &lease).await;
                provisioner.catalog.set_state(entry, ImageState::Ready(lease));
                if again {
                    provisioner.retry_nmstate(entry, &version).await;
                }
            });
        }
        while let Some(ended) = images.join_next().await {
            if let Err(panic) = ended {
                tracing::error!(release.pullspec = %self.image.pullspec, error = %panic, "one image is given up");
            }
        }
    }

    /// Gives a release whose configuration names no architectures one entry for each that its payload has.
    fn reconcile(&mut self, arches: &[Arch]) {
        if self.image.architectures != Architectures::OfPayload {
            return;
        }
        let arches = &self.uncovered(arches);
        let catalog = &self.provisioner.catalog;
        match &mut self.entries {
            Entries::Unknown(id) => {
                let ids = catalog.replace(*id, arches.iter().map(|arch| desired(&self.image, Some(*arch))));
                self.entries = Entries::Known(arches.iter().copied().zip(ids).collect());
            }
            Entries::Known(entries) => {
                let gone: Vec<_> = entries.keys().filter(|arch| !arches.contains(arch)).copied().collect();
                for arch in gone {
                    entries.remove(&arch).into_iter().for_each(|id| catalog.remove(id));
                }
                for &arch in arches {
                    entries.entry(arch).or_insert_with(|| catalog.add(desired(&self.image, Some(arch))));
                }
            }
        }
    }

    fn entries(&self) -> &BTreeMap<Arch, EntryId> {
        static NONE: BTreeMap<Arch, EntryId> = BTreeMap::new();
        match &self.entries {
            Entries::Unknown(_) => &NONE,
            Entries::Known(entries) => entries,
        }
    }

    /// Whether every image of the release with this digest is ready.
    fn is_complete(&self, release_digest: &str) -> bool {
        let Some(known) = &self.known else { return false };
        let is_there = |(arch, id): (&Arch, &EntryId)| {
            let of_this_release =
                known.images.get(arch).is_some_and(|image| image.release_digest == release_digest);
            of_this_release && self.provisioner.catalog.lease(*id).is_some()
        };
        let all_known = match self.image.architectures {
            Architectures::Listed(_) => true,
            Architectures::OfPayload => known.digest == release_digest,
        };
        all_known && self.entries().iter().all(is_there)
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

/// The release's entry in the index, written anew with every image that is there.
struct Record {
    release: ResolvedRelease,
    provisioner: Arc<Provisioner>,
}

impl Record {
    async fn add(&mut self, payload: &Payload, lease: &Lease) {
        let image = ResolvedImage {
            key: lease.key().clone(),
            sha256: lease.sha256(),
            release_digest: payload.digest().to_string(),
        };
        self.release.digest.clone_from(&image.release_digest);
        self.release.images.insert(lease.key().arch, image);
        let release = self.release.clone();
        if let Err(error) = self.provisioner.blocking(move |store| store.record_release(&release)).await {
            tracing::warn!(error = %WithCauses(&error), "cannot write the index; a restart will ask the registry again");
        }
    }
}

impl Provisioner {
    /// Finds out what a release holds, and counts it.
    async fn look_up(
        &self,
        pullspec: &Reference,
        os_stream: Option<OsStream>,
    ) -> Result<Payload, release_payload::Error> {
        let statistics = self.catalog.statistics();
        statistics.count_lookup();
        let result = Payload::resolve(&self.registry, pullspec).await;
        if result.is_err() {
            statistics.count_failed_lookup();
        }
        result.map(|payload| payload.with_os_stream(os_stream))
    }

    /// Brings one image in, trying until it succeeds. Returns the payload it came from in the end.
    async fn bring_image(
        &self,
        mut payload: Arc<Payload>,
        arch: Arch,
        entry: EntryId,
        place: &Arc<Place>,
    ) -> (Lease, Arc<Payload>) {
        let mut waits = self.retry.waits();
        loop {
            let error = match self.attempt(&payload, arch, entry, place).await {
                Ok(lease) => return (lease, payload),
                Err(error) => error,
            };
            place.count_failure();
            let wait = self.retry.wait_after(&error, &mut waits);
            tracing::error!(
                release.pullspec = %payload.pullspec(), %arch, error = %WithCauses(&error),
                retry.seconds = wait.as_secs(), "cannot bring in the live ISO"
            );
            self.catalog.set_state(entry, failed(&error, wait));
            tokio::time::sleep(wait).await;
            // The same release would only be downloaded to fail in the same way.
            while error.is_content() {
                match self.look_up(payload.pullspec(), payload.os_stream()).await {
                    Ok(other) if other.digest() != payload.digest() => {
                        payload = Arc::new(other);
                        break;
                    }
                    _ => {
                        self.catalog.set_state(entry, failed(&error, wait));
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }
}

fn desired(image: &ReleaseImage, arch: Option<Arch>) -> DesiredImage {
    DesiredImage {
        openshift_version: image.openshift_version.clone(),
        release_version: Some(image.version_alias.clone()),
        arch,
        kind: ImageKind::Full,
    }
}
