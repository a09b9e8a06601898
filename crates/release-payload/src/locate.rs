//! Finding the component image that carries the live ISO.
//!
//! The payload names its components at their origin, whatever registry the release image came from. In a mirrored site
//! the origin cannot be reached, so the places where mirroring tools put components are tried first. (Mirrors that an
//! admin configures are the registry client's, and go before every place tried here.) A guess can be wrong but never
//! harmful: the component is asked for by the digest that the verified payload states.
//!
//! A mirror that drops manifest lists holds the component under another digest, found by tag. It comes last, after the
//! origin, and only if the payload announces the SHA-256 of the ISO, which must then be that of the ISO in it: nothing
//! else in such an image is believed.

mod candidates;
mod search;

use coreos_names::Arch;
use oci_registry::{Descriptor, Digest, ImageManifest, Reference, Registry};

use crate::error::Error;
use crate::payload::Payload;
use crate::stream_metadata::BootImage;

/// The component whose image carries the live ISO, since 4.10.
const COMPONENT: &str = "machine-os-images";

/// The live ISO of one architecture, found but not fetched.
#[derive(Debug)]
pub struct LiveIso {
    pub(crate) payload: Payload,
    pub(crate) arch: Arch,
    pub(crate) image: Reference,
    pub(crate) manifest: ImageManifest,
    pub(crate) pinned: Pinned,
}

/// How the payload vouches for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinned {
    /// By its digest, so for everything in it.
    Image,
    /// By the SHA-256 that its ISO must have, and not for anything beside it.
    Iso,
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
        search::Search::new(registry, payload, arch, component, digest).run().await
    }

    /// Where the ISO would be fetched from.
    pub fn image(&self) -> &Reference {
        &self.image
    }

    /// Whether it is the image that the payload names. Another one is used only for an ISO that the payload announces, so
    /// an ISO in it that proves wrong says nothing of the release, and a better mirror can have the right one.
    pub fn is_of_payload(&self) -> bool {
        self.pinned == Pinned::Image
    }

    /// The layer that is expected to hold the ISO, and its compressed size in bytes: the largest.
    pub fn largest_layer(&self) -> Option<(Digest, u64)> {
        self.layers().first().map(|&(_, layer)| (layer.digest, layer.size))
    }

    /// What the release announces of the ISO.
    pub fn forecast(&self) -> Option<&BootImage> {
        self.payload.boot_image(self.arch)
    }

    /// The layers with their places in the image, the lowest being 0, in the order in which they are searched.
    pub(crate) fn layers(&self) -> Vec<(usize, &Descriptor)> {
        let mut layers: Vec<_> = self.manifest.layers.iter().enumerate().collect();
        layers.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
        layers
    }
}
