use std::fmt;

/// How a folder keeps images.
///
/// ```text
/// Oc        DIR/v2/<repository>/manifests/<tag>             link to sha256:<hex>
///           DIR/v2/<repository>/manifests/sha256:<hex>      manifest
///           DIR/v2/<repository>/blobs/sha256:<hex>          blob; all manifests are here, too
/// Storage   DIR/docker/registry/v2/repositories/<repository>/_manifests/tags/<tag>/current/link    sha256:<hex>
///           DIR/docker/registry/v2/blobs/sha256/<first 2 of hex>/<hex>/data    manifest or blob
/// Oci       DIR/oci-layout
///           DIR/index.json                                  tags
///           DIR/blobs/sha256/<hex>                          manifest or blob
/// Dir       DIR/version
///           DIR/manifest.json                               the one image, or list of images
///           DIR/<hex>.manifest.json                         image of the list
///           DIR/<hex>                                       blob
/// ```
///
/// Sources: openshift/oc's pkg/cli/image/imagesource, distribution's storage paths, the OCI image layout
/// specification, containers-transports(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageLayout {
    /// What `oc adm release mirror --to-dir` and `oc image mirror` to `file://` write. On Windows, and on what cannot
    /// have a `:` in a name, a `-` stands for it.
    Oc,
    /// The storage of a registry, which is also oc-mirror's cache and what its archives unpack to.
    Storage,
    /// The layout of the OCI image specification.
    Oci,
    /// skopeo's own, for one image.
    Dir,
}

impl fmt::Display for ImageLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oc => "the mirror of oc",
            Self::Storage => "the registry storage",
            Self::Oci => "the OCI layout",
            Self::Dir => "skopeo's dir: layout",
        })
    }
}
