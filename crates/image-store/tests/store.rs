//! The data directory: what is published, what survives a restart, and what is never left behind or touched.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use coreos_names::{Arch, ImageKind, Sha256};
use image_store::{Error, ImageKey, ImageStore, Lease, ResolvedImage, ResolvedRelease};
use live_iso::Extent;
use sha2::Digest;
use tempfile::TempDir;
use test_support::fixtures::live_iso;

const STAGING: &str = ".coreos-image-service/v1/staging";

fn iso() -> Vec<u8> {
    fs::read(live_iso(Arch::X86_64)).unwrap()
}

fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes))
}

fn key() -> ImageKey {
    ImageKey { os_build: "418.94.202511191518-0".parse().unwrap(), arch: Arch::X86_64, kind: ImageKind::Full }
}

fn publish(store: &ImageStore, iso: &[u8]) -> Lease {
    let mut staging = store.stage().unwrap();
    staging.reserve(iso.len() as u64).unwrap();
    staging.write_all(iso).unwrap();
    staging.seal(sha256(iso)).unwrap().publish(key()).unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

#[test]
fn a_published_image_has_the_predecessors_name_and_survives_a_restart() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let lease = publish(&ImageStore::open(directory.path()).unwrap(), &iso);
    let path = directory.path().join("rhcos-full-iso-418.94.202511191518-0-x86_64.iso");
    assert_eq!(files(directory.path()), std::slice::from_ref(&path));
    assert_eq!(fs::read(path).unwrap(), iso);

    let found =
        ImageStore::open(directory.path()).unwrap().find(&key(), sha256(&iso)).unwrap().expect("the image");
    assert_eq!((found.key(), found.sha256()), (lease.key(), lease.sha256()));
    assert_eq!(found.layout().rootfs(), lease.layout().rootfs());
}

#[test]
fn an_image_with_a_wrong_digest_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let store = ImageStore::open(directory.path()).unwrap();
    let mut staging = store.stage().unwrap();
    staging.write_all(&iso()).unwrap();
    let expected = sha256(b"another image");
    let Err(Error::WrongDigest { expected: stated, .. }) = staging.seal(expected) else { panic!("sealed") };
    assert_eq!(stated, expected);
    assert_eq!(files(directory.path()), [] as [PathBuf; 0]);
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn proven_bytes_that_are_no_live_iso_leave_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let mut staging = ImageStore::open(directory.path()).unwrap().stage().unwrap();
    staging.write_all(b"not an ISO").unwrap();
    assert!(matches!(staging.seal(sha256(b"not an ISO")), Err(Error::Layout(_))));
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn a_published_image_is_never_replaced_by_another_one() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = ImageStore::open(directory.path()).unwrap();
    publish(&store, &iso);
    publish(&store, &iso);
    let mut other = iso.clone();
    *other.last_mut().unwrap() ^= 1;
    let mut staging = store.stage().unwrap();
    staging.write_all(&other).unwrap();
    let sealed = staging.seal(sha256(&other)).unwrap();
    assert!(matches!(sealed.publish(key()), Err(Error::Conflict { .. })));
    assert_eq!(store.find(&key(), sha256(&iso)).unwrap().expect("the first").sha256(), sha256(&iso));
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn a_file_of_the_predecessor_is_taken_over_if_it_is_the_image_and_left_alone_if_not() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = ImageStore::open(directory.path()).unwrap();
    let path = directory.path().join(key().file_name());
    fs::write(&path, &iso).unwrap();
    assert!(store.find(&key(), sha256(&iso)).unwrap().is_some());

    fs::remove_dir_all(directory.path().join(".coreos-image-service")).unwrap();
    let store = ImageStore::open(directory.path()).unwrap();
    fs::write(&path, b"the admin's").unwrap();
    assert!(matches!(store.find(&key(), sha256(&iso)), Err(Error::Occupied { .. })));
    let mut staging = store.stage().unwrap();
    staging.write_all(&iso).unwrap();
    assert!(matches!(staging.seal(sha256(&iso)).unwrap().publish(key()), Err(Error::Occupied { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"the admin's");
}

#[test]
fn a_start_removes_what_a_crash_left_and_nothing_that_is_alive() {
    let directory = TempDir::new().unwrap();
    let running = ImageStore::open(directory.path()).unwrap();
    let mut alive = running.stage().unwrap();
    alive.write_all(b"half an image").unwrap();
    let crashed = directory.path().join(STAGING).join("0123-0.iso");
    fs::write(&crashed, b"half an image").unwrap();
    fs::write(directory.path().join("notes.txt"), b"the admin's").unwrap();

    ImageStore::open(directory.path()).unwrap();
    assert!(!crashed.exists());
    assert_eq!(files(&directory.path().join(STAGING)).len(), 1, "the living one");
    assert_eq!(files(directory.path()), [directory.path().join("notes.txt")]);
    drop(alive);
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn a_file_that_was_touched_is_proven_again() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let digest = publish(&ImageStore::open(directory.path()).unwrap(), &iso).sha256();
    let path = directory.path().join(key().file_name());

    fs::write(&path, &iso).unwrap();
    let store = ImageStore::open(directory.path()).unwrap();
    assert!(store.find(&key(), digest).unwrap().is_some(), "the same bytes, written again");

    let mut tampered = iso;
    tampered[100_000] ^= 1;
    fs::write(&path, tampered).unwrap();
    assert!(store.find(&key(), digest).unwrap().is_none(), "one bit is wrong");

    fs::remove_file(&path).unwrap();
    assert!(store.find(&key(), digest).unwrap().is_none(), "it is gone");
}

#[test]
fn downloads_in_flight_reserve_their_space_together() {
    let directory = TempDir::new().unwrap();
    let store = ImageStore::open(directory.path()).unwrap();
    let file_system = rustix::fs::statvfs(directory.path()).unwrap();
    let most = file_system.f_bavail * file_system.f_frsize / 4 * 3;
    let mut first = store.stage().unwrap();
    first.reserve(most).unwrap();
    let mut second = store.stage().unwrap();
    let Err(Error::NoSpace { needed, available, .. }) = second.reserve(most) else {
        panic!("promised twice")
    };
    assert_eq!(needed, most);
    assert!(available < most);
    drop(first);
    second.reserve(most).unwrap();
}

#[tokio::test]
async fn a_leased_image_stays_readable_after_its_file_is_gone() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let lease = publish(&ImageStore::open(directory.path()).unwrap(), &iso);
    drop(directory);
    let bytes = lease.read(Extent { offset: 32_768, len: 300_000 }).await.unwrap();
    assert_eq!(bytes, iso[32_768..332_768]);
    let beyond = lease.read(Extent { offset: iso.len() as u64 - 1, len: 2 }).await;
    assert_eq!(beyond.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_a_release_was_resolved_to_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let release = ResolvedRelease {
        pullspec: "quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64".to_owned(),
        digest: format!("sha256:{}", "ab".repeat(32)),
        version: "4.18.52".parse().unwrap(),
        arches: vec![Arch::X86_64],
        images: [(
            Arch::X86_64,
            ResolvedImage { key: key(), sha256: sha256(b"the ISO"), release_digest: "sha256:ab".to_owned() },
        )]
        .into(),
    };
    ImageStore::open(directory.path()).unwrap().record_release(&release).unwrap();
    let store = ImageStore::open(directory.path()).unwrap();
    assert_eq!(store.resolved_release(&release.pullspec).unwrap(), Some(release.clone()));
    assert_eq!(store.resolved_release("quay.io/other:1").unwrap(), None);

    let entry = files(&directory.path().join(".coreos-image-service/v1/releases")).remove(0);
    File::create(entry).unwrap().write_all(b"{ half an ent").unwrap();
    assert_eq!(store.resolved_release(&release.pullspec).unwrap(), None, "a damaged entry counts as absent");
}
