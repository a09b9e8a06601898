//! A release image, resolved: what it is, and what it is made of.

use std::collections::BTreeMap;

use coreos_names::{Arch, OpenshiftVersion};
use oci_registry::{
    Descriptor, Digest, ImageIndex, ImageManifest, Manifest, ManifestKind, Reference, Registry,
};
use release_signature::{SignaturePolicy, Verification};

use crate::boot_images::BootImages;
use crate::error::{Attempt, Error, Reason};
use crate::manifests::{self, ReleaseManifests};
use crate::os_stream::OsStream;
use crate::signature;
use crate::stream_metadata::BootImage;

/// The largest known one has 3 MiB; it is held in memory until its digest is checked.
const MAX_MANIFESTS_LAYER: u64 = 32 << 20;

/// The first major version whose hosts boot from RHEL 10 where the payload has both generations.
const FIRST_MAJOR_ON_RHEL_10: u64 = 5;

/// A release payload whose every byte was verified against the digest of its manifest.
#[derive(Clone, Debug)]
pub struct Payload {
    pullspec: Reference,
    digest: Digest,
    version: OpenshiftVersion,
    arches: Vec<Arch>,
    components: BTreeMap<String, Reference>,
    boot_images: BootImages,
    os_stream: Option<OsStream>,
    verification: Option<Verification>,
}

impl Payload {
    /// Reads a release image: its manifest or manifest list and the whole last layer.
    ///
    /// The children of a list are full release images with the same component references, so any of them will do, and
    /// one that a mirror left out does no harm. Where there is a policy about signatures, nothing but manifests is read of
    /// a release that it does not accept.
    pub async fn resolve(
        registry: &Registry,
        pullspec: &Reference,
        signatures: Option<&SignaturePolicy>,
    ) -> Result<Self, Error> {
        let unreadable = |source| Error::ReleaseImage { pullspec: pullspec.clone(), source };
        let unusable = |source| Error::NotAReleaseImage { pullspec: pullspec.clone(), source };

        let manifest = registry.manifest(pullspec).await.map_err(|source| not_there(pullspec, source))?;
        let digest = manifest.digest;
        let (child, image, arches) = match manifest.kind {
            ManifestKind::Image(image) => (None, image, None),
            ManifestKind::Index(index) => {
                let platforms = platforms(&index);
                let only = only_image(&index);
                let children = platforms.values().copied().chain(only);
                let (child, image) = any_child(registry, pullspec, children).await?;
                (Some(child), image, only.is_none().then(|| platforms.into_keys().collect()))
            }
        };
        let verification = signature::verify(signatures, pullspec, digest, child).await?;
        let arches = if let Some(arches) = arches {
            arches
        } else {
            let config = registry.config(pullspec, &image).await.map_err(unreadable)?;
            vec![config.architecture.parse().map_err(|_| unusable(manifests::Error::NoPlatform))?]
        };
        let ReleaseManifests { version, components, boot_images } =
            read_manifests(registry, pullspec, &image).await?;
        let (pullspec, os_stream) = (pullspec.clone(), None);
        Ok(Self { pullspec, digest, version, arches, components, boot_images, os_stream, verification })
    }

    /// The same release, of which only this generation of the operating system is wanted. `None` is the one that the
    /// release's hosts boot from: RHEL 10 from 5.0 on, RHEL 9 before, or the only one there is.
    #[must_use]
    pub fn with_os_stream(self, os_stream: Option<OsStream>) -> Self {
        Self { os_stream, ..self }
    }

    /// The generation that is wanted, if not the release's own.
    pub fn os_stream(&self) -> Option<OsStream> {
        self.os_stream
    }

    /// The generations that will do, the preferred one first.
    pub(crate) fn os_streams(&self) -> Vec<OsStream> {
        let preferred = self.preferred_os_stream();
        match self.os_stream {
            Some(stream) => vec![stream],
            None => vec![preferred, preferred.other()],
        }
    }

    fn preferred_os_stream(&self) -> OsStream {
        let is_on_rhel_10 = self.version.major() >= FIRST_MAJOR_ON_RHEL_10;
        self.os_stream.unwrap_or(if is_on_rhel_10 { OsStream::Rhel10 } else { OsStream::Rhel9 })
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

    /// The live ISO that the release announces for an architecture, known before anything large is fetched. `None` if it
    /// announces none of the generation that is wanted: that of the other would be another ISO.
    pub fn boot_image(&self, arch: Arch) -> Option<&BootImage> {
        self.boot_image_of(self.preferred_os_stream(), arch)
    }

    pub(crate) fn boot_image_of(&self, stream: OsStream, arch: Arch) -> Option<&BootImage> {
        self.boot_images.get(stream, arch)
    }
}

/// The release cannot be read; perhaps the tag lacks what tags of releases end with.
fn not_there(pullspec: &Reference, source: oci_registry::Error) -> Error {
    let tag = pullspec.tag().filter(|_| pullspec.digest().is_none() && source.is_not_found());
    // What follows a version may be an architecture; builds of CI and OKD have tags without any.
    let is_version = |tag: &&str| {
        let (_, stage) = tag.split_once('-').unwrap_or((tag, ""));
        let is_stage = stage.starts_with("ec.") || stage.starts_with("rc.");
        (stage.is_empty() || is_stage && !stage.contains('-'))
            && tag.contains('.')
            && tag.parse::<OpenshiftVersion>().is_ok()
    };
    let suggestion = tag.filter(is_version).and_then(|tag| pullspec.with_tag(&format!("{tag}-x86_64")).ok());
    let pullspec = pullspec.clone();
    match suggestion {
        Some(suggestion) => Error::TagWithoutArch { pullspec, suggestion: Box::new(suggestion), source },
        None => Error::ReleaseImage { pullspec, source },
    }
}

/// The first release image of a list that can be read.
async fn any_child(
    registry: &Registry,
    pullspec: &Reference,
    children: impl Iterator<Item = &Descriptor>,
) -> Result<(Digest, ImageManifest), Error> {
    let unusable = |source| Error::NotAReleaseImage { pullspec: pullspec.clone(), source };
    let mut attempts = Vec::new();
    for child in children {
        let image = pullspec.with_digest(child.digest);
        match registry.manifest(&image).await {
            Ok(Manifest { digest, kind: ManifestKind::Image(image), .. }) => return Ok((digest, image)),
            Ok(_) => return Err(unusable(manifests::Error::NestedList)),
            Err(source) => attempts.push(Attempt { image, reason: Reason::Registry(source) }),
        }
    }
    if attempts.is_empty() {
        return Err(unusable(manifests::Error::NoPlatform));
    }
    Err(Error::ChildrenUnavailable { pullspec: pullspec.clone(), attempts })
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

/// The one image of a list, if nothing but its own configuration says what it runs on. `oc` takes it, too.
pub(crate) fn only_image(index: &ImageIndex) -> Option<&Descriptor> {
    match &index.manifests[..] {
        [image] if image.platform.is_none() => Some(image),
        _ => None,
    }
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
