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
#[derive(Clone, Debug)]
pub(crate) struct WantedRelease {
    pub(crate) image: ReleaseImage,
    /// The architectures that it is to bring: without those that OS_IMAGES brings. Of a release whose payload tells its
    /// architectures they are brought if it has them.
    pub(crate) arches: BTreeSet<Arch>,
    /// The builds that entries of OS_IMAGES state, if those are what asks for it.
    pub(crate) stated: Option<BTreeMap<Arch, OsBuild>>,
}

/// What can be wanted in part.
pub(crate) trait Wanted: Clone {
    /// What of this whoever is at `other` brings as well. `None` if nothing.
    fn common(&self, other: &Self) -> Option<Self>;

    /// What of this is left without a part of it. `None` if nothing.
    fn without(&self, part: &Self) -> Option<Self>;

    /// Whether it wants the image of this version and architecture; that is `None` as long as only a payload knows.
    fn wants(&self, version: &OpenshiftVersion, arch: Option<Arch>) -> bool;
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
                        let (arches, stated) = (BTreeSet::new(), Some(BTreeMap::new()));
                        (order, WantedRelease { image: release, arches, stated })
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
            let arches: &[Arch] = match &release.architectures {
                Architectures::OfPayload => &Arch::ALL,
                Architectures::Listed(arches) => arches,
            };
            let (of_os_images, arches): (BTreeSet<Arch>, BTreeSet<Arch>) =
                arches.iter().partition(|&&arch| is_covered(&release.openshift_version, arch));
            covered.extend(of_os_images.into_iter().map(|arch| (release.clone(), arch)));
            if !arches.is_empty() {
                of_releases.push((order, WantedRelease { image: release.clone(), arches, stated: None }));
            }
        }
        Self { os_images: images, releases: of_releases, covered }
    }
}

impl WantedRelease {
    /// Adds the image of another architecture.
    fn add(&mut self, image: &OsImage) {
        if let Some(stated) = &mut self.stated
            && self.arches.insert(image.arch)
        {
            stated.insert(image.arch, image.os_build.clone());
        }
    }

    /// Whether the payload tells the architectures, so that one that it has not is no mistake.
    pub(crate) fn is_of_payload(&self) -> bool {
        self.image.architectures == Architectures::OfPayload
    }

    fn is_like(&self, other: &Self) -> bool {
        let what = |wanted: &Self| {
            let ReleaseImage { openshift_version, version, version_alias, .. } = wanted.image.clone();
            let kind = (wanted.is_of_payload(), wanted.stated.is_some());
            (wanted.image.identity(), openshift_version, version, version_alias, kind)
        };
        what(self) == what(other)
    }

    fn stated_build(&self, arch: Arch) -> Option<&OsBuild> {
        self.stated.as_ref()?.get(&arch)
    }

    /// The same for the architectures of which this is true. `None` if there are none.
    fn only(&self, is_meant: impl Fn(Arch) -> bool) -> Option<Self> {
        let mut part = self.clone();
        part.arches.retain(|arch| is_meant(*arch));
        if let Some(stated) = &mut part.stated {
            stated.retain(|arch, _| is_meant(*arch));
        }
        (!part.arches.is_empty()).then_some(part)
    }
}

impl Wanted for WantedRelease {
    fn common(&self, other: &Self) -> Option<Self> {
        let is_common =
            |arch| other.arches.contains(&arch) && self.stated_build(arch) == other.stated_build(arch);
        self.is_like(other).then(|| self.only(is_common))?
    }

    fn without(&self, part: &Self) -> Option<Self> {
        self.only(|arch| !part.arches.contains(&arch))
    }

    fn wants(&self, _: &OpenshiftVersion, arch: Option<Arch>) -> bool {
        arch.is_none_or(|arch| self.arches.contains(&arch))
    }
}
