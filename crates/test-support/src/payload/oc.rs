use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use super::{Artifact, Content, Image};

/// The layout of `oc adm release mirror --to-dir`, without its signatures and cluster resources:
///
/// ```text
/// v2/<repository>/blobs/sha256:<hex>        each blob and each manifest
/// v2/<repository>/manifests/sha256:<hex>    hard link to each manifest
/// v2/<repository>/manifests/<tag>           symbolic link to a manifest beside it
/// ```
impl Artifact {
    /// Adds the artifact to a directory, which is made if need be.
    pub fn write_oc(&self, directory: &Path, repository: &str, tag: &str) -> io::Result<()> {
        let repository = directory.join("v2").join(repository);
        let (blobs, manifests) = (repository.join("blobs"), repository.join("manifests"));
        fs::create_dir_all(&blobs)?;
        fs::create_dir_all(&manifests)?;
        let write_blob = |blob: &Content| blob.write_to(&blobs.join(blob.digest()));
        self.images().iter().flat_map(Image::blobs).try_for_each(write_blob)?;
        for (_, manifest) in self.manifests() {
            let (blob, named) = (blobs.join(manifest.digest()), manifests.join(manifest.digest()));
            manifest.write_to(&blob)?;
            if !named.exists() {
                fs::hard_link(blob, named)?;
            }
        }
        symlink(self.digest(), manifests.join(tag))
    }
}
