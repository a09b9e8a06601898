use std::io;
use std::path::PathBuf;

use super::ImageLayout;
use crate::excerpt::Excerpt;

/// Why a folder does not give an image, or a part of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// No layout at the path nor above it.
    #[error(
        "neither {path} nor a folder above it is a layout of images: expected DIR/REPOSITORY with the DIR of \
         `oc adm release mirror --to-dir` (it holds v2) or of a registry's or oc-mirror's storage (it holds \
         docker/registry/v2), an OCI layout, or a folder of skopeo's dir:"
    )]
    NoLayout {
        /// The path.
        path: PathBuf,
    },
    /// What `oc-mirror` writes, still packed.
    #[error(
        "{path} is an archive of oc-mirror, which is not read as it is: unpack it (tar -xf, all of them into one \
         folder) and name FOLDER/openshift/release-images:TAG"
    )]
    OcMirrorArchive {
        /// The archive.
        path: PathBuf,
    },
    /// A file where a folder should be.
    #[error("{path} is a file, and images are read from folders only: unpack or copy it into one")]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// The layout is there, but not the image or blob.
    #[error("{layout} in {folder} has no {wanted}{hint}")]
    Missing {
        /// The layout that was recognised.
        layout: ImageLayout,
        /// The folder it was recognised at.
        folder: PathBuf,
        /// What was looked for.
        wanted: String,
        /// What may be the reason, after a comma or semicolon; or nothing.
        hint: String,
    },
    /// A link that leads out of the layout's folder.
    #[error("{path} is not read: a link leads out of the folder that holds the images, or in a circle")]
    Escapes {
        /// The link, or what lies behind it.
        path: PathBuf,
    },
    /// A pipe, a device, a folder.
    #[error("{path} is not read: it is no regular file")]
    NotAFile {
        /// What it is.
        path: PathBuf,
    },
    /// Not the size that its manifest states: cut off while it was copied, perhaps.
    #[error("{path} has {actual} bytes and should have {expected}")]
    Size {
        /// The file.
        path: PathBuf,
        /// The size its manifest states.
        expected: u64,
        /// The size it has.
        actual: u64,
    },
    /// Larger than any such file is.
    #[error("{path} is larger than the {limit} bytes that are accepted")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How many bytes are accepted.
        limit: u64,
    },
    /// A file of the layout itself does not say what it should.
    #[error("{path} cannot be used: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Excerpt,
    },
    /// The file system refuses.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DiskError {
    /// Whether it is not there, though all that was looked at could be read.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::NoLayout { .. } | Self::Missing { .. })
    }

    /// Whether it may be better soon with nobody changing anything: a share that is slow to come back.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() != io::ErrorKind::PermissionDenied)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::DiskError;

    #[test]
    fn only_hiccups_of_the_file_system_are_worth_another_try() {
        let path = std::path::PathBuf::from("/mnt/mirror");
        let failed = |kind: io::ErrorKind| DiskError::Io { path: path.clone(), source: kind.into() };
        assert!(failed(io::ErrorKind::StaleNetworkFileHandle).is_retryable());
        assert!(!failed(io::ErrorKind::PermissionDenied).is_retryable());
        assert!(!DiskError::NoLayout { path: path.clone() }.is_retryable());
    }
}
