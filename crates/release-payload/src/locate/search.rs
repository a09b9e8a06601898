//! Asking one place after the other.

use std::collections::{BTreeSet, VecDeque};
use std::mem;

use coreos_names::Arch;
use oci_registry::{Digest, ImageManifest, Manifest, ManifestKind, Reference, Registry, RegistryHost};

use super::{COMPONENT, Found, Pinned, candidates};
use crate::error::{Attempt, Error, Problem, Reason, excerpt};
use crate::payload::{self, Payload};

/// One search for the image of one architecture. It goes on where it stopped if what was found proves useless.
#[derive(Debug)]
pub(crate) struct Search {
    payload: Payload,
    arch: Arch,
    component: Reference,
    digest: Digest,
    /// Those still to be asked.
    places: VecDeque<Place>,
    /// What nothing but its ISO can prove, for when everything else has failed.
    proven_by_iso: VecDeque<Found>,
    attempts: Vec<Attempt>,
    /// Registries that cannot be reached: asking them again would only take as long again.
    silent: BTreeSet<RegistryHost>,
}

/// How a place is asked.
#[derive(Debug)]
enum Place {
    ByDigest(Reference),
    ByTag(Reference),
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

impl Search {
    pub(super) fn new(payload: &Payload, arch: Arch, component: &Reference, digest: Digest) -> Self {
        let release = payload.pullspec();
        let guesses = candidates::by_digest(release, component, digest);
        let by_digest = |places: Vec<_>| candidates::unique(places).into_iter().map(Place::ByDigest);
        let mut places = VecDeque::new();
        if release.registry() == component.registry() {
            places.extend(by_digest([vec![component.clone()], guesses].concat()));
        } else {
            places.extend(by_digest(guesses));
            places.extend(candidates::by_tag(payload, COMPONENT, arch).into_iter().map(Place::ByTag));
            places.push_back(Place::ByDigest(component.clone()));
        }
        Self {
            payload: payload.clone(),
            arch,
            component: component.clone(),
            digest,
            places,
            proven_by_iso: VecDeque::new(),
            attempts: Vec::new(),
            silent: BTreeSet::new(),
        }
    }

    pub(crate) fn payload(&self) -> &Payload {
        &self.payload
    }

    pub(crate) fn arch(&self) -> Arch {
        self.arch
    }

    /// The next image that may do.
    pub(crate) async fn next(&mut self, registry: &Registry) -> Result<Found, Error> {
        while let Some(place) = self.places.pop_front() {
            let found = match place {
                Place::ByDigest(place) => self.ask(registry, place).await?,
                Place::ByTag(place) => self.ask_for_tag(registry, place).await?,
            };
            match found {
                Some(found) if found.pinned == Pinned::Image => return Ok(found),
                // Several tags may mean the same.
                Some(found) if self.proven_by_iso.iter().all(|known| known.image != found.image) => {
                    self.proven_by_iso.push_back(found);
                }
                _ => {}
            }
        }
        let Some(found) = self.proven_by_iso.pop_front() else { return Err(self.give_up()) };
        tracing::warn!(
            release.version = %self.payload.version(), arch = %self.arch, image = %found.image, component = %self.component,
            "the mirror has another image than the release names, as if it had dropped manifest lists; it is used \
             only if its ISO has the SHA-256 that the release announces"
        );
        Ok(found)
    }

    /// Notes that an image which was found did not give its ISO. An error that no other place can mend comes back.
    pub(crate) fn reject(&mut self, image: Reference, error: Error) -> Result<(), Error> {
        let reason = match error {
            Error::Component { source, .. } => {
                self.note_silence(&image, &source);
                Reason::Incomplete(source)
            }
            Error::OtherImage { source, .. } => Reason::OtherIso(source),
            error => return Err(error),
        };
        self.attempts.push(Attempt { image, reason });
        Ok(())
    }

    /// The error when no place is left. What is wrong with the one place that has the image stands for itself.
    fn give_up(&mut self) -> Error {
        let mut attempts = mem::take(&mut self.attempts);
        let mut telling = attempts.iter().enumerate().filter(|(_, attempt)| !attempt.is_absence());
        if let (Some((index, _)), None) = (telling.next(), telling.next()) {
            let Attempt { image, reason } = attempts.swap_remove(index);
            match reason {
                Reason::Incomplete(source) => return Error::Component { image, source },
                Reason::OtherIso(source) => return Error::OtherImage { image, source },
                reason => {
                    attempts.push(Attempt { image, reason });
                    let last = attempts.len() - 1;
                    attempts.swap(index, last);
                }
            }
        }
        Error::ComponentUnavailable { component: self.component.clone(), attempts }
    }

    /// Asks a place for the component by its digest.
    async fn ask(&mut self, registry: &Registry, place: Reference) -> Result<Option<Found>, Error> {
        if !self.may_answer(&place) {
            return Ok(None);
        }
        let result = match registry.manifest(&place).await {
            Ok(manifest) => self.image_of(registry, &place, manifest.kind).await,
            Err(error) => Err(error.into()),
        };
        match result {
            Ok((image, manifest)) => Ok(Some(Found { image, manifest, pinned: Pinned::Image })),
            Err(Obstacle::Content(error)) => Err(*error),
            Err(Obstacle::Place(error)) => {
                self.failed(place, error);
                Ok(None)
            }
        }
    }

    /// Asks a place what a tag means. If it is not the component, it can still have the ISO that the release announces.
    async fn ask_for_tag(&mut self, registry: &Registry, place: Reference) -> Result<Option<Found>, Error> {
        if !self.may_answer(&place) {
            return Ok(None);
        }
        let Manifest { digest, kind, .. } = match registry.manifest(&place).await {
            Ok(manifest) => manifest,
            Err(error) => {
                self.failed(place, error);
                return Ok(None);
            }
        };
        let pinned_place = place.with_digest(digest);
        let is_the_component = digest == self.digest;
        match self.image_of(registry, &pinned_place, kind).await {
            Ok((image, manifest)) if is_the_component => {
                return Ok(Some(Found { image, manifest, pinned: Pinned::Image }));
            }
            Ok((image, manifest)) if self.payload.boot_image(self.arch).is_some() => {
                return Ok(Some(Found { image, manifest, pinned: Pinned::Iso }));
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
        self.note_silence(&image, &error);
        self.attempts.push(Attempt { image, reason: Reason::Registry(error) });
    }

    fn note_silence(&mut self, image: &Reference, error: &oci_registry::Error) {
        if error.is_silence() {
            self.silent.insert(image.host().clone());
        }
    }

    /// The image for the architecture: what a manifest is, or what it lists.
    async fn image_of(
        &self,
        registry: &Registry,
        place: &Reference,
        manifest: ManifestKind,
    ) -> Result<(Reference, ImageManifest), Obstacle> {
        let arch = self.arch;
        let (image, manifest) = match manifest {
            ManifestKind::Image(manifest) => (place.clone(), manifest),
            ManifestKind::Index(index) => {
                let platforms = payload::platforms(&index);
                let child = platforms.get(&arch).copied().or_else(|| payload::only_image(&index));
                let Some(child) = child else {
                    let available = platforms.into_keys().collect();
                    return Err(Error::MissingArch { image: place.clone(), arch, available }.into());
                };
                let image = place.with_digest(child.digest);
                let ManifestKind::Image(manifest) = registry.manifest(&image).await?.kind else {
                    return Err(Error::NestedList { image }.into());
                };
                (image, manifest)
            }
        };
        let config = registry.config(&image, &manifest).await?;
        if config.architecture.parse() == Ok(arch) {
            Ok((image, manifest))
        } else {
            Err(Error::WrongArch { image, arch, actual: excerpt(&config.architecture) }.into())
        }
    }
}
