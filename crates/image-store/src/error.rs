//! Why the store could not do what it was asked, and whether trying again can help.

use std::io;
use std::path::{Path, PathBuf};

use coreos_names::Sha256;

use crate::key::ImageKey;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused an operation.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb: `create`, `read`, `write`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The file system that holds the data directory is too full for an image.
    #[error(
        "not enough space in {}: {needed} bytes needed, {available} bytes free after what running downloads will take",
        path.display()
    )]
    NoSpace {
        /// The data directory.
        path: PathBuf,
        /// Bytes the image takes.
        needed: u64,
        /// Bytes that are free and promised to nobody.
        available: u64,
    },

    /// The image would take more than the admin allows.
    #[error(
        "the image needs {needed} bytes, but of the {limit} bytes that this service may take in {} it has taken or promised {taken}",
        path.display()
    )]
    OverLimit {
        /// The data directory.
        path: PathBuf,
        /// Bytes the image takes.
        needed: u64,
        /// Bytes that are taken or promised to running downloads.
        taken: u64,
        /// Bytes that may be taken.
        limit: u64,
    },

    /// A download was given a name that cannot be part of a file name.
    #[error("invalid name {name:?} for a download")]
    InvalidName {
        /// The name.
        name: String,
    },

    /// The bytes are not the ones that were announced.
    #[error("the ISO's SHA-256 is {actual}, but {expected} was announced for it")]
    WrongDigest {
        /// The digest the image must have.
        expected: Sha256,
        /// The digest of the bytes that came.
        actual: Sha256,
    },

    /// There is another ISO of the same build, and both were proven.
    #[error("two sources state different ISOs for {key}: {published} is published, {new} is not")]
    Conflict {
        /// What both are called.
        key: ImageKey,
        /// The digest of the published one.
        published: Sha256,
        /// The digest of the other.
        new: Sha256,
    },

    /// Somebody has given another file the image's name in this moment.
    #[error("{} is there, and was not a moment ago", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },

    /// `nmstatectl` cannot be taken out of the image.
    #[error("the image {key} has no usable nmstatectl")]
    Nmstate {
        /// The image.
        key: ImageKey,
        /// Why.
        source: live_iso::RootfsError,
    },

    /// The file is not a CoreOS live ISO that this program understands.
    #[error("the ISO cannot be served")]
    Layout(#[source] live_iso::Error),
}

impl Error {
    /// Whether trying again later can succeed without anybody changing the source of the image.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. } | Self::NoSpace { .. } | Self::OverLimit { .. } | Self::Occupied { .. } => true,
            Self::Nmstate { source, .. } => source.is_read_failure(),
            _ => false,
        }
    }

    /// Whether it lies in the bytes that were staged, so that the same bytes can never be better.
    pub fn is_content(&self) -> bool {
        matches!(self, Self::WrongDigest { .. } | Self::Layout(_))
    }

    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source }
    }
}
