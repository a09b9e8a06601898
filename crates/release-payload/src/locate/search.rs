//! Asking one place after the other.

use std::collections::BTreeSet;

use coreos_names::Arch;
use oci_registry::{Digest, ImageManifest, Manifest, ManifestKind, Reference, Registry, RegistryHost};

use super::{COMPONENT, LiveIso, Pinned, candidates};
use crate::error::{Attempt, Error, Problem, Reason};
use crate::payload::{self, Payload};

/// One search for the image of one architecture.
pub(super) struct Search<'a> {
    registry: &'a Registry,
    payload: &'a Payload,
    arch: Arch,
    component: &'a Reference,
    digest: Digest,
    attempts: Vec<Attempt>,
    /// Registries that cannot be reached: asking them again would only take as long again.
    silent: BTreeSet<RegistryHost>,
}

/// Why an image cannot be used.
enum Obstacle {
    /// Not from this place.
    Place(oci_registry::Error),
    /// From no place: it lies in bytes that the digest pins.
    Content(Box<Error>),
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Self {
        Self::Content(Box::new(error))
    }
}

impl From<oci_registry::Error> for Obstacle {
    fn from(error: oci_registry::Error) -> Self {
        Self::Place(error)
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(
        registry: &'a Registry,
        payload: &'a Payload,
        arch: Arch,
        component: &'a Reference,
        digest: Digest,
    ) -> Self {
        let (attempts, silent) = (Vec::new(), BTreeSet::new());
        Self { registry, payload, arch, component, digest, attempts, silent }
    }

    pub(super) async fn run(mut self) -> Result<LiveIso, Error> {
        let release = self.payload.pullspec();
        let guesses = candidates::by_digest(release, self.component, self.digest);
        let is_mirrored = release.registry() != self.component.registry();
        let origin = [self.component.clone()];
        let places: Vec<_> =
            if is_mirrored { guesses } else { origin.iter().cloned().chain(guesses).collect() };
        for place in candidates::unique(places) {
            if let Some(found) = self.ask(place).await? {
                return Ok(found);
            }
        }
        let mut proven_by_iso = None;
        if is_mirrored {
            for place in candidates::by_tag(self.payload, COMPONENT, self.arch) {
                match self.ask_for_tag(place).await? {
                    Some(found) if found.pinned == Pinned::Image => return Ok(found),
                    found => proven_by_iso = proven_by_iso.or(found),
                }
            }
            if let Some(found) = self.ask(self.component.clone()).await? {
                return Ok(found);
            }
        }
        if let Some(found) = proven_by_iso {
            tracing::warn!(
                release.version = %self.payload.version(), arch = %self.arch, image = %found.image, component = %self.component,
                "the mirror has another image than the release names, as if it had dropped manifest lists; it is used \
                 only if its ISO has the SHA-256 that the release announces"
            );
            return Ok(found);
        }
        Err(Error::ComponentUnavailable { component: self.component.clone(), attempts: self.attempts })
    }

    /// Asks a place for the component by its digest.
    async fn ask(&mut self, place: Reference) -> Result<Option<LiveIso>, Error> {
        if !self.may_answer(&place) {
            return Ok(None);
        }
        let result = match self.registry.manifest(&place).await {
            Ok(manifest) => self.image_of(&place, manifest.kind).await,
            Err(error) => Err(error.into()),
        };
        match result {
            Ok((image, manifest)) => Ok(Some(self.found(image, manifest, Pinned::Image))),
            Err(Obstacle::Content(error)) => Err(*error),
            Err(Obstacle::Place(error)) => {
                self.failed(place, error);
                Ok(None)
            }
        }
    }

    /// Asks a place what a tag means. If it is not the component, it can still have the ISO that the release announces.
    async fn ask_for_tag(&mut self, place: Reference) -> Result<Option<LiveIso>, Error> {
        if !self.may_answer(&place) {
            return Ok(None);
        }
        let Manifest { digest, kind, .. } = match self.registry.manifest(&place).await {
            Ok(manifest) => manifest,
            Err(error) => {
                self.failed(place, error);
                return Ok(None);
            }
        };
        let pinned_place = place.with_digest(digest);
        let is_the_component = digest == self.digest;
        match self.image_of(&pinned_place, kind).await {
            Ok((image, manifest)) if is_the_component => {
                return Ok(Some(self.found(image, manifest, Pinned::Image)));
            }
            Ok((image, manifest)) if self.payload.boot_image(self.arch).is_some() => {
                return Ok(Some(self.found(image, manifest, Pinned::Iso)));
            }
            Err(Obstacle::Content(error)) if is_the_component => return Err(*error),
            Err(Obstacle::Place(error)) => self.failed(place, error),
            other => {
                let problem = if other.is_ok() { Problem::NoSha256 } else { Problem::OtherArch };
                let reason = Reason::OtherDigest { actual: digest, problem: problem(self.arch) };
                self.attempts.push(Attempt { image: place, reason });
            }
        }
        Ok(None)
    }

    /// Whether it is worth asking this place. Notes it if not.
    fn may_answer(&mut self, place: &Reference) -> bool {
        let may_answer = !self.silent.contains(place.host());
        if !may_answer {
            self.attempts.push(Attempt { image: place.clone(), reason: Reason::NotAsked });
        }
        may_answer
    }

    fn failed(&mut self, image: Reference, error: oci_registry::Error) {
        if error.is_silence() {
            self.silent.insert(image.host().clone());
        }
        self.attempts.push(Attempt { image, reason: Reason::Registry(error) });
    }

    /// The image for the architecture: what a manifest is, or what it lists.
    async fn image_of(
        &self,
        place: &Reference,
        manifest: ManifestKind,
    ) -> Result<(Reference, ImageManifest), Obstacle> {
        let arch = self.arch;
        let (image, manifest) = match manifest {
            ManifestKind::Image(manifest) => (place.clone(), manifest),
            ManifestKind::Index(index) => {
                let platforms = payload::platforms(&index);
                let Some(child) = platforms.get(&arch) else {
                    let available = platforms.into_keys().collect();
                    return Err(Error::MissingArch { image: place.clone(), arch, available }.into());
                };
                let image = place.with_digest(child.digest);
                let ManifestKind::Image(manifest) = self.registry.manifest(&image).await?.kind else {
                    return Err(Error::NestedList { image }.into());
                };
                (image, manifest)
            }
        };
        let config = self.registry.config(&image, &manifest).await?;
        if config.architecture.parse() == Ok(arch) {
            Ok((image, manifest))
        } else {
            Err(Error::WrongArch { image, arch, actual: config.architecture }.into())
        }
    }

    fn found(&self, image: Reference, manifest: ImageManifest, pinned: Pinned) -> LiveIso {
        LiveIso { payload: self.payload.clone(), arch: self.arch, image, manifest, pinned }
    }
}
