//! What is to be there, and the work that this makes.
//!
//! A list is taken as a whole: each replaces the one before. It is split into pieces of work that can be compared, so that
//! what both lists ask for goes on untouched.

use std::collections::{BTreeMap, BTreeSet};

use coreos_names::{Arch, ImageKind, OpenshiftVersion, OsBuild};
use image_store::ImageKey;
use oci_registry::Registry;
use release_payload::release_images::{Architectures, ReleaseImage};

use crate::os_image::WantedOsImage;
use crate::os_images::{OsImage, Source};

/// The images that are asked for, and how registries are asked.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Images by URL, in the order of their rank.
    pub os_images: Vec<OsImage>,
    /// Releases, each pullspec once. Where an OS image has the same version and architecture they need not bring it.
    pub releases: Vec<ReleaseImage>,
    /// What releases are read with. Another client is taken into use by whatever is tried from then on, and what waits to
    /// be tried again is tried at once.
    pub registry: Registry,
    /// Whether this is all. As long as it is not, nothing is retired, and that nothing is asked for means nothing.
    pub is_complete: bool,
}

/// What a release, or entries of OS_IMAGES that name one, are wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedRelease {
    /// With the architectures that OS_IMAGES does not bring.
    pub(crate) image: ReleaseImage,
    /// Those that it brings, of a release whose payload tells its architectures.
    pub(crate) covered: BTreeSet<Arch>,
    /// The builds that entries of OS_IMAGES state, if those are what asks for it.
    pub(crate) stated: Option<BTreeMap<Arch, OsBuild>>,
}

/// What remains of a piece of work beside another one.
pub(crate) enum Remaining<W> {
    /// All of it: the other has nothing to do with it, or also does what nobody wants.
    All,
    /// Some of it; the other does the rest, and nothing else.
    Part(W),
    /// The other does the same.
    Nothing,
}

/// The work that a list makes, each piece with its place in the list.
pub(crate) struct Work {
    pub(crate) os_images: Vec<(usize, WantedOsImage)>,
    pub(crate) releases: Vec<(usize, WantedRelease)>,
    /// Architectures of releases that OS_IMAGES brings.
    pub(crate) covered: Vec<(ReleaseImage, Arch)>,
}

impl Work {
    pub(crate) fn of(os_images: &[OsImage], releases: &[ReleaseImage]) -> Self {
        let mut by_key: BTreeMap<ImageKey, (usize, Vec<OsImage>)> = BTreeMap::new();
        let mut by_release: BTreeMap<(String, OpenshiftVersion), (usize, WantedRelease)> = BTreeMap::new();
        for (order, image) in os_images.iter().enumerate() {
            match &image.source {
                Source::Web(_) => {
                    by_key.entry(image.key()).or_insert((order, Vec::new())).1.push(image.clone());
                }
                Source::Release(pullspec) => {
                    let name = (pullspec.to_string(), image.openshift_version.clone());
                    let (_, wanted) = by_release.entry(name).or_insert_with(|| {
                        let release = ReleaseImage {
                            openshift_version: image.openshift_version.clone(),
                            // The entry says no more; the payload will.
                            version: image.openshift_version.clone(),
                            architectures: Architectures::Listed(Vec::new()),
                            pullspec: pullspec.clone(),
                            os_stream: None,
                            version_alias: image.openshift_version.clone(),
                        };
                        let stated = Some(BTreeMap::new());
                        (order, WantedRelease { image: release, covered: BTreeSet::new(), stated })
                    });
                    wanted.add(image);
                }
            }
        }
        let mut images: Vec<_> = by_key
            .into_iter()
            .filter_map(|(key, (order, images))| Some((order, WantedOsImage::new(key, &images)?)))
            .collect();
        images.sort_by_key(|(order, _)| *order);
        let mut of_releases: Vec<_> = by_release.into_values().collect();
        of_releases.sort_by_key(|(order, _)| *order);

        let full = os_images.iter().filter(|image| image.kind == ImageKind::Full);
        let names: BTreeSet<_> = full.map(|image| (&image.openshift_version, image.arch)).collect();
        let is_covered = |version: &OpenshiftVersion, arch: Arch| names.contains(&(version, arch));
        let mut covered = Vec::new();
        for (order, release) in (os_images.len()..).zip(releases) {
            let version = &release.openshift_version;
            let mut image = release.clone();
            let mut of_release = BTreeSet::new();
            match &mut image.architectures {
                Architectures::OfPayload => {
                    of_release = Arch::ALL.into_iter().filter(|&arch| is_covered(version, arch)).collect();
                }
                Architectures::Listed(arches) => {
                    covered.extend(
                        arches
                            .iter()
                            .filter(|&&arch| is_covered(version, arch))
                            .map(|&arch| (release.clone(), arch)),
                    );
                    arches.retain(|&arch| !is_covered(version, arch));
                    if arches.is_empty() {
                        continue;
                    }
                }
            }
            of_releases.push((order, WantedRelease { image, covered: of_release, stated: None }));
        }
        Self { os_images: images, releases: of_releases, covered }
    }
}

impl WantedRelease {
    /// Adds the image of another architecture.
    fn add(&mut self, image: &OsImage) {
        if let (Architectures::Listed(arches), Some(stated)) =
            (&mut self.image.architectures, &mut self.stated)
            && !arches.contains(&image.arch)
        {
            arches.push(image.arch);
            stated.insert(image.arch, image.os_build.clone());
        }
    }

    /// What of this is not done by `other`.
    pub(crate) fn without(&self, other: &Self) -> Remaining<Self> {
        if self == other {
            return Remaining::Nothing;
        }
        let of = |wanted: &Self| {
            let ReleaseImage { openshift_version, version, version_alias, .. } = wanted.image.clone();
            (openshift_version, version, version_alias, wanted.image.identity(), wanted.stated.is_some())
        };
        let (Architectures::Listed(wanted), Architectures::Listed(done)) =
            (&self.image.architectures, &other.image.architectures)
        else {
            return Remaining::All;
        };
        let build = |wanted: &Self, arch| wanted.stated.as_ref().and_then(|stated| stated.get(arch)).cloned();
        let is_part =
            done.iter().all(|arch| wanted.contains(arch) && build(self, arch) == build(other, arch));
        if of(self) != of(other) || !is_part {
            return Remaining::All;
        }
        let rest: Vec<_> = wanted.iter().copied().filter(|arch| !done.contains(arch)).collect();
        if rest.is_empty() {
            return Remaining::Nothing;
        }
        let mut missing = self.clone();
        if let Some(stated) = &mut missing.stated {
            stated.retain(|arch, _| rest.contains(arch));
        }
        missing.image.architectures = Architectures::Listed(rest);
        Remaining::Part(missing)
    }
}
