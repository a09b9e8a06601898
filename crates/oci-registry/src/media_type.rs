//! The media types of manifests. Those of configs and layers do not matter to a reader that looks at the bytes.

/// One image: Docker's and OCI's.
pub(crate) const IMAGES: [&str; 2] =
    ["application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json"];

/// A list of images: Docker's and OCI's.
pub(crate) const INDEXES: [&str; 2] =
    ["application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json"];

/// What every request for a manifest accepts, in one header since some proxies read only the first of several.
/// Without the lists a registry may pick a platform for us.
pub(crate) fn accept() -> String {
    [INDEXES, IMAGES].concat().join(", ")
}
