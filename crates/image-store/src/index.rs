//! The index: what was proven of each image file, and what each release image was resolved to.
//!
//! With it a start serves without asking anybody. An entry never makes a file trusted by its name alone: size and
//! modification time must be the recorded ones, or the file is hashed again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coreos_names::{Arch, OpenshiftVersion, Sha256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::error::Error;
use crate::key::ImageKey;
use crate::proof::Proof;
use crate::staging_file;
use crate::store::Inner;

/// What is known of an image file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    pub(crate) key: ImageKey,
    pub(crate) sha256: Sha256,
    pub(crate) proof: Proof,
    /// Whether this service wrote the file. Any other is served, but never replaced.
    #[serde(default)]
    pub(crate) is_published: bool,
    /// The file's name, where it is not the key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file_name: Option<String>,
    /// The highest OpenShift version that wanted the image when that was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) openshift_version: Option<OpenshiftVersion>,
    /// Present while nobody wants the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unwanted: Option<Unwanted>,
    stamp: Stamp,
    /// The file of ours that this one takes the place of. Present only until it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<Stamp>,
}

/// For how long nobody has wanted an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unwanted {
    /// Seconds counted so far.
    pub(crate) seconds: u64,
    /// When that was, in seconds since 1970.
    pub(crate) counted_at: u64,
}

/// What a file looks like from outside. A change of its bytes changes this too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
        }
    }
}

impl ImageRecord {
    /// Of a file that this service has written.
    pub(crate) fn published(key: ImageKey, sha256: Sha256, proof: Proof, metadata: &Metadata) -> Self {
        let stamp = Stamp::of(metadata);
        let (file_name, openshift_version, unwanted) = (None, None, None);
        let (is_published, replaces) = (true, None);
        Self { key, sha256, proof, is_published, file_name, openshift_version, unwanted, stamp, replaces }
    }

    /// The same while another file of ours still has the name. If the process ends before the file got it, the other is
    /// known as ours all the same, and as one that is not what was proven.
    pub(crate) fn replacing(&self, other: &Metadata) -> Self {
        Self { replaces: Some(Stamp::of(other)), ..self.clone() }
    }

    /// Of the file of this name that was there before.
    pub(crate) fn adopted(
        key: ImageKey,
        file_name: &str,
        sha256: Sha256,
        proof: Proof,
        metadata: &Metadata,
    ) -> Self {
        let file_name = (file_name != key.file_name()).then(|| file_name.to_owned());
        Self { is_published: false, file_name, ..Self::published(key, sha256, proof, metadata) }
    }

    pub(crate) fn file_name(&self) -> String {
        self.file_name.clone().unwrap_or_else(|| self.key.file_name())
    }

    /// Where the file is.
    pub(crate) fn path(&self, store: &Inner) -> PathBuf {
        store.data_dir.join(self.file_name())
    }

    /// Whether the file can still be the one that was proven. On some file systems a file has another inode after
    /// every mount, so that does not count.
    pub(crate) fn describes(&self, metadata: &Metadata) -> bool {
        let now = Stamp { inode: self.stamp.inode, ..Stamp::of(metadata) };
        self.stamp == now
    }

    /// Whether it is the file that this service wrote, be it damaged. One that somebody put in its place is not.
    pub(crate) fn is_of_ours(&self, metadata: &Metadata) -> bool {
        let is_replaced = self.replaces.is_some_and(|stamp| stamp.inode == metadata.ino());
        self.is_published && (self.stamp.inode == metadata.ino() || self.describes(metadata) || is_replaced)
    }

    /// Whether the file may go when nobody wants it: this service wrote it, or took it over for an entry of the
    /// configuration, which [`crate::ImageStore::retire`] has noted.
    pub(crate) fn may_be_removed(&self) -> bool {
        self.is_published || self.openshift_version.is_some()
    }

    /// The same bytes, looked at again.
    pub(crate) fn restamp(&mut self, metadata: &Metadata) {
        self.stamp = Stamp::of(metadata);
        self.replaces = None;
    }

    pub(crate) fn read(store: &Inner, key: &ImageKey) -> Result<Option<Self>, Error> {
        let record: Option<Self> = read(&Self::index_path(store, key))?;
        // A name that the key cannot have would lead out of the data directory.
        Ok(record.filter(|record| record.key == *key && key.is_named_by(&record.file_name())))
    }

    /// Every record.
    pub(crate) fn all(store: &Inner) -> Result<Vec<Self>, Error> {
        let mut records = Vec::new();
        for path in store.list(&store.images_dir())? {
            let record: Option<Self> = read(&path)?;
            if let Some(record) = record
                && Self::index_path(store, &record.key) == path
                && record.key.is_named_by(&record.file_name())
            {
                records.push(record);
            }
        }
        Ok(records)
    }

    pub(crate) fn write(&self, store: &Inner) -> Result<(), Error> {
        write(store, &Self::index_path(store, &self.key), self)
    }

    pub(crate) fn remove(&self, store: &Inner) -> Result<(), Error> {
        staging_file::remove(&Self::index_path(store, &self.key))
    }

    fn index_path(store: &Inner, key: &ImageKey) -> PathBuf {
        store.images_dir().join(format!("{}.json", key.file_name()))
    }
}

/// What a release image was resolved to, so that a restart needs no registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedRelease {
    /// The release image as the admin wrote it, and what else tells its entry from others.
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

    /// Removes the records of release images that are not in `wanted` and whose images are all gone: what is still
    /// served may be wanted again, and then without a network.
    pub(crate) fn remove_unwanted(
        store: &Inner,
        wanted: &BTreeSet<String>,
        images: &[ImageRecord],
    ) -> Result<(), Error> {
        for path in store.list(&store.releases_dir())? {
            let is_needed = |release: Self| {
                let has_image = |image: &ResolvedImage| images.iter().any(|record| record.key == image.key);
                wanted.contains(&release.pullspec) || release.images.values().any(has_image)
            };
            if !read(&path)?.is_some_and(is_needed) {
                staging_file::remove(&path)?;
            }
        }
        Ok(())
    }

    fn file_name(pullspec: &str) -> String {
        let digest = Sha256::new(sha2::Sha256::digest(pullspec));
        format!("{digest}.json")
    }
}

/// Reads an entry, if there is one. One that is damaged counts as absent: what it was about is proven or resolved again.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
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

pub(crate) fn write<T: Serialize>(store: &Inner, path: &Path, entry: &T) -> Result<(), Error> {
    let mut file = store.staging_file("json")?;
    serde_json::to_writer_pretty(&mut file, entry).map_err(|error| Error::io("write", path)(error.into()))?;
    file.rename(path)?;
    Ok(())
}
