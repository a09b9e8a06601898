use std::fmt;
use std::io;
use std::time::Duration;

use coreos_names::{Arch, OpenshiftVersion, WithCauses};
use oci_registry::{Digest, Reference};
use release_signature::Refusal;

use crate::manifests;
use crate::os_stream::OsStream;

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

    /// There is no such tag, and it looks as if the end of it was forgotten.
    #[error(
        "cannot read the release image {pullspec}; tags of releases end with an architecture: was {suggestion} meant?"
    )]
    TagWithoutArch {
        /// The release image as it was asked for.
        pullspec: Reference,
        /// What may have been meant, for one of the architectures.
        suggestion: Box<Reference>,
        /// What the registry client said.
        source: oci_registry::Error,
    },

    /// The release is a list, and the registry gave none of the images in it.
    #[error("cannot read any of the images that {pullspec} lists; tried {}", joined(attempts, "; "))]
    ChildrenUnavailable {
        /// The release image as it was asked for.
        pullspec: Reference,
        /// Every image that was tried, in order, with its own reason.
        attempts: Vec<Attempt>,
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

    /// A manifest list names another list for an architecture.
    #[error("{image} is a list of images in a list of images, which nothing else reads either")]
    NestedList {
        /// The inner list.
        image: Reference,
    },

    /// No place that was tried has the component.
    #[error(
        "cannot find the image {component} anywhere; tried {}. {}",
        joined(attempts, "; "),
        advice(component, attempts)
    )]
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
    #[error("{image} holds no {}{}", names.join(" and no "), of_stream(*os_stream))]
    IsoNotFound {
        /// The component image.
        image: Reference,
        /// The generation of the operating system that was asked for, if one was.
        os_stream: Option<OsStream>,
        /// The file names that would have been right.
        names: Vec<String>,
    },

    /// What has the ISO's name is not a file with its bytes.
    #[error("{image} holds {name} only as {what}, which is not followed")]
    NotAFile {
        /// The component image.
        image: Reference,
        /// The ISO's name.
        name: String,
        /// What it is.
        what: String,
    },

    /// A layer of the component image holds the ISO several times, with different bytes.
    #[error("layer {layer} of {image} holds {name} more than once, with different contents")]
    Ambiguous {
        /// The component image.
        image: Reference,
        /// The layer.
        layer: Digest,
        /// The ISO's name.
        name: String,
    },

    /// The ISO of the largest layer is not what the whole image holds, and no stream metadata says that it is right
    /// nevertheless.
    #[error("layer {upper} of {image} removes or replaces {name} of layer {layer}")]
    Shadowed {
        /// The component image.
        image: Reference,
        /// The layer with the ISO.
        layer: Digest,
        /// The layer above it.
        upper: Digest,
        /// The ISO's name.
        name: String,
    },

    /// Only a checksum beside the ISO says what its digest must be, and nothing says which build it is.
    #[error("nothing in {image} or its release says which build of the operating system {name} is")]
    NoBuild {
        /// The component image.
        image: Reference,
        /// The ISO's name.
        name: String,
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

    /// An image that is not the one the payload names does not have what the payload announces either.
    #[error("{image} is not the image that the release names, and of no use instead of it")]
    OtherImage {
        /// The image.
        image: Reference,
        /// What is wrong with it.
        source: Box<Self>,
    },

    /// The receiver of the ISO's bytes refused them.
    #[error("cannot store the ISO")]
    Sink(#[source] io::Error),
}

impl Error {
    /// Whether trying again soon can succeed without anybody changing the payload or the configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::ReleaseImage { source, .. }
            | Self::TagWithoutArch { source, .. }
            | Self::Component { source, .. } => source.is_retryable(),
            Self::ComponentUnavailable { attempts, .. } | Self::ChildrenUnavailable { attempts, .. } => {
                attempts.iter().any(Attempt::is_retryable)
            }
            Self::OtherImage { source, .. } => source.is_retryable(),
            Self::NotVouchedFor { source, .. } => source.is_retryable(),
            Self::Sink(_) => true,
            _ => false,
        }
    }

    /// How long a registry asked to be left alone; of several, the one that may be asked first. `None` if none did.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ReleaseImage { source, .. }
            | Self::TagWithoutArch { source, .. }
            | Self::Component { source, .. } => source.retry_after(),
            Self::ComponentUnavailable { attempts, .. } | Self::ChildrenUnavailable { attempts, .. } => {
                let recover = attempts.iter().filter(|attempt| attempt.is_retryable());
                // `None` is less than any wait.
                recover.map(Attempt::retry_after).min().flatten()
            }
            Self::OtherImage { source, .. } => source.retry_after(),
            _ => None,
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
                | Self::NestedList { .. }
                | Self::Layer { .. }
                | Self::IsoNotFound { .. }
                | Self::NotAFile { .. }
                | Self::Ambiguous { .. }
                | Self::Shadowed { .. }
                | Self::NoBuild { .. }
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
    pub reason: Reason,
}

/// Why a place did not have a component.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The registry client said so.
    Registry(oci_registry::Error),
    /// It has the component's manifests, and the registry client said this of its layers.
    Incomplete(oci_registry::Error),
    /// It has an image that is not the one the payload names, and the ISO in that does not do either.
    OtherIso(Box<Error>),
    /// Its registry could not be reached when another place in it was asked.
    NotAsked,
    /// What lies at the tag has another digest, so nothing says that it is the component.
    OtherDigest {
        /// The digest of what is there.
        actual: Digest,
        /// Why it cannot be used all the same.
        problem: Problem,
    },
}

/// What is wrong with an image that is not the one asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The release does not announce the SHA-256 of this architecture's ISO, the one thing that could prove it.
    NoSha256(Arch),
    /// It is not for the architecture.
    OtherArch(Arch),
}

impl Attempt {
    fn is_retryable(&self) -> bool {
        match &self.reason {
            Reason::Registry(error) | Reason::Incomplete(error) => error.is_retryable(),
            Reason::OtherIso(error) => error.is_retryable(),
            Reason::NotAsked | Reason::OtherDigest { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match &self.reason {
            Reason::Registry(error) | Reason::Incomplete(error) => error.retry_after(),
            Reason::OtherIso(error) => error.retry_after(),
            Reason::NotAsked | Reason::OtherDigest { .. } => None,
        }
    }

    /// Whether all that can be said is that the component is not there.
    pub(crate) fn is_absence(&self) -> bool {
        match &self.reason {
            Reason::Registry(error) => error.is_not_found(),
            Reason::NotAsked => true,
            _ => false,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.image)?;
        match &self.reason {
            Reason::Registry(error) => WithCauses(error).fmt(f),
            Reason::Incomplete(error) => write!(f, "incomplete, {}", WithCauses(error)),
            Reason::OtherIso(error) => write!(f, "another image, {}", WithCauses(error.as_ref())),
            Reason::NotAsked => write!(f, "not asked, {} could not be reached before", self.image.registry()),
            Reason::OtherDigest { actual, problem } => {
                write!(f, "another image, {actual}")?;
                match problem {
                    Problem::NoSha256(arch) => {
                        write!(
                            f,
                            ", and the release announces no SHA-256 of the ISO for {arch} to prove it by"
                        )
                    }
                    Problem::OtherArch(arch) => write!(f, ", which is not for {arch}"),
                }
            }
        }
    }
}

/// What an admin can do.
fn advice(component: &Reference, attempts: &[Attempt]) -> String {
    if attempts.iter().any(|attempt| matches!(attempt.reason, Reason::OtherDigest { .. })) {
        return "The mirror has lost the image's list of architectures, and with it the digest: mirror the release \
                again with oc adm release mirror --keep-manifest-list=true"
            .to_owned();
    }
    if attempts.iter().any(|attempt| matches!(attempt.reason, Reason::Incomplete(_))) {
        return "A mirror has the image's manifests without its layers, or cannot read them: mirror the release again"
            .to_owned();
    }
    format!(
        "Mirror the release with its components (oc adm release mirror, oc-mirror), or say in an \
         ImageDigestMirrorSet where {}/{} is mirrored",
        component.registry(),
        component.repository()
    )
}

/// What somebody else has written, in an error or a log: as much as tells what it is, in one line.
pub(crate) fn excerpt(text: &impl fmt::Display) -> String {
    const LONGEST: usize = 300;
    let text = text.to_string();
    let mut characters = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    let mut excerpt: String = characters.by_ref().take(LONGEST).collect();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

fn of_stream(os_stream: Option<OsStream>) -> String {
    os_stream.map_or_else(String::new, |stream| format!(", so no live ISO of {stream}"))
}

fn listed(arches: &[Arch]) -> String {
    if arches.is_empty() { "none that OpenShift runs on".to_owned() } else { joined(arches, ", ") }
}

fn joined(items: &[impl fmt::Display], separator: &str) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}
