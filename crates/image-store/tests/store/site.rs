//! A data directory and an image to put into it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use coreos_names::{Arch, ImageKind, Sha256};
use image_store::{Expected, ImageKey, ImageStore, Lease, Limits};
use sha2::Digest;
use tempfile::TempDir;
use test_support::fixtures::live_iso;

pub(crate) const STAGING: &str = ".coreos-image-service/v1/staging";

pub(crate) fn iso() -> Vec<u8> {
    fs::read(live_iso(Arch::X86_64)).unwrap()
}

/// An ISO that differs where nobody looks.
pub(crate) fn other_iso() -> Vec<u8> {
    let mut other = iso();
    *other.last_mut().unwrap() ^= 1;
    other
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes))
}

pub(crate) fn key() -> ImageKey {
    key_of("418.94.202511191518-0")
}

pub(crate) fn key_of(os_build: &str) -> ImageKey {
    ImageKey { os_build: os_build.parse().unwrap(), arch: Arch::X86_64, kind: ImageKind::Full }
}

pub(crate) fn open(directory: &TempDir) -> ImageStore {
    ImageStore::open(directory.path(), Limits::default()).unwrap()
}

/// Publishes an image as one from a release.
pub(crate) fn publish(store: &ImageStore, iso: &[u8]) -> Lease {
    publish_as(store, iso, Expected::Release(sha256(iso)), &key())
}

pub(crate) fn publish_as(store: &ImageStore, iso: &[u8], expected: Expected, key: &ImageKey) -> Lease {
    let mut staging = store.stage().unwrap();
    staging.reserve(iso.len() as u64).unwrap();
    staging.write_all(iso).unwrap();
    staging.seal(expected).unwrap().publish(key.clone()).unwrap()
}

pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// The names of the files on their way.
pub(crate) fn unfinished(directory: &Path) -> Vec<String> {
    let files = files(&directory.join(STAGING));
    files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}
