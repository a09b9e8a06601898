//! Finding the component image that carries the live ISO.
//!
//! The payload names its components at their origin, whatever registry the release image came from. In a mirrored site
//! the origin cannot be reached, so the places where mirroring tools put components are tried first. A guess can be
//! wrong but never harmful: the component is asked for by the digest that the verified payload states.

use coreos_names::Arch;
use oci_registry::{Descriptor, Digest, ImageManifest, Manifest, ManifestKind, Reference, Registry};

use crate::error::{Attempt, Error};
use crate::payload::{self, Payload};
use crate::stream_metadata::BootImage;

/// The component whose image carries the live ISO, since 4.10.
const COMPONENT: &str = "machine-os-images";

/// The first major version whose hosts boot from the RHEL 10 stream where the payload has both.
const FIRST_MAJOR_ON_RHEL_10: u64 = 5;

/// The live ISO of one architecture, found but not fetched.
#[derive(Debug)]
pub struct LiveIso {
    pub(crate) payload: Payload,
    pub(crate) arch: Arch,
    pub(crate) image: Reference,
    pub(crate) manifest: ImageManifest,
}

impl LiveIso {
    /// Finds the image that carries the live ISO for `arch` and reads its manifest.
    pub async fn locate(registry: &Registry, payload: &Payload, arch: Arch) -> Result<Self, Error> {
        let component = payload.component(COMPONENT).ok_or_else(|| Error::MissingComponent {
            version: payload.version().clone(),
            component: COMPONENT,
        })?;
        let digest =
            component.digest().ok_or_else(|| Error::UnpinnedComponent { component: component.clone() })?;
        let (image, manifest) =
            find(registry, candidates(payload.pullspec(), component, digest), component).await?;
        let (image, manifest) = match manifest {
            ManifestKind::Image(manifest) => (image, manifest),
            ManifestKind::Index(index) => {
                let platforms = payload::platforms(&index);
                let Some(child) = platforms.get(&arch) else {
                    return Err(Error::MissingArch {
                        image,
                        arch,
                        available: platforms.into_keys().collect(),
                    });
                };
                let image = image.with_digest(child.digest);
                let manifest = read_image(registry, &image, arch).await?;
                (image, manifest)
            }
        };
        let config = registry
            .config(&image, &manifest)
            .await
            .map_err(|source| Error::Component { image: image.clone(), source })?;
        if config.architecture.parse() != Ok(arch) {
            return Err(Error::WrongArch { image, arch, actual: config.architecture });
        }
        Ok(Self { payload: payload.clone(), arch, image, manifest })
    }

    /// Where the ISO would be fetched from.
    pub fn image(&self) -> &Reference {
        &self.image
    }

    /// The layer that is expected to hold the ISO, and its compressed size in bytes: the largest.
    pub fn largest_layer(&self) -> Option<(Digest, u64)> {
        self.layers().first().map(|layer| (layer.digest, layer.size))
    }

    /// What the release states of the ISO.
    pub fn forecast(&self) -> Option<&BootImage> {
        self.payload.boot_image(self.arch)
    }

    /// The layers in the order in which they are searched.
    pub(crate) fn layers(&self) -> Vec<&Descriptor> {
        let mut layers: Vec<_> = self.manifest.layers.iter().collect();
        layers.sort_by_key(|layer| std::cmp::Reverse(layer.size));
        layers
    }

    /// The prefixes of the ISO's file name, the preferred one first.
    pub(crate) fn os_streams(&self) -> [&'static str; 2] {
        if self.payload.version().major() >= FIRST_MAJOR_ON_RHEL_10 {
            ["coreos10", "coreos"]
        } else {
            ["coreos", "coreos10"]
        }
    }
}

async fn read_image(registry: &Registry, image: &Reference, arch: Arch) -> Result<ImageManifest, Error> {
    match registry.manifest(image).await {
        Ok(Manifest { kind: ManifestKind::Image(manifest), .. }) => Ok(manifest),
        Ok(_) => Err(Error::MissingArch { image: image.clone(), arch, available: Vec::new() }),
        Err(source) => Err(Error::Component { image: image.clone(), source }),
    }
}

/// Asks one place after the other for the component.
async fn find(
    registry: &Registry,
    candidates: Vec<Reference>,
    component: &Reference,
) -> Result<(Reference, ManifestKind), Error> {
    let mut attempts = Vec::new();
    for image in candidates {
        match registry.manifest(&image).await {
            Ok(manifest) => return Ok((image, manifest.kind)),
            Err(error) => attempts.push(Attempt { image, error }),
        }
    }
    Err(Error::ComponentUnavailable { component: component.clone(), attempts })
}

/// The places where a component of a mirrored release can be, the likeliest first, without duplicates.
fn candidates(release: &Reference, component: &Reference, digest: Digest) -> Vec<Reference> {
    let mut candidates = Vec::new();
    let mirrored = release.registry() != component.registry();
    if !mirrored {
        candidates.push(component.clone());
    }
    for repository in repositories(release.repository(), component.repository()) {
        if let Ok(candidate) = release.with_digest(digest).with_repository(&repository) {
            candidates.push(candidate);
        }
    }
    if mirrored {
        candidates.push(component.clone());
    }
    let mut unique = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        if !unique.contains(&candidate) {
            unique.push(candidate);
        }
    }
    unique
}

/// The repositories of the release's registry in which mirroring tools put components.
fn repositories(release: &str, component: &str) -> Vec<String> {
    // `oc adm release mirror` puts everything into one repository.
    let mut repositories = vec![release.to_owned()];
    // oc-mirror keeps release images apart from their components.
    if let Some(parent) = release.strip_suffix("release-images") {
        repositories.push(format!("{parent}release"));
    }
    // Registry-wide mirrors and pull-through proxies keep the path of the origin, proxies under a prefix.
    repositories.push(component.to_owned());
    if let Some((first, _)) = release.split_once('/') {
        repositories.push(format!("{first}/{component}"));
    }
    if let Some((parent, _)) = release.rsplit_once('/') {
        repositories.push(format!("{parent}/{component}"));
    }
    repositories
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:\
        abababababababababababababababababababababababababababababababab";

    fn places(release: &str) -> Vec<String> {
        let component: Reference = COMPONENT.parse().unwrap();
        let digest = component.digest().unwrap();
        candidates(&release.parse().unwrap(), &component, digest)
            .iter()
            .map(|candidate| {
                assert_eq!(candidate.digest(), Some(digest));
                assert_eq!(candidate.tag(), None);
                format!("{}/{}", candidate.registry(), candidate.repository())
            })
            .collect()
    }

    #[test]
    fn a_release_at_its_origin_has_its_components_there() {
        let places = places("quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64");
        assert_eq!(places[0], "quay.io/openshift-release-dev/ocp-v4.0-art-dev");
    }

    #[test]
    fn a_mirrored_release_has_its_components_where_the_tools_put_them() {
        assert_eq!(
            places("mirror.example.com:5000/mirror/openshift/release-images:4.18.52-x86_64"),
            [
                "mirror.example.com:5000/mirror/openshift/release-images",
                "mirror.example.com:5000/mirror/openshift/release",
                "mirror.example.com:5000/openshift-release-dev/ocp-v4.0-art-dev",
                "mirror.example.com:5000/mirror/openshift-release-dev/ocp-v4.0-art-dev",
                "mirror.example.com:5000/mirror/openshift/openshift-release-dev/ocp-v4.0-art-dev",
                "quay.io/openshift-release-dev/ocp-v4.0-art-dev",
            ]
        );
        assert_eq!(places("mirror.example.com/ocp4:4.18.52")[0], "mirror.example.com/ocp4");
    }
}
