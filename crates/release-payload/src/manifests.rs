//! The `release-manifests/` directory in a release image's last layer.
//!
//! `oc adm release new` appends this layer; its first two files are the payload's description of itself. The boot images
//! are the ConfigMap by which the installer publishes CoreOS stream metadata in a cluster; they are a forecast only, and
//! never a reason to refuse a release.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Read};
use std::ops::ControlFlow;

use coreos_names::{InvalidOpenshiftVersion, OpenshiftVersion, WithCauses};
use oci_registry::Reference;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::boot_images::{Announcement, BootImages};
use crate::error::excerpt;
use crate::layer::{self, Kind};

const DIRECTORY: &str = "release-manifests/";
const IMAGE_REFERENCES: &str = "image-references";
const RELEASE_METADATA: &str = "release-metadata";
/// The number in front of it says when the cluster-version operator applies it, and has changed before.
const BOOT_IMAGES: [&str; 2] = ["coreos-bootimages.yaml", "coreos-bootimages.json"];

/// Ten times the largest of these files in any known release.
const MAX_FILE: u64 = 4 << 20;

/// The largest known one has 200 KiB, and a cluster takes no ConfigMap of more. A parser of YAML needs a hundred bytes
/// for each that it reads.
const MAX_YAML: u64 = 1 << 20;

/// What begins a nested collection or a directive in YAML: the parser takes the square of their number of steps. The
/// largest known file has a thousand of them.
const YAML_OPENERS: &[u8] = b"[{%";
const MAX_YAML_OPENERS: usize = 8 << 10;

/// Ten times the size of the largest known layer, unpacked.
const MAX_INFLATED: u64 = 512 << 20;

/// Why a layer is not the one of a release image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image has no layer at all.
    #[error("it has no layers")]
    NoLayers,
    /// It is for another platform, or a list without any image for a known one.
    #[error("it is not for an architecture that OpenShift runs on")]
    NoPlatform,
    /// A list in a list, which no tool makes or reads.
    #[error("it is a list of lists of images")]
    NestedList,
    /// The layer is no tar archive, or its compression is broken.
    #[error("its last layer cannot be unpacked")]
    Layer(#[from] io::Error),
    /// A file that makes a release image one is not there.
    #[error("its last layer has no {DIRECTORY}{0}")]
    Missing(&'static str),
    /// A file is larger than any release has it.
    #[error("{DIRECTORY}{name} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// The file.
        name: &'static str,
        /// Its size in bytes.
        size: u64,
        /// How many would be read.
        limit: u64,
    },
    /// It calls itself by no version.
    #[error("it states no usable version")]
    Version(#[source] InvalidOpenshiftVersion),
    /// A file does not hold what it should.
    #[error("{DIRECTORY}{name} is invalid")]
    Invalid {
        /// The file.
        name: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What the last layer says of a release.
#[derive(Debug)]
pub(crate) struct ReleaseManifests {
    pub(crate) version: OpenshiftVersion,
    pub(crate) components: BTreeMap<String, Reference>,
    pub(crate) boot_images: BootImages,
}

/// Reads the layer. The caller has verified its digest.
pub(crate) fn read(layer: impl Read) -> Result<ReleaseManifests, Error> {
    let (mut references, mut metadata, mut boot_images) = (None, None, None);
    layer::for_each_member(layer, MAX_INFLATED, |member, content| {
        let Some(name) = member.name.strip_prefix(DIRECTORY).filter(|_| member.kind == Kind::File) else {
            return Ok(ControlFlow::Continue(()));
        };
        let (place, name) = match name {
            IMAGE_REFERENCES => (&mut references, IMAGE_REFERENCES),
            RELEASE_METADATA => (&mut metadata, RELEASE_METADATA),
            name if BOOT_IMAGES.iter().any(|end| name.ends_with(end)) => (&mut boot_images, BOOT_IMAGES[0]),
            _ => return Ok(ControlFlow::Continue(())),
        };
        *place = Some(if member.size > MAX_FILE {
            Err(Error::TooLarge { name, size: member.size, limit: MAX_FILE })
        } else {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;

    let references = references.ok_or(Error::Missing(IMAGE_REFERENCES))?;
    let references: ImageReferences = parse(IMAGE_REFERENCES, &references?)?;
    let metadata: Option<ReleaseMetadata> =
        metadata.map(|bytes| parse(RELEASE_METADATA, &bytes?)).transpose()?;
    // A release made without metadata names itself in the image stream only.
    let version = metadata.map_or_else(|| references.metadata.name.clone(), |metadata| metadata.version);
    let version = version.parse().map_err(Error::Version)?;
    let boot_images = boot_images.map(|bytes| read_boot_images(bytes, &version)).unwrap_or_default();
    Ok(ReleaseManifests { version, components: references.components()?, boot_images })
}

fn read_boot_images(yaml: Result<Vec<u8>, Error>, version: &OpenshiftVersion) -> BootImages {
    match yaml.and_then(|yaml| parse::<ConfigMap>(BOOT_IMAGES[0], &yaml)) {
        Ok(config_map) => BootImages::read(&config_map.data, version),
        Err(error) => {
            tracing::warn!(release.version = %version, error = %WithCauses(&error), "ignoring what the release announces");
            BootImages::default()
        }
    }
}

/// Parses JSON, or YAML where it does not look like JSON: both occur.
fn parse<T: DeserializeOwned>(name: &'static str, bytes: &[u8]) -> Result<T, Error> {
    let size = bytes.len() as u64;
    if bytes.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice(bytes).map_err(|error| invalid(name, error))
    } else if size > MAX_YAML {
        Err(Error::TooLarge { name, size, limit: MAX_YAML })
    } else if bytes.iter().filter(|byte| YAML_OPENERS.contains(byte)).count() > MAX_YAML_OPENERS {
        Err(invalid(name, "it is YAML with more brackets and braces than are read"))
    } else {
        serde_yaml_ng::from_slice(bytes).map_err(|error| invalid(name, error))
    }
}

/// What a parser says can repeat all that it was given.
fn invalid(name: &'static str, error: impl Display) -> Error {
    Error::Invalid { name, source: excerpt(&error).into() }
}

/// An `image.openshift.io/v1` ImageStream.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageReferences {
    kind: String,
    api_version: String,
    metadata: ObjectMeta,
    spec: ImageStreamSpec,
}

#[derive(Deserialize)]
struct ObjectMeta {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct ImageStreamSpec {
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    from: Option<TagSource>,
}

#[derive(Deserialize)]
struct TagSource {
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct ReleaseMetadata {
    version: String,
}

#[derive(Deserialize)]
struct ConfigMap {
    data: Announcement,
}

impl ImageReferences {
    /// The components by name. As in `oc`, the first tag of a name that is an image counts.
    fn components(self) -> Result<BTreeMap<String, Reference>, Error> {
        if (self.kind.as_str(), self.api_version.as_str()) != ("ImageStream", "image.openshift.io/v1") {
            let found = format!(
                "expected an image.openshift.io/v1 ImageStream, found {} {}",
                self.api_version, self.kind
            );
            return Err(invalid(IMAGE_REFERENCES, found));
        }
        let mut components = BTreeMap::new();
        for tag in self.spec.tags {
            let Some(from) = tag.from.filter(|from| from.kind == "DockerImage" && !from.name.is_empty())
            else {
                continue;
            };
            let reference: Reference = from.name.parse().map_err(|error| invalid(IMAGE_REFERENCES, error))?;
            // Releases in folders name their origin, too.
            if reference.path().is_some() {
                return Err(invalid(IMAGE_REFERENCES, format!("{reference} is in no registry")));
            }
            components.entry(tag.name).or_insert(reference);
        }
        Ok(components)
    }
}
