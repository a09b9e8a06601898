use std::fmt;
use std::io;

use coreos_names::{Arch, OpenshiftVersion, WithCauses};
use oci_registry::{Digest, Reference};
use release_signature::Refusal;

use crate::manifests;

/// Why a release payload did not give its ISO.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry did not give the release image.
    #[error("cannot read the release image {pullspec}")]
    ReleaseImage {
        /// The release image as it was asked for.
        pullspec: Reference,
        /// What the registry client said.
        source: oci_registry::Error,
    },

    /// Signatures are asked for, and none makes the release acceptable. One may be published later.
    #[error("{pullspec} is refused")]
    NotVouchedFor {
        /// The release image as it was asked for.
        pullspec: Reference,
        /// What was asked for, and what every store answered.
        source: Box<Refusal>,
    },

    /// The image is there, but is not a release image.
    #[error("{pullspec} is not a usable OpenShift release image")]
    NotAReleaseImage {
        /// The image.
        pullspec: Reference,
        /// What it lacks.
        source: manifests::Error,
    },

    /// The payload has no component that carries the live ISO.
    #[error("release {version} has no component {component}; releases from 4.11 on carry the live ISO in it")]
    MissingComponent {
        /// The release.
        version: OpenshiftVersion,
        /// The component's name.
        component: &'static str,
    },

    /// The payload names the component by tag, so that nothing says which image is meant.
    #[error("the payload names {component} without a digest; what cannot be verified is not used")]
    UnpinnedComponent {
        /// The component as the payload names it.
        component: Reference,
    },

    /// A manifest list has no image for an architecture.
    #[error("{image} has no image for {arch}; it has {}", listed(available))]
    MissingArch {
        /// The manifest list.
        image: Reference,
        /// What was wanted.
        arch: Arch,
        /// What there is.
        available: Vec<Arch>,
    },

    /// The component is a single image for another architecture.
    #[error(
        "{image} is for {actual}, not for {arch}: was the release image of another architecture mirrored?"
    )]
    WrongArch {
        /// The component image.
        image: Reference,
        /// What was wanted.
        arch: Arch,
        /// What its configuration says.
        actual: String,
    },

    /// No place that was tried has the component.
    #[error("cannot find the image {component} anywhere; tried {}", joined(attempts, "; "))]
    ComponentUnavailable {
        /// The component as the payload names it.
        component: Reference,
        /// Every place that was tried, in order, with its own reason.
        attempts: Vec<Attempt>,
    },

    /// The registry did not give a part of the component image.
    #[error("cannot read {image}")]
    Component {
        /// The component image.
        image: Reference,
        /// What the registry client said.
        source: oci_registry::Error,
    },

    /// A layer of the component image cannot be unpacked, although its digest is right.
    #[error("cannot unpack layer {layer} of {image}")]
    Layer {
        /// The component image.
        image: Reference,
        /// The layer.
        layer: Digest,
        /// What is wrong with it.
        source: io::Error,
    },

    /// No layer of the component image has the ISO.
    #[error("{image} holds no {}", names.join(" and no "))]
    IsoNotFound {
        /// The component image.
        image: Reference,
        /// The file names that would have been right.
        names: Vec<String>,
    },

    /// The ISO is there, but nothing verified says what its digest must be.
    #[error(
        "neither release {version} nor {image} states the SHA-256 of the live ISO for {arch}; an ISO that cannot be verified is not used"
    )]
    NoDigest {
        /// The release.
        version: OpenshiftVersion,
        /// The component image.
        image: Reference,
        /// The architecture.
        arch: Arch,
    },

    /// The receiver of the ISO's bytes refused them.
    #[error("cannot store the ISO")]
    Sink(#[source] io::Error),
}

impl Error {
    /// Whether trying again soon can succeed without anybody changing the payload or the configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::ReleaseImage { source, .. } | Self::Component { source, .. } => source.is_retryable(),
            Self::ComponentUnavailable { attempts, .. } => {
                attempts.iter().any(|attempt| attempt.error.is_retryable())
            }
            Self::NotVouchedFor { source, .. } => source.is_retryable(),
            Self::Sink(_) => true,
            _ => false,
        }
    }

    /// Whether it lies in the release itself, every byte of which is pinned, so that only another release can be better.
    pub fn is_content(&self) -> bool {
        matches!(
            self,
            Self::NotAReleaseImage { .. }
                | Self::MissingComponent { .. }
                | Self::UnpinnedComponent { .. }
                | Self::MissingArch { .. }
                | Self::WrongArch { .. }
                | Self::Layer { .. }
                | Self::IsoNotFound { .. }
                | Self::NoDigest { .. }
        )
    }
}

/// One place where a component was looked for.
#[derive(Debug)]
pub struct Attempt {
    /// The place.
    pub image: Reference,
    /// Why it did not have the component.
    pub error: oci_registry::Error,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.image, WithCauses(&self.error))
    }
}

fn listed(arches: &[Arch]) -> String {
    if arches.is_empty() { "none that OpenShift runs on".to_owned() } else { joined(arches, ", ") }
}

fn joined(items: &[impl fmt::Display], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
