use std::path::Path;
use std::{fs, io};

use super::{Artifact, Content};

/// The layout of skopeo's `dir:`, which pushes it as it is (`skopeo copy --all --preserve-digests`):
///
/// ```text
/// version                  Directory Transport Version: 1.1
/// manifest.json            what the tag will point at
/// <hex>.manifest.json      each image of a list
/// <hex>                    each blob
/// ```
impl Artifact {
    const VERSION: &str = "Directory Transport Version: 1.1\n";

    /// Lays the artifact out in a directory, which is made if need be.
    pub fn write_dir(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("version"), Self::VERSION)?;
        self.manifest().write_to(&directory.join("manifest.json"))?;
        if let Self::Index(_) = self {
            for image in self.images() {
                let name = format!("{}.manifest.json", image.manifest.sha256());
                image.manifest.write_to(&directory.join(name))?;
            }
        }
        let write_blob = |blob: &Content| blob.write_to(&directory.join(blob.sha256().to_string()));
        self.images().iter().flat_map(super::Image::blobs).try_for_each(write_blob)
    }
}
