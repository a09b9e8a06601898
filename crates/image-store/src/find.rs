//! Finding an image that is there, whoever put it there.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use coreos_names::{Sha256, WithCauses};
use live_iso::Layout;

use crate::error::Error;
use crate::image::Lease;
use crate::index::{ImageRecord, Stamp};
use crate::key::ImageKey;
use crate::proof::{Expected, Proof};
use crate::staging;
use crate::store::{IndexLock, Inner};

/// A file that may be an image.
struct Candidate {
    file_name: String,
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// What is known of it, true or not.
    record: Option<ImageRecord>,
}

/// What a file turned out to be.
enum Verdict {
    Image(Lease),
    /// It was written by this service, and is to be replaced.
    Replace,
    /// Somebody has put another file in its place meanwhile.
    Changed,
    /// It is another image, or none.
    Another {
        sha256: Option<Sha256>,
        source: Option<live_iso::Error>,
    },
}

impl Inner {
    /// `lock` is what the caller has locked the index with; without one it is locked for changes only.
    pub(crate) fn find(
        &self,
        key: &ImageKey,
        expected: Expected,
        lock: Option<&IndexLock>,
    ) -> Result<Option<Lease>, Error> {
        let record = ImageRecord::read(self, key)?;
        if let Some(candidate) = self.candidate(key.file_name(), record.as_ref())? {
            match self.judge(&candidate, key, expected, lock)? {
                Verdict::Image(lease) => return Ok(Some(lease)),
                Verdict::Replace => return Ok(None),
                Verdict::Changed => return self.find(key, expected, lock),
                Verdict::Another { sha256, source } => match (candidate.record, expected.sha256()) {
                    (Some(record), Some(new))
                        if sha256 == Some(record.sha256)
                            && (record.is_published || record.proof == Proof::Digest) =>
                    {
                        return Err(Error::Conflict { key: key.clone(), published: record.sha256, new });
                    }
                    _ => tracing::warn!(
                        path = %candidate.path.display(), image.key = %key, reason = reason(source),
                        "the file has the image's name but is not the image; it is moved aside when the image is there"
                    ),
                },
            }
        }
        for path in self.list(&self.data_dir)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if !key.is_named_by(name) || name == key.file_name() {
                continue;
            }
            let Some(candidate) = self.candidate(name.to_owned(), record.as_ref())? else { continue };
            match self.judge(&candidate, key, expected, lock)? {
                Verdict::Image(lease) => return Ok(Some(lease)),
                Verdict::Replace => {}
                Verdict::Changed => return self.find(key, expected, lock),
                Verdict::Another { source, .. } => {
                    tracing::warn!(path = %path.display(), image.key = %key, reason = reason(source), "the file has the image's name but is not the image; it is left alone");
                }
            }
        }
        Ok(None)
    }

    /// Whether the image's file is there as it was recorded.
    pub(crate) fn is_recorded(&self, key: &ImageKey) -> Result<bool, Error> {
        let record = ImageRecord::read(self, key)?;
        let is_untouched = |record: ImageRecord| {
            record.path(self).metadata().is_ok_and(|metadata| record.describes(&metadata))
        };
        Ok(record.is_some_and(is_untouched))
    }

    /// Whether the file at `path`, if any, was written by this service.
    pub(crate) fn is_ours(&self, key: &ImageKey, path: &Path) -> Result<bool, Error> {
        let record = ImageRecord::read(self, key)?;
        Ok(record.is_some_and(|record| path.metadata().is_ok_and(|metadata| record.is_of_ours(&metadata))))
    }

    /// Opens the file that a record is about, if its bytes are still the recorded ones.
    pub(crate) fn open_recorded(&self, record: &ImageRecord) -> Result<Option<Lease>, Error> {
        let Some(Candidate { file, metadata, .. }) = self.recorded(record)? else { return Ok(None) };
        let layout = Layout::read(&file).map_err(Error::Layout)?;
        Ok(Some(self.lease(record, layout, file, &metadata)))
    }

    /// Whether there is a file with the bytes that a record is about.
    pub(crate) fn has_recorded_bytes(&self, record: &ImageRecord) -> Result<bool, Error> {
        Ok(self.recorded(record)?.is_some())
    }

    fn recorded(&self, record: &ImageRecord) -> Result<Option<Candidate>, Error> {
        let Some(candidate) = self.candidate(record.file_name(), Some(record))? else { return Ok(None) };
        Ok((self.digest_of(&candidate)? == record.sha256).then_some(candidate))
    }

    fn candidate(&self, file_name: String, record: Option<&ImageRecord>) -> Result<Option<Candidate>, Error> {
        let path = self.data_dir.join(&file_name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let metadata = file.metadata().map_err(Error::io("read", &path))?;
        let record = record.filter(|record| record.file_name() == file_name).cloned();
        Ok(Some(Candidate { file_name, path, file, metadata, record }))
    }

    fn judge(
        &self,
        candidate: &Candidate,
        key: &ImageKey,
        expected: Expected,
        lock: Option<&IndexLock>,
    ) -> Result<Verdict, Error> {
        let Candidate { path, file, metadata, record, .. } = candidate;
        let is_of_ours = record.as_ref().is_some_and(|record| record.is_of_ours(metadata));
        // Cheaper than hashing what cannot be served anyway.
        if expected == Expected::Structure
            && !is_of_ours
            && let Err(error) = Layout::read(file)
        {
            return Ok(Verdict::Another { sha256: None, source: Some(error) });
        }
        let actual = self.digest_of(candidate)?;
        let proven = record.as_ref().filter(|record| record.sha256 == actual);
        if proven.is_none() && is_of_ours && expected.sha256() != Some(actual) {
            tracing::warn!(path = %path.display(), "the file is not the one that was proven; it is not served");
            return Ok(Verdict::Replace);
        }
        if expected.sha256().is_some_and(|stated| stated != actual) {
            let replaced = matches!(expected, Expected::Admin(_))
                && is_of_ours
                && record.as_ref().is_some_and(|record| record.proof < Proof::Digest);
            if replaced {
                tracing::info!(path = %path.display(), "another SHA-256 is configured for the image; it is to be replaced");
                return Ok(Verdict::Replace);
            }
            return Ok(Verdict::Another { sha256: Some(actual), source: None });
        }
        let layout = Layout::read(file).map_err(Error::Layout)?;
        let Some(new) = self.note(candidate, key, actual, expected, lock)? else {
            return Ok(Verdict::Changed);
        };
        let file = file.try_clone().map_err(Error::io("open", path))?;
        Ok(Verdict::Image(self.lease(&new, layout, file, metadata)))
    }

    /// Records what a file was found to be, beside what is known of it. `None` if it no longer has its name.
    ///
    /// Hashing takes minutes, in which others may have changed the record or the file: what counts is what is there while
    /// the index is locked.
    fn note(
        &self,
        candidate: &Candidate,
        key: &ImageKey,
        actual: Sha256,
        expected: Expected,
        lock: Option<&IndexLock>,
    ) -> Result<Option<ImageRecord>, Error> {
        let Candidate { file_name, path, metadata, record, .. } = candidate;
        let updated = |record: Option<&ImageRecord>| {
            let mut new = match record.filter(|record| record.sha256 == actual) {
                Some(record) => record.clone(),
                None => ImageRecord::adopted(key.clone(), file_name, actual, expected.proof(), metadata),
            };
            new.proof = new.proof.max(expected.proof());
            new.restamp(metadata);
            new
        };
        let new = updated(record.as_ref());
        if record.as_ref() == Some(&new) {
            return Ok(Some(new));
        }
        let _lock = if lock.is_none() { Some(self.lock_index()?) } else { None };
        if !path.metadata().is_ok_and(|now| Stamp::of(&now) == Stamp::of(metadata)) {
            return Ok(None);
        }
        let current = ImageRecord::read(self, key)?;
        let new = updated(current.as_ref().filter(|record| record.file_name() == *file_name));
        if current.as_ref() != Some(&new) {
            new.write(self)?;
        }
        Ok(Some(new))
    }

    /// The SHA-256 of a file: the recorded one, if it was not touched since.
    fn digest_of(&self, candidate: &Candidate) -> Result<Sha256, Error> {
        let Candidate { path, file, metadata, record, .. } = candidate;
        match record {
            Some(record) if record.describes(metadata) => Ok(record.sha256),
            _ => self.hashed.digest_of(path, file, metadata).map_err(Error::io("read", path)),
        }
    }
}

/// Why a file is not the image.
fn reason(source: Option<live_iso::Error>) -> String {
    source.map_or_else(|| "its SHA-256 is another one".to_owned(), |error| WithCauses(&error).to_string())
}

/// What files without a record were hashed to, so that one that turned out to be another image is not read again with
/// every attempt.
#[derive(Debug, Default)]
pub(crate) struct Hashed(Mutex<BTreeMap<PathBuf, (Stamp, Sha256)>>);

impl Hashed {
    fn digest_of(&self, path: &Path, file: &File, metadata: &Metadata) -> io::Result<Sha256> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(metadata);
        if let Some((of, sha256)) = known().get(path)
            && *of == stamp
        {
            return Ok(*sha256);
        }
        let sha256 = staging::sha256(file)?;
        known().insert(path.to_owned(), (stamp, sha256));
        Ok(sha256)
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use std::fs;
    use std::io::Write as _;

    use coreos_names::{Arch, ImageKind};
    use test_support::fixtures::live_iso;

    use super::*;
    use crate::{ImageStore, Limits};

    fn site() -> (tempfile::TempDir, ImageStore, ImageKey, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let store = ImageStore::open(directory.path(), Limits::default()).unwrap();
        let os_build = "418.94.1-0".parse().unwrap();
        let key = ImageKey { os_build, arch: Arch::X86_64, kind: ImageKind::Full };
        (directory, store, key, fs::read(live_iso(Arch::X86_64)).unwrap())
    }

    fn publish(store: &ImageStore, key: &ImageKey, iso: &[u8]) -> Lease {
        let mut staging = store.stage().unwrap();
        staging.write_all(iso).unwrap();
        staging.seal(Expected::Structure).unwrap().publish(key.clone()).unwrap()
    }

    #[test]
    fn what_others_have_recorded_meanwhile_is_kept() {
        let (_directory, store, key, iso) = site();
        let sha256 = publish(&store, &key, &iso).sha256();
        let inner = &store.0;
        let record = ImageRecord::read(inner, &key).unwrap();
        let stale = inner.candidate(key.file_name(), record.as_ref()).unwrap().unwrap();
        let mut changed = record.unwrap();
        changed.openshift_version = Some("4.18".parse().unwrap());
        changed.write(inner).unwrap();

        let expected = Expected::Release(sha256);
        let noted = inner.note(&stale, &key, sha256, expected, None).unwrap().unwrap();
        assert_eq!((noted.proof, noted.is_published), (Proof::Digest, true));
        assert_eq!(noted.openshift_version, changed.openshift_version);
        assert_eq!(ImageRecord::read(inner, &key).unwrap(), Some(noted.clone()));

        // And nothing is said of a file that has lost its name.
        let path = inner.image_path(&key);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"another").unwrap();
        let mut other = iso;
        *other.last_mut().unwrap() ^= 1;
        let of_other = Sha256::new(sha2::Sha256::digest(&other));
        assert!(inner.note(&stale, &key, of_other, Expected::Structure, None).unwrap().is_none());
        assert_eq!(ImageRecord::read(inner, &key).unwrap(), Some(noted));
    }

    #[test]
    fn a_file_of_ours_stays_ours_if_the_process_ends_while_it_is_replaced() {
        let (directory, store, key, iso) = site();
        publish(&store, &key, &iso);
        let (inner, path) = (&store.0, store.0.image_path(&key));
        let old = path.metadata().unwrap();
        // The record was written, and the new file never got its name.
        let new = directory.path().join("new");
        fs::write(&new, b"another").unwrap();
        let digest = Sha256::new(sha2::Sha256::digest(b"another"));
        let proof = Proof::AdminSha256;
        let record = ImageRecord::published(key.clone(), digest, proof, &new.metadata().unwrap());
        record.replacing(&old).write(inner).unwrap();
        assert!(inner.is_ours(&key, &path).unwrap());
        assert!(store.find(&key, Expected::Admin(digest)).unwrap().is_none());
        publish(&store, &key, &iso);
        fs::remove_file(new).unwrap();
        assert_eq!(inner.list(directory.path()).unwrap(), [path], "nothing is moved aside");
    }
}
