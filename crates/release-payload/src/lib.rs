//! OpenShift release payloads, and the CoreOS live ISO inside them.
//!
//! From a release image to a verified stream of exactly one file:
//!
//! 1. [`release_images`] reads the `RELEASE_IMAGES` setting.
//! 2. [`Payload::resolve`] reads the release image's manifest and its last layer: which components the release has,
//!    and which ISO (build, SHA-256) belongs to each architecture. All of it is digest-checked before it is believed, and
//!    its signature too, where the admin asks for one.
//! 3. [`LiveIso::locate`] finds the component image that carries the ISO, in a mirror or at its origin.
//! 4. [`LiveIso::extract`] streams the ISO's layer through inflate and tar into an [`IsoSink`].
//!
//! Nothing here knows of a data directory or retries anything.

mod boot_images;
mod error;
mod layer;
mod live_iso;
mod locate;
mod manifests;
pub mod mirror_sets;
mod os_image_entry;
mod os_stream;
mod payload;
pub mod release_images;
mod signature;
mod stream_metadata;
mod survey;

pub use error::{Attempt, Error, Problem, Reason};
pub use live_iso::{ExtractedIso, IsoSink};
pub use locate::{IsoSource, LiveIso};
pub use oci_registry::Reference;
pub use os_image_entry::OsImageEntry;
pub use os_stream::{OsStream, UnknownOsStream};
pub use payload::Payload;
pub use release_signature::{SignaturePolicy, Verification};
pub use stream_metadata::{BootImage, StreamMetadata};

/// The parsers of foreign bytes, for fuzzing. Not part of the crate's promise.
#[doc(hidden)]
pub mod fuzzing {
    /// Reads everything that a release image's last layer can hold.
    pub fn manifests(bytes: &[u8]) {
        let _ = crate::manifests::read(bytes);
    }

    /// Walks a layer in search of ISOs.
    pub fn layer(bytes: &[u8]) {
        crate::live_iso::walk_unverified(bytes, 64 << 20);
    }
}
