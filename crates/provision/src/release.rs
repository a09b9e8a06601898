//! One release of the configuration, from its announcement to its last image: its entries, and what an earlier process
//! knew of it. What the registry is asked for is in `release::bring`.

mod bring;

use std::collections::BTreeMap;
use std::sync::Arc;

use coreos_names::{Arch, ImageKind, OpenshiftVersion, OsBuild, WithCauses};
use image_store::{DesiredImage, EntryId, Expected, ImageState, Lease, ResolvedImage, ResolvedRelease};
use release_payload::release_images::{Architectures, ReleaseImage};
use tokio::task::JoinSet;

use crate::desired::WantedRelease;
use crate::piece::Journey;
use crate::provisioner::Provisioner;
use crate::queue::Place;
use crate::roster::{Entry, Roster};

/// A release whose entries are in the catalog.
pub(crate) struct Release {
    provisioner: Arc<Provisioner>,
    image: ReleaseImage,
    /// The builds that entries of OS_IMAGES state, if those are what asks for it.
    stated: Option<BTreeMap<Arch, OsBuild>>,
    roster: Roster<WantedRelease>,
    /// Where it stands in the configuration, behind OS_IMAGES.
    order: usize,
    /// What an earlier process knew of it.
    known: Option<ResolvedRelease>,
}

impl Release {
    /// Adds the images that the release is to bring to the catalog: one entry for each architecture, or one for all while
    /// only the payload knows them.
    pub(crate) fn announce(
        provisioner: Arc<Provisioner>,
        wanted: WantedRelease,
        order: usize,
        roster: Roster<WantedRelease>,
    ) -> Self {
        let is_of_payload = wanted.is_of_payload();
        let WantedRelease { image, arches, stated } = wanted;
        let release = Self { provisioner, image, stated, roster, order, known: None };
        let add = |arch| release.entry(arch, release.provisioner.catalog.add(release.desired(arch)));
        let entries = if is_of_payload {
            vec![add(None)]
        } else {
            arches.into_iter().map(|arch| add(Some(arch))).collect()
        };
        release.roster.replace(|_, _| entries);
        for (arch, entry) in release.entries() {
            if let Some(build) = release.stated_build(arch) {
                release.provisioner.catalog.set_build(entry, build.clone());
            }
        }
        release
    }

    fn desired(&self, arch: Option<Arch>) -> DesiredImage {
        DesiredImage {
            openshift_version: self.image.openshift_version.clone(),
            release_version: self.stated.is_none().then(|| self.image.version_alias.clone()),
            arch,
            kind: ImageKind::Full,
        }
    }

    fn entry(&self, arch: Option<Arch>, id: EntryId) -> Entry {
        Entry { openshift_version: self.image.openshift_version.clone(), arch, id }
    }

    fn stated_build(&self, arch: Arch) -> Option<&OsBuild> {
        self.stated.as_ref()?.get(&arch)
    }

    /// Says if an entry of OS_IMAGES states another build than its release has.
    fn check_build(&self, arch: Arch, lease: &Lease) {
        if let Some(stated) = self.stated_build(arch).filter(|stated| **stated != lease.key().os_build) {
            tracing::warn!(
                release.pullspec = %self.image.pullspec, %arch, %stated, image.key = %lease.key(),
                "the release has another build than its entry in OS_IMAGES says; it is served under its own"
            );
        }
    }
}

impl Journey for Release {
    type Wanted = WantedRelease;

    /// Makes images ready that an earlier process brought in and nobody has touched since, with no network at all. Reads
    /// no image whole.
    async fn serve_known(&mut self) {
        let identity = self.image.identity();
        let mut known = match self.provisioner.blocking(move |store| store.resolved_release(&identity)).await
        {
            Ok(Some(known)) => known,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(error = %WithCauses(&error), "cannot read the index; the release is resolved anew");
                return;
            }
        };
        // What was brought in before signatures were asked for, or with other keys, has to be verified first.
        let required = self.provisioner.required_keyrings();
        let count = known.images.len();
        known.images.retain(|_, image| required.is_subset(&image.verified_by));
        if known.images.len() < count {
            tracing::info!(
                release.pullspec = %self.image.pullspec,
                "the release was not verified with the present RELEASE_SIGNATURE_KEYS; its images wait until it is"
            );
        }
        self.reconcile(&known.arches);
        for (arch, entry) in self.entries() {
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
    async fn provision(self) {
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
}

impl Release {
    /// Makes images ready that an earlier process brought in and that have to be hashed again, as after a backup was
    /// restored. Asks nobody either.
    async fn serve_touched(&self) {
        let Some(known) = &self.known else { return };
        for (arch, entry) in self.entries() {
            let Some(image) = known.images.get(&arch) else { continue };
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
        self.check_build(lease.key().arch, &lease);
        self.provisioner.catalog.set_state(entry, ImageState::Ready(lease));
    }

    async fn bring_what_is_missing(self) {
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
        for (_, entry) in self.entries() {
            if let Some(lease) = self.provisioner.catalog.lease(entry)
                && self.provisioner.prepare_nmstate(&lease, &self.image.version).await
            {
                let (provisioner, version) = (Arc::clone(&self.provisioner), self.image.version.clone());
                again.spawn(async move { provisioner.retry_nmstate(&[entry], &version).await });
            }
        }
        again
    }

    /// Gives a release whose configuration names no architectures one entry for each that its payload has and it is to
    /// bring.
    fn reconcile(&self, arches: &[Arch]) {
        if self.image.architectures != Architectures::OfPayload {
            return;
        }
        let catalog = &self.provisioner.catalog;
        self.roster.replace(|wanted, entries| {
            let mut missing: Vec<Arch> =
                arches.iter().copied().filter(|arch| wanted.arches.contains(arch)).collect();
            let (mut unknown, mut there) = (None, Vec::new());
            for entry in entries {
                match entry.arch {
                    None => unknown = Some(entry.id),
                    Some(arch) if missing.contains(&arch) => {
                        missing.retain(|other| *other != arch);
                        there.push(entry);
                    }
                    Some(_) => catalog.remove(entry.id),
                }
            }
            let desired = missing.iter().map(|&arch| self.desired(Some(arch)));
            let ids = match unknown {
                Some(id) => catalog.replace(id, desired),
                None => desired.map(|desired| catalog.add(desired)).collect(),
            };
            there.extend(missing.iter().zip(ids).map(|(&arch, id)| self.entry(Some(arch), id)));
            there
        });
    }

    /// Those whose architectures are known.
    fn entries(&self) -> Vec<(Arch, EntryId)> {
        self.roster.entries().into_iter().filter_map(|entry| Some((entry.arch?, entry.id))).collect()
    }

    /// Whether every image of the release with this digest is ready.
    fn is_complete(&self, release_digest: &str) -> bool {
        let Some(known) = &self.known else { return false };
        let is_there = |(arch, id): (Arch, EntryId)| {
            let of_this_release =
                known.images.get(&arch).is_some_and(|image| image.release_digest == release_digest);
            of_this_release && self.provisioner.catalog.lease(id).is_some()
        };
        let all_known = match self.image.architectures {
            Architectures::Listed(_) => true,
            Architectures::OfPayload => known.digest == release_digest,
        };
        all_known && self.entries().into_iter().all(is_there)
    }

    fn set_all(&self, state: &ImageState) {
        for entry in self.roster.entries() {
            self.provisioner.catalog.set_state(entry.id, state.clone());
        }
    }
}
