//! How an image is known to be the right one, and what happens when two sources disagree.

use std::fs;
use std::io::Write;

use image_store::{Error, Expected, Proof};
use live_iso::Extent;
use tempfile::TempDir;

use crate::site::{files, iso, key, open, other_iso, publish, publish_as, sha256, unfinished};

#[test]
fn the_best_proof_that_was_ever_given_is_kept() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let digest = sha256(&iso);
    let lease = publish_as(&open(&directory), &iso, Expected::Structure, &key());
    assert_eq!((lease.proof(), lease.sha256()), (Proof::StructureOnly, digest));
    for (expected, proof) in [
        (Expected::Structure, Proof::StructureOnly),
        (Expected::Admin(digest), Proof::AdminSha256),
        (Expected::Structure, Proof::AdminSha256),
        (Expected::Release(digest), Proof::Digest),
        (Expected::Admin(digest), Proof::Digest),
        (Expected::Structure, Proof::Digest),
    ] {
        let found = open(&directory).find(&key(), expected).unwrap().expect("the image");
        assert_eq!((found.proof(), found.sha256()), (proof, digest), "{expected:?}");
    }
}

#[test]
fn without_a_digest_the_image_must_still_be_whole() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let mut staging = open(&directory).stage().unwrap();
    staging.write_all(&iso[..iso.len() - (4 << 20)]).unwrap();
    assert!(matches!(staging.seal(Expected::Structure), Err(Error::Layout(_))));
    assert_eq!(unfinished(directory.path()), [] as [String; 0]);
}

#[test]
fn without_a_digest_the_image_that_is_there_is_taken() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    publish(&store, &iso);
    let lease = publish_as(&store, &other_iso(), Expected::Structure, &key());
    assert_eq!((lease.sha256(), lease.proof()), (sha256(&iso), Proof::Digest));
    assert_eq!(unfinished(directory.path()), [] as [String; 0]);
}

#[tokio::test]
async fn another_digest_of_the_admin_replaces_our_image_and_leaves_its_readers_alone() {
    let (directory, old, new) = (TempDir::new().unwrap(), iso(), other_iso());
    let store = open(&directory);
    for first in [Expected::Structure, Expected::Admin(sha256(&old))] {
        let old_lease = publish_as(&store, &old, first, &key());
        let expected = Expected::Admin(sha256(&new));
        assert!(store.find(&key(), expected).unwrap().is_none(), "it is to be fetched");
        let path = directory.path().join(key().file_name());
        assert_eq!(fs::read(&path).unwrap(), old, "it is served until the other one is there");

        let new_lease = publish_as(&store, &new, expected, &key());
        assert_eq!((new_lease.sha256(), new_lease.proof()), (sha256(&new), Proof::AdminSha256));
        assert_eq!(fs::read(&path).unwrap(), new);
        let last = Extent { offset: old.len() as u64 - 1, len: 1 };
        assert_eq!(old_lease.read(last).await.unwrap(), old[old.len() - 1..]);
        assert_eq!(new_lease.read(last).await.unwrap(), new[new.len() - 1..]);
        assert_eq!(files(directory.path()), [path]);
        fs::remove_file(directory.path().join(key().file_name())).unwrap();
    }
}

#[test]
fn no_digest_of_the_admin_replaces_what_a_release_has_proven() {
    let (directory, iso, other) = (TempDir::new().unwrap(), iso(), other_iso());
    let store = open(&directory);
    publish(&store, &iso);
    let expected = Expected::Admin(sha256(&other));
    assert!(matches!(store.find(&key(), expected), Err(Error::Conflict { .. })));
    let mut staging = store.stage().unwrap();
    staging.write_all(&other).unwrap();
    assert!(matches!(staging.seal(expected).unwrap().publish(key()), Err(Error::Conflict { .. })));
    assert_eq!(fs::read(directory.path().join(key().file_name())).unwrap(), iso);
}

#[test]
fn a_release_replaces_nothing() {
    let (directory, iso, other) = (TempDir::new().unwrap(), iso(), other_iso());
    let store = open(&directory);
    publish_as(&store, &iso, Expected::Structure, &key());
    let expected = Expected::Release(sha256(&other));
    assert!(matches!(store.find(&key(), expected), Err(Error::Conflict { .. })));
}

#[test]
fn what_somebody_put_in_place_of_our_image_is_moved_aside() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    publish(&open(&directory), &iso);
    let path = directory.path().join(key().file_name());
    let theirs = directory.path().join("theirs");
    fs::write(&theirs, b"the admin's").unwrap();
    fs::rename(theirs, &path).unwrap();
    let store = open(&directory);
    for expected in
        [Expected::Release(sha256(&iso)), Expected::Admin(sha256(&other_iso())), Expected::Structure]
    {
        assert!(store.find(&key(), expected).unwrap().is_none(), "{expected:?}");
    }
    let mut staging = store.stage().unwrap();
    staging.write_all(&iso).unwrap();
    let sealed = staging.seal(Expected::Release(sha256(&iso))).unwrap();
    sealed.publish(key()).unwrap();
    assert!(fs::read(&path).unwrap() == iso);
    let [_, aside] = &files(directory.path())[..] else { panic!("two files") };
    assert_eq!(fs::read(aside).unwrap(), b"the admin's");
}
