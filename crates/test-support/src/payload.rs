//! Container images as they are found in registries, from a single layer up to an OpenShift release.
//!
//! A [`Layer`] is made of files, an [`Image`] of layers, an [`Index`] of images and a [`Release`] of both. All of them
//! are values with known digests; [`Artifact::write_dir`] lays one out for skopeo,
//! [`Artifact::write_oc`] as `oc` mirrors to disk,
//! [`TokenRegistry::publish`](crate::registry::TokenRegistry::publish) serves it. Layers with an ISO lie in files.

mod content;
mod dir;
mod image;
mod layer;
mod oc;
mod release;
mod stream_metadata;

pub use content::Content;
pub use image::{Artifact, Image, ImageBuilder, Index, MediaTypes};
pub use layer::{Compression, Layer, LayerBuilder};
pub use release::{Component, Flaw, Release, ReleaseBuilder};
pub use stream_metadata::StreamMetadata;
