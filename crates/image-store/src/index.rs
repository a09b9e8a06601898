//! The index: what was proven of each published image, and what each release image was resolved to.
//!
//! With it a start serves without asking anybody. An entry never makes a file trusted by its name alone: size and
//! modification time must be the recorded ones, or the file is hashed again.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coreos_names::{Arch, OpenshiftVersion, Sha256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::error::Error;
use crate::image::Proof;
use crate::key::ImageKey;
use crate::store::Inner;

/// What was proven of a published image.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) key: ImageKey,
    pub(crate) sha256: Sha256,
    pub(crate) proof: Proof,
    size: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
}

impl ImageRecord {
    pub(crate) fn new(key: ImageKey, sha256: Sha256, proof: Proof, metadata: &Metadata) -> Self {
        Self {
            key,
            sha256,
            proof,
            size: metadata.size(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
        }
    }

    /// Whether the file can still be the one that was proven.
    pub(crate) fn describes(&self, metadata: &Metadata) -> bool {
        (self.size, self.modified_seconds, self.modified_nanoseconds)
            == (metadata.size(), metadata.mtime(), metadata.mtime_nsec())
    }

    pub(crate) fn read(store: &Inner, key: &ImageKey) -> Result<Option<Self>, Error> {
        let record: Option<Self> = read(&store.images_dir().join(file_name(key)))?;
        Ok(record.filter(|record| record.key == *key))
    }

    pub(crate) fn write(&self, store: &Inner) -> Result<(), Error> {
        write(store, &store.images_dir().join(file_name(&self.key)), self)
    }
}

fn file_name(key: &ImageKey) -> String {
    format!("{}.json", key.file_name())
}

/// What a release image was resolved to, so that a restart needs no registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedRelease {
    /// The release image as the admin wrote it.
    pub pullspec: String,
    /// The digest of its manifest or manifest list, `sha256:…`.
    pub digest: String,
    /// The version that the payload states.
    pub version: OpenshiftVersion,
    /// The architectures that it is for.
    pub arches: Vec<Arch>,
    /// The newest image that its pullspec has brought for each architecture.
    pub images: BTreeMap<Arch, ResolvedImage>,
}

/// An image that a release has brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// Which image it is.
    pub key: ImageKey,
    /// The digest that the release states of it.
    pub sha256: Sha256,
    /// The digest of the release that stated it; an older one than the record's until the newer image is there.
    pub release_digest: String,
}

impl ResolvedRelease {
    pub(crate) fn read(store: &Inner, pullspec: &str) -> Result<Option<Self>, Error> {
        let release: Option<Self> = read(&store.releases_dir().join(Self::file_name(pullspec)))?;
        Ok(release.filter(|release| release.pullspec == pullspec))
    }

    pub(crate) fn write(&self, store: &Inner) -> Result<(), Error> {
        write(store, &store.releases_dir().join(Self::file_name(&self.pullspec)), self)
    }

    fn file_name(pullspec: &str) -> String {
        let digest = Sha256::new(sha2::Sha256::digest(pullspec));
        format!("{digest}.json")
    }
}

/// Reads an entry. One that is damaged counts as absent: what it was about is proven or resolved again.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let json = match std::fs::read(path) {
        Ok(json) => json,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    match serde_json::from_slice(&json) {
        Ok(entry) => Ok(Some(entry)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "ignoring a damaged index entry");
            Ok(None)
        }
    }
}

fn write<T: Serialize>(store: &Inner, path: &Path, entry: &T) -> Result<(), Error> {
    let mut file = store.staging_file("json")?;
    serde_json::to_writer_pretty(&mut file, entry).map_err(|error| Error::io("write", path)(error.into()))?;
    file.rename(path)?;
    Ok(())
}
