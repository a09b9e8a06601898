use serde::Deserialize;

use crate::excerpt::Excerpt;
use crate::{Digest, media_type};

/// A manifest whose bytes are known, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of exactly the bytes that came.
    pub digest: Digest,
    /// How many bytes they are.
    pub size: u64,
    /// What they say.
    pub kind: ManifestKind,
}

/// The two kinds of manifest, each in Docker's or OCI's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// One image for one platform.
    Image(ImageManifest),
    /// A list of images, usually one for each platform.
    Index(ImageIndex),
}

/// One image: a configuration and its layers, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    /// The blob that holds architecture and labels.
    pub config: Descriptor,
    /// The layers, the lowest first. None is empty, an image without layers is.
    pub layers: Vec<Descriptor>,
}

/// A list of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageIndex {
    /// The manifests in the order the list gives them.
    pub manifests: Vec<Descriptor>,
}

/// What one document says about another: where it ends and what its digest is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The digest of the bytes described.
    pub digest: Digest,
    /// How many bytes they are.
    pub size: u64,
    /// What they are said to be. A hint: compression is decided by looking.
    #[serde(default)]
    pub media_type: String,
    /// The platform of a manifest in an index.
    pub platform: Option<Platform>,
}

/// The platform an image is for, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// `linux`, or `unknown` for an attestation.
    pub os: String,
    /// `amd64`, `arm64`, `ppc64le`, `s390x`.
    pub architecture: String,
    /// `v8` of `arm64`.
    pub variant: Option<String>,
}

/// The bytes are no manifest this client will act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidManifest {
    /// Not JSON, or not of a manifest's shape.
    #[error("not a manifest: {0}")]
    Malformed(Excerpt),
    /// Docker's first format, which names layers by digests that cannot be verified.
    #[error(
        "a manifest of Docker's schema 1, which nobody has written since 2017 and this client does not read"
    )]
    Schema1,
    /// A format from the future.
    #[error("manifest schema version {0}, where only 2 is known")]
    SchemaVersion(u64),
    /// Both an image and an index: two readers could take it for two things.
    #[error("ambiguous manifest: it is both an image and a list of images")]
    Ambiguous,
    /// Neither an image nor an index.
    #[error("neither an image (config and layers) nor a list of images (manifests)")]
    Neither,
    /// Its media type says one thing and its shape another.
    #[error("ambiguous manifest: its media type {declared} contradicts its content")]
    MediaType {
        /// The type it declares.
        declared: Excerpt,
    },
    /// More parts than any real image has.
    #[error("{count} {parts}, more than the {limit} that are accepted")]
    TooMany {
        /// `layers` or `manifests`.
        parts: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// The document as it is serialised, every kind of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Registries and clients agree on this limit.
    pub const MAX_SIZE: u64 = 4 << 20;

    /// Reads a manifest and takes its digest.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        Ok(Self { digest: Digest::of(bytes), size: bytes.len() as u64, kind: ManifestKind::parse(bytes)? })
    }
}

impl ManifestKind {
    /// Docker's own limit is 127.
    const MAX_LAYERS: usize = 512;
    /// A release has one for each architecture, some images a few dozen.
    const MAX_MANIFESTS: usize = 1024;

    fn parse(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| InvalidManifest::Malformed(Excerpt::of(&error.to_string())))?;
        match document.schema_version {
            2 => {}
            1 => return Err(InvalidManifest::Schema1),
            other => return Err(InvalidManifest::SchemaVersion(other)),
        }
        // The shape decides and the rest must agree (CVE-2021-41190).
        let (kind, types) = match document {
            Document { manifests: Some(manifests), config: None, layers: None, fs_layers: None, .. } => {
                at_most(Self::MAX_MANIFESTS, "manifests", manifests.len())?;
                (Self::Index(ImageIndex { manifests }), media_type::INDEXES)
            }
            Document {
                manifests: None, config: Some(config), layers: Some(layers), fs_layers: None, ..
            } => {
                at_most(Self::MAX_LAYERS, "layers", layers.len())?;
                (Self::Image(ImageManifest { config, layers }), media_type::IMAGES)
            }
            Document { manifests: Some(_), .. } => return Err(InvalidManifest::Ambiguous),
            _ => return Err(InvalidManifest::Neither),
        };
        match document.media_type {
            Some(declared) if !types.contains(&declared.as_str()) => {
                Err(InvalidManifest::MediaType { declared: Excerpt::of(&declared) })
            }
            _ => Ok(kind),
        }
    }
}

fn at_most(limit: usize, parts: &'static str, count: usize) -> Result<(), InvalidManifest> {
    if count <= limit { Ok(()) } else { Err(InvalidManifest::TooMany { parts, count, limit }) }
}

#[cfg(test)]
mod tests {
    use super::{InvalidManifest, Manifest, ManifestKind};
    use crate::Digest;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn descriptor(content: &[u8]) -> Value {
        json!({"mediaType": "x", "digest": Digest::of(content), "size": content.len()})
    }

    fn image() -> Value {
        json!({"schemaVersion": 2, "config": descriptor(b"config"), "layers": [descriptor(b"low"), descriptor(b"high")]})
    }

    fn index() -> Value {
        let mut manifest = descriptor(b"manifest");
        manifest["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
        json!({"schemaVersion": 2, "manifests": [manifest, descriptor(b"other")]})
    }

    fn parse(document: &Value) -> Result<ManifestKind, InvalidManifest> {
        Manifest::parse(document.to_string().as_bytes()).map(|manifest| manifest.kind)
    }

    fn with(mut document: Value, field: &str, value: Value) -> Value {
        document[field] = value;
        document
    }

    #[test]
    fn an_image_has_its_layers_from_the_lowest_up() {
        let ManifestKind::Image(image) = parse(&image()).unwrap() else { panic!("not an image") };
        assert_eq!(image.config.digest, Digest::of(b"config"));
        assert_eq!(image.layers.iter().map(|layer| layer.size).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn an_index_has_platforms() {
        let ManifestKind::Index(index) = parse(&index()).unwrap() else { panic!("not an index") };
        let platform = index.manifests[0].platform.as_ref().unwrap();
        assert_eq!((platform.os.as_str(), platform.architecture.as_str()), ("linux", "arm64"));
        assert_eq!(platform.variant.as_deref(), Some("v8"));
        assert_eq!(index.manifests[1].platform, None);
    }

    #[test]
    fn the_digest_is_that_of_the_bytes_and_not_of_their_meaning() {
        let compact = image().to_string();
        let pretty = serde_json::to_string_pretty(&image()).unwrap();
        let [compact, pretty] = [compact, pretty].map(|text| Manifest::parse(text.as_bytes()).unwrap());
        assert_eq!(compact.kind, pretty.kind);
        assert_ne!(compact.digest, pretty.digest);
    }

    #[test]
    fn a_manifest_that_two_readers_could_take_for_two_things_is_refused() {
        let both = with(image(), "manifests", json!([]));
        assert_eq!(parse(&both), Err(InvalidManifest::Ambiguous));
        let both = with(index(), "fsLayers", json!([]));
        assert_eq!(parse(&both), Err(InvalidManifest::Ambiguous));
        let disguised = with(image(), "mediaType", json!("application/vnd.oci.image.index.v1+json"));
        assert!(matches!(parse(&disguised), Err(InvalidManifest::MediaType { .. })));
        let twice = image().to_string().replacen('{', "{\"layers\": [], ", 1);
        assert!(matches!(Manifest::parse(twice.as_bytes()), Err(InvalidManifest::Malformed(_))));
    }

    #[test]
    fn old_and_future_schemas_are_named() {
        let old =
            json!({"schemaVersion": 1, "name": "a/b", "tag": "t", "fsLayers": [{"blobSum": "sha256:00"}]});
        assert_eq!(parse(&old), Err(InvalidManifest::Schema1));
        assert_eq!(parse(&with(image(), "schemaVersion", json!(3))), Err(InvalidManifest::SchemaVersion(3)));
    }

    #[test]
    fn what_is_neither_image_nor_index_is_refused() {
        assert_eq!(parse(&json!({"schemaVersion": 2})), Err(InvalidManifest::Neither));
        let artifact = json!({"schemaVersion": 2, "config": descriptor(b"config")});
        assert_eq!(parse(&artifact), Err(InvalidManifest::Neither));
    }

    #[test]
    fn impossible_descriptors_are_refused() {
        for (field, value) in [
            ("size", json!(-1)),
            ("size", json!(1.5)),
            ("size", json!("1")),
            ("digest", json!("sha512:00")),
            ("digest", json!("sha256:../../x")),
        ] {
            let document = with(image(), "config", with(descriptor(b"config"), field, value.clone()));
            assert!(matches!(parse(&document), Err(InvalidManifest::Malformed(_))), "{field} {value}");
        }
    }

    #[test]
    fn the_number_of_parts_is_limited() {
        let many = with(image(), "layers", json!(vec![descriptor(b"low"); 513]));
        assert_eq!(parse(&many), Err(InvalidManifest::TooMany { parts: "layers", count: 513, limit: 512 }));
        let many = with(index(), "manifests", json!(vec![descriptor(b"child"); 1025]));
        assert!(matches!(parse(&many), Err(InvalidManifest::TooMany { parts: "manifests", .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Manifest::parse(&bytes);
        }
    }
}
