//! A release image, resolved: what it is, and what it is made of.

use std::collections::BTreeMap;

use coreos_names::{Arch, OpenshiftVersion};
use oci_registry::{Descriptor, Digest, ImageIndex, ImageManifest, ManifestKind, Reference, Registry};
use release_signature::{SignaturePolicy, Verification};

use crate::error::Error;
use crate::manifests::{self, ReleaseManifests};
use crate::signature;
use crate::stream_metadata::{BootImage, StreamMetadata};

/// The largest known one has 3 MiB; it is held in memory until its digest is checked.
const MAX_MANIFESTS_LAYER: u64 = 32 << 20;

/// A release payload whose every byte was verified against the digest of its manifest.
#[derive(Clone, Debug)]
pub struct Payload {
    pullspec: Reference,
    digest: Digest,
    version: OpenshiftVersion,
    arches: Vec<Arch>,
    components: BTreeMap<String, Reference>,
    boot_images: StreamMetadata,
    verification: Option<Verification>,
}

impl Payload {
    /// Reads a release image: its manifest or manifest list and the whole last layer.
    ///
    /// The children of a list are full release images with the same component references, so any of them will do. Where
    /// there is a policy about signatures, nothing but the manifest is read of a release that it does not accept.
    pub async fn resolve(
        registry: &Registry,
        pullspec: &Reference,
        signatures: Option<&SignaturePolicy>,
    ) -> Result<Self, Error> {
        let unreadable = |source| Error::ReleaseImage { pullspec: pullspec.clone(), source };
        let unusable = |source| Error::NotAReleaseImage { pullspec: pullspec.clone(), source };

        let manifest = registry.manifest(pullspec).await.map_err(unreadable)?;
        let verification = signature::verify(signatures, pullspec, &manifest).await?;
        let (image, arches) = match manifest.kind {
            ManifestKind::Image(image) => {
                let config = registry.config(pullspec, &image).await.map_err(unreadable)?;
                let arch = config.architecture.parse().map_err(|_| unusable(manifests::Error::NoPlatform))?;
                (image, vec![arch])
            }
            ManifestKind::Index(index) => {
                let platforms = platforms(&index);
                let child =
                    platforms.values().next().ok_or_else(|| unusable(manifests::Error::NoPlatform))?;
                let child =
                    registry.manifest(&pullspec.with_digest(child.digest)).await.map_err(unreadable)?;
                let ManifestKind::Image(image) = child.kind else {
                    return Err(unusable(manifests::Error::NoPlatform));
                };
                (image, platforms.into_keys().collect())
            }
        };
        let ReleaseManifests { version, components, boot_images } =
            read_manifests(registry, pullspec, &image).await?;
        Ok(Self {
            pullspec: pullspec.clone(),
            digest: manifest.digest,
            version,
            arches,
            components,
            boot_images,
            verification,
        })
    }

    /// The release image as it was asked for.
    pub fn pullspec(&self) -> &Reference {
        &self.pullspec
    }

    /// The digest of its manifest or manifest list.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Who vouches for it. `None` where nobody was asked.
    pub fn verification(&self) -> Option<&Verification> {
        self.verification.as_ref()
    }

    /// The version that it states.
    pub fn version(&self) -> &OpenshiftVersion {
        &self.version
    }

    /// The architectures that it is for: one, or those of a multi payload.
    pub fn arches(&self) -> &[Arch] {
        &self.arches
    }

    /// The image of a component, as the payload names it.
    pub fn component(&self, name: &str) -> Option<&Reference> {
        self.components.get(name)
    }

    /// The live ISO that the release states for an architecture, known before anything large is fetched.
    pub fn boot_image(&self, arch: Arch) -> Option<&BootImage> {
        self.boot_images.boot_image(arch)
    }
}

/// The images of a list that run on an architecture of OpenShift, in the order of [`Arch`].
///
/// Of several for one architecture the first counts, as in `oc`. Attestations have the platform `unknown/unknown`.
pub(crate) fn platforms(index: &ImageIndex) -> BTreeMap<Arch, &Descriptor> {
    let mut platforms = BTreeMap::new();
    for image in &index.manifests {
        let Some(platform) = image.platform.as_ref().filter(|platform| platform.os == "linux") else {
            continue;
        };
        if let Ok(arch) = platform.architecture.parse() {
            platforms.entry(arch).or_insert(image);
        }
    }
    platforms
}

async fn read_manifests(
    registry: &Registry,
    pullspec: &Reference,
    image: &ImageManifest,
) -> Result<ReleaseManifests, Error> {
    let unreadable = |source| Error::ReleaseImage { pullspec: pullspec.clone(), source };
    let unusable = |source| Error::NotAReleaseImage { pullspec: pullspec.clone(), source };
    let layer = image.layers.last().ok_or_else(|| unusable(manifests::Error::NoLayers))?;
    let blob = registry.blob(pullspec, layer).await.map_err(unreadable)?;
    let bytes = blob.bytes(MAX_MANIFESTS_LAYER).await.map_err(unreadable)?;
    tokio::task::spawn_blocking(move || manifests::read(&bytes[..]))
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        .map_err(unusable)
}
