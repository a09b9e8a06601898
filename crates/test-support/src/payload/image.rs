use std::collections::BTreeMap;
use std::slice;

use coreos_names::Arch;
use serde_json::{Value, json};

use super::{Content, Layer};

/// In whose words manifests are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MediaTypes {
    /// Docker's, as OpenShift's releases use them.
    #[default]
    Docker,
    /// OCI's.
    Oci,
}

impl MediaTypes {
    const fn image(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
        }
    }

    const fn config(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.container.image.v1+json",
            Self::Oci => "application/vnd.oci.image.config.v1+json",
        }
    }

    const fn index(self) -> &'static str {
        match self {
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
            Self::Oci => "application/vnd.oci.image.index.v1+json",
        }
    }
}

/// An image in the making.
#[derive(Debug)]
pub struct ImageBuilder {
    media_types: MediaTypes,
    os: String,
    architecture: String,
    labels: BTreeMap<String, String>,
    layers: Vec<Layer>,
}

impl ImageBuilder {
    /// An image for Linux, without layers.
    pub fn new(media_types: MediaTypes, arch: Arch) -> Self {
        let (os, architecture) = ("linux".to_owned(), arch.oci_name().to_owned());
        Self { media_types, os, architecture, labels: BTreeMap::new(), layers: Vec::new() }
    }

    /// Sets the platform, to `unknown` and `unknown` for an attestation.
    #[must_use]
    pub fn platform(self, os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), ..self }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Puts a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Writes configuration and manifest.
    pub fn build(self) -> Image {
        let Self { media_types, os, architecture, labels, layers } = self;
        let diff_ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", layer.diff_id)).collect();
        let config = Content::from_bytes(
            json!({
                "architecture": architecture,
                "os": os,
                "config": {"Labels": labels},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            })
            .to_string(),
        );
        let described: Vec<_> =
            layers.iter().map(|layer| descriptor(layer.media_type(media_types), &layer.content)).collect();
        let manifest = Content::from_bytes(
            json!({
                "schemaVersion": 2,
                "mediaType": media_types.image(),
                "config": descriptor(media_types.config(), &config),
                "layers": described,
            })
            .to_string(),
        );
        Image { media_types, os, architecture, manifest, config, layers }
    }
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct Image {
    media_types: MediaTypes,
    os: String,
    architecture: String,
    /// The manifest.
    pub manifest: Content,
    /// The configuration.
    pub config: Content,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
}

impl Image {
    /// Configuration and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Content> {
        std::iter::once(&self.config).chain(self.layers.iter().map(|layer| &layer.content))
    }
}

/// A list of images.
#[derive(Clone, Debug)]
pub struct Index {
    media_types: MediaTypes,
    /// The list's own manifest.
    pub manifest: Content,
    /// The images.
    pub images: Vec<Image>,
}

impl Index {
    /// Lists the images in this order.
    pub fn new(media_types: MediaTypes, images: Vec<Image>) -> Self {
        let describe = |image: &Image| {
            let mut descriptor = descriptor(image.media_types.image(), &image.manifest);
            descriptor["platform"] = json!({"os": image.os, "architecture": image.architecture});
            descriptor
        };
        let manifests: Vec<_> = images.iter().map(describe).collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_types.index(), "manifests": manifests}).to_string();
        Self { media_types, manifest: Content::from_bytes(manifest), images }
    }
}

/// What a tag can point at.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// One image.
    Image(Image),
    /// A list of images.
    Index(Index),
}

impl Artifact {
    /// The manifest a tag points at.
    pub const fn manifest(&self) -> &Content {
        match self {
            Self::Image(image) => &image.manifest,
            Self::Index(index) => &index.manifest,
        }
    }

    /// The digest of that manifest, `sha256:…`.
    pub fn digest(&self) -> String {
        self.manifest().digest()
    }

    /// The images, one or several.
    pub fn images(&self) -> &[Image] {
        match self {
            Self::Image(image) => slice::from_ref(image),
            Self::Index(index) => &index.images,
        }
    }

    /// Every manifest with its media type, the one a tag points at first.
    pub fn manifests(&self) -> Vec<(&'static str, &Content)> {
        let list = match self {
            Self::Image(_) => None,
            Self::Index(index) => Some((index.media_types.index(), &index.manifest)),
        };
        let images = self.images().iter().map(|image| (image.media_types.image(), &image.manifest));
        list.into_iter().chain(images).collect()
    }
}

impl From<Image> for Artifact {
    fn from(image: Image) -> Self {
        Self::Image(image)
    }
}

impl From<Index> for Artifact {
    fn from(index: Index) -> Self {
        Self::Index(index)
    }
}

fn descriptor(media_type: &str, content: &Content) -> Value {
    json!({"mediaType": media_type, "digest": content.digest(), "size": content.size()})
}
