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
//!
//! A place that has the manifests need not have the layers: a mirror may be half-filled, a cache pruned. The search then
//! goes on with the places that are left.

mod candidates;
mod search;

use coreos_names::Arch;
use oci_registry::{Descriptor, Digest, ImageManifest, Reference, Registry};

pub(crate) use self::search::Search;
use crate::error::Error;
use crate::os_stream::OsStream;
use crate::payload::Payload;
use crate::stream_metadata::BootImage;

/// The component whose image carries the live ISO, since 4.10.
const COMPONENT: &str = "machine-os-images";

/// The live ISO of one architecture, found but not fetched.
#[derive(Debug)]
pub struct LiveIso {
    pub(crate) found: Found,
    /// Goes on if what was found proves useless.
    pub(crate) search: Search,
    /// The generation whose ISO was seen.
    pub(crate) os_stream: Option<OsStream>,
}

/// An image that may carry the ISO.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) image: Reference,
    pub(crate) manifest: ImageManifest,
    pub(crate) pinned: Pinned,
}

/// How the payload vouches for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pinned {
    /// By its digest, so for everything in it.
    Image,
    /// By the SHA-256 that its ISO must have, and not for anything beside it.
    Iso,
}

/// All that decides which ISO is taken out of an image and what is stated of it. From the same source comes the same ISO,
/// whatever release and place it is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IsoSource {
    arch: Arch,
    pinned: Pinned,
    /// From the lowest on.
    layers: Vec<Digest>,
    /// The generations that will do, the preferred one first, and what the release announces of each.
    announced: Vec<(OsStream, Option<BootImage>)>,
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
        let mut search = Search::new(payload, arch, component, digest);
        let found = search.next(registry).await?;
        Ok(Self { found, search, os_stream: None })
    }

    /// Where the ISO would be fetched from, or was.
    pub fn image(&self) -> &Reference {
        &self.found.image
    }

    /// The generation that the ISO is of. `None` before it was seen, by [`LiveIso::stated_size`] or
    /// [`LiveIso::extract`]: where no generation is asked for, the image tells.
    pub fn os_stream(&self) -> Option<OsStream> {
        self.os_stream
    }

    /// What the ISO would be taken from, or was.
    pub fn source(&self) -> IsoSource {
        let (payload, arch) = (self.search.payload(), self.search.arch());
        let announced = |stream| (stream, payload.boot_image_of(stream, arch).cloned());
        IsoSource {
            arch,
            pinned: self.found.pinned,
            layers: self.found.manifest.layers.iter().map(|layer| layer.digest).collect(),
            announced: payload.os_streams().into_iter().map(announced).collect(),
        }
    }

    /// Whether it is the image that the payload names. Another one is used only for an ISO that the payload announces, so
    /// an ISO in it that proves wrong says nothing of the release, and a better mirror can have the right one.
    pub fn is_of_payload(&self) -> bool {
        self.found.pinned == Pinned::Image
    }

    /// The layer that is expected to hold the ISO, and its compressed size in bytes: the largest.
    pub fn largest_layer(&self) -> Option<(Digest, u64)> {
        self.layers().first().map(|&(_, layer)| (layer.digest, layer.size))
    }

    /// What the release announces of the ISO: of the generation that was seen, else of the preferred one.
    pub fn forecast(&self) -> Option<&BootImage> {
        let (payload, arch) = (self.search.payload(), self.search.arch());
        self.os_stream.map_or_else(|| payload.boot_image(arch), |stream| payload.boot_image_of(stream, arch))
    }

    /// The layers with their places in the image, the lowest being 0, in the order in which they are searched.
    pub(crate) fn layers(&self) -> Vec<(usize, &Descriptor)> {
        let mut layers: Vec<_> = self.found.manifest.layers.iter().enumerate().collect();
        layers.sort_by_key(|(_, layer)| std::cmp::Reverse(layer.size));
        layers
    }
}
