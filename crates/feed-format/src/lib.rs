//! What a feed is made of: a ConfigMap and a Secret, or a directory with a file for each of their keys.
//!
//! The operator writes feeds and running image services read them. Here is all that both have to agree on: what the keys
//! are called, and what the texts under them mean for the way registries are asked. Nothing here knows Kubernetes.

mod access;
mod documents;
mod secret_text;

pub use access::Access;
pub use documents::Documents;
pub use secret_text::SecretText;

/// The name of the ConfigMap and of the Secret.
pub const FEED_NAME: &str = "coreos-image-service-feed";
/// The key with the releases, in the format of `RELEASE_IMAGES`.
pub const RELEASE_IMAGES: &str = "release-images.json";
/// The key with images by URL, in the format of `OS_IMAGES`.
pub const OS_IMAGES: &str = "os-images.json";
/// The key with a registries.conf(5), version 2.
pub const REGISTRIES_CONF: &str = "registries.conf";
/// The key with OpenShift's mirror sets, one YAML document each.
pub const MIRRORS: &str = "mirrors.yaml";
/// The key with CAs that are trusted for registries beside the others, as PEM.
pub const TRUSTED_CA: &str = "ca.crt";
/// The key with the pull secret, the only one of the Secret.
pub const PULL_SECRET: &str = ".dockerconfigjson";
/// The keys of the ConfigMap.
pub const CONFIGURATION: [&str; 5] = [RELEASE_IMAGES, OS_IMAGES, REGISTRIES_CONF, MIRRORS, TRUSTED_CA];
