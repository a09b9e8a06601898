//! What is published, what survives a restart, and what is never left behind or touched.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use coreos_names::{Arch, Sha256};
use image_store::{Error, Expected, ResolvedImage, ResolvedRelease};
use live_iso::Extent;
use tempfile::TempDir;

use crate::site::{STAGING, files, iso, key, open, publish, sha256};

#[test]
fn a_published_image_has_the_predecessors_name_and_survives_a_restart() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let lease = publish(&open(&directory), &iso);
    let path = directory.path().join("rhcos-full-iso-418.94.202511191518-0-x86_64.iso");
    assert_eq!(files(directory.path()), std::slice::from_ref(&path));
    assert_eq!(fs::read(path).unwrap(), iso);

    let found = open(&directory).find(&key(), Expected::Release(sha256(&iso))).unwrap().expect("the image");
    assert_eq!((found.key(), found.sha256()), (lease.key(), lease.sha256()));
    assert_eq!(found.layout().rootfs(), lease.layout().rootfs());
}

#[test]
fn an_image_with_a_wrong_digest_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let mut staging = store.stage().unwrap();
    staging.write_all(&iso()).unwrap();
    let expected = sha256(b"another image");
    let Err(Error::WrongDigest { expected: stated, .. }) = staging.seal(Expected::Release(expected)) else {
        panic!("sealed")
    };
    assert_eq!(stated, expected);
    assert_eq!(files(directory.path()), [] as [PathBuf; 0]);
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn proven_bytes_that_are_no_live_iso_leave_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let mut staging = open(&directory).stage().unwrap();
    staging.write_all(b"not an ISO").unwrap();
    assert!(matches!(staging.seal(Expected::Release(sha256(b"not an ISO"))), Err(Error::Layout(_))));
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn a_published_image_is_never_replaced_by_another_one() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    publish(&store, &iso);
    publish(&store, &iso);
    let mut other = iso.clone();
    *other.last_mut().unwrap() ^= 1;
    let mut staging = store.stage().unwrap();
    staging.write_all(&other).unwrap();
    let sealed = staging.seal(Expected::Release(sha256(&other))).unwrap();
    assert!(matches!(sealed.publish(key()), Err(Error::Conflict { .. })));
    assert_eq!(
        store.find(&key(), Expected::Release(sha256(&iso))).unwrap().expect("the first").sha256(),
        sha256(&iso)
    );
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn a_start_removes_what_a_crash_left_and_nothing_that_is_alive() {
    let directory = TempDir::new().unwrap();
    let running = open(&directory);
    let mut alive = running.stage().unwrap();
    alive.write_all(b"half an image").unwrap();
    let crashed = ["iso", "json", "nmstate"].map(|extension| {
        directory.path().join(STAGING).join(format!("0123456789abcdef0123456789abcdef-0.{extension}"))
    });
    for path in &crashed {
        fs::write(path, b"half an image").unwrap();
    }
    let staged_by_nobody = directory.path().join(STAGING).join("notes.iso");
    for path in [&staged_by_nobody, &directory.path().join("notes.txt")] {
        fs::write(path, b"the admin's").unwrap();
    }

    open(&directory);
    assert!(crashed.iter().all(|path| !path.exists()));
    fs::remove_file(staged_by_nobody).expect("it is still there");
    assert_eq!(files(&directory.path().join(STAGING)).len(), 1, "the living one");
    assert_eq!(files(directory.path()), [directory.path().join("notes.txt")]);
    drop(alive);
    assert_eq!(files(&directory.path().join(STAGING)), [] as [PathBuf; 0]);
}

#[test]
fn a_file_that_was_touched_is_proven_again() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let digest = publish(&open(&directory), &iso).sha256();
    let path = directory.path().join(key().file_name());

    fs::write(&path, &iso).unwrap();
    let store = open(&directory);
    assert!(
        store.find(&key(), Expected::Release(digest)).unwrap().is_some(),
        "the same bytes, written again"
    );

    let mut tampered = iso;
    tampered[100_000] ^= 1;
    fs::write(&path, tampered).unwrap();
    assert!(store.find(&key(), Expected::Release(digest)).unwrap().is_none(), "one bit is wrong");

    fs::remove_file(&path).unwrap();
    assert!(store.find(&key(), Expected::Release(digest)).unwrap().is_none(), "it is gone");
}

#[tokio::test]
async fn a_leased_image_stays_readable_after_its_file_is_gone() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let lease = publish(&open(&directory), &iso);
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
            ResolvedImage {
                key: key(),
                sha256: sha256(b"the ISO"),
                release_digest: "sha256:ab".to_owned(),
                verified_by: [sha256(b"keyring")].into(),
            },
        )]
        .into(),
    };
    open(&directory).record_release(&release).unwrap();
    let store = open(&directory);
    assert_eq!(store.resolved_release(&release.pullspec).unwrap(), Some(release.clone()));
    assert_eq!(store.resolved_release("quay.io/other:1").unwrap(), None);

    let entry = files(&directory.path().join(".coreos-image-service/v1/releases")).remove(0);
    File::create(entry).unwrap().write_all(b"{ half an ent").unwrap();
    assert_eq!(store.resolved_release(&release.pullspec).unwrap(), None, "a damaged entry counts as absent");
}

#[test]
fn an_index_from_before_there_were_signatures_is_read() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let lease = publish(&open(&directory), &iso);
    let keyring = sha256(b"keyring");
    let unverified = |keyrings: &[Sha256]| {
        open(&directory).unverified(&keyrings.iter().copied().collect()).unwrap().contains(&key())
    };
    assert!(!unverified(&[]) && unverified(&[keyring]));
    let store = open(&directory);
    store.note_verified(&key(), sha256(b"another image"), &[keyring].into()).unwrap();
    assert!(unverified(&[keyring]));
    store.note_verified(&key(), lease.sha256(), &[keyring].into()).unwrap();
    assert!(!unverified(&[keyring]) && unverified(&[keyring, sha256(b"another")]));
    assert!(store.find_known(&key(), Expected::Release(lease.sha256())).unwrap().is_some());

    let entries = directory.path().join(".coreos-image-service/v1/releases");
    let pullspec = "quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64";
    let image = ResolvedImage {
        key: key(),
        sha256: lease.sha256(),
        release_digest: "sha256:ab".to_owned(),
        verified_by: [].into(),
    };
    let release = ResolvedRelease {
        pullspec: pullspec.to_owned(),
        digest: "sha256:ab".to_owned(),
        version: "4.18.52".parse().unwrap(),
        arches: vec![Arch::X86_64],
        images: [(Arch::X86_64, image)].into(),
    };
    store.record_release(&release).unwrap();
    let text = fs::read_to_string(files(&entries).remove(0)).unwrap();
    assert!(!text.contains("verified_by"), "{text}");
    assert_eq!(store.resolved_release(pullspec).unwrap(), Some(release));
}
