//! What the predecessor left in the data directory.

use std::fs::{self, File};
use std::io::Write;

use image_store::{Expected, Proof};
use tempfile::TempDir;

use crate::site::{files, iso, key, open, publish_as, sha256};

#[test]
fn a_file_of_the_predecessor_is_taken_over_if_it_is_the_image_and_moved_aside_if_not() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    let path = directory.path().join(key().file_name());
    fs::write(&path, &iso).unwrap();
    assert!(store.find(&key(), Expected::Release(sha256(&iso))).unwrap().is_some());

    fs::remove_dir_all(directory.path().join(".coreos-image-service")).unwrap();
    let store = open(&directory);
    fs::write(&path, b"the admin's").unwrap();
    assert!(store.find(&key(), Expected::Release(sha256(&iso))).unwrap().is_none());
    assert_eq!(files(directory.path()), [path.as_path()], "nothing is touched before the image is there");
    publish_as(&store, &iso, Expected::Release(sha256(&iso)), &key());
    assert_aside(&directory, &iso, &[b"the admin's"]);
}

/// The image is there under its name, and beside it these files under names that say what they are.
fn assert_aside(directory: &TempDir, image: &[u8], aside: &[&[u8]]) {
    let mut there = files(directory.path());
    assert_eq!(there.len(), 1 + aside.len(), "{there:?}");
    assert!(fs::read(there.remove(0)).unwrap() == image);
    for (path, content) in there.iter().zip(aside) {
        let seconds = path.to_str().unwrap().rsplit_once(".iso.unusable-").expect("the name").1;
        assert!(seconds.parse::<u64>().is_ok(), "{seconds}");
        assert!(fs::read(path).unwrap() == *content, "{}", path.display());
    }
}

const NAMES: [&str; 2] = [
    "rhcos-full-iso-418.94.202511191518-0-x86_64.iso",
    "rhcos-full-iso-4.18-418.94.202511191518-0-x86_64.iso",
];

#[test]
fn its_images_are_served_where_they_lie() {
    let iso = iso();
    for name in NAMES {
        for (expected, proof) in [
            (Expected::Structure, Proof::StructureOnly),
            (Expected::Admin(sha256(&iso)), Proof::AdminSha256),
            (Expected::Release(sha256(&iso)), Proof::Digest),
        ] {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join(name);
            fs::write(&path, &iso).unwrap();
            for _start in 0..2 {
                let lease = open(&directory).find(&key(), expected).unwrap().expect("the image");
                assert_eq!((lease.sha256(), lease.proof()), (sha256(&iso), proof), "{name}");
            }
            assert_eq!(files(directory.path()), [path]);
        }
    }
}

#[test]
fn its_images_are_known_only_once_they_were_found() {
    for name in NAMES {
        let (directory, iso) = (TempDir::new().unwrap(), iso());
        let path = directory.path().join(name);
        fs::write(&path, &iso).unwrap();
        let store = open(&directory);
        assert!(store.find_known(&key(), Expected::Structure).unwrap().is_none());
        let found = store.find(&key(), Expected::Structure).unwrap().expect("the image");
        let known = open(&directory).find_known(&key(), Expected::Structure).unwrap().expect("the image");
        assert_eq!(known.sha256(), found.sha256());

        File::options().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        assert!(store.find_known(&key(), Expected::Structure).unwrap().is_none());
        fs::remove_file(&path).unwrap();
        assert!(store.find_known(&key(), Expected::Structure).unwrap().is_none());
    }
}

#[test]
fn its_images_are_hashed_once() {
    for name in NAMES {
        let (directory, mut iso) = (TempDir::new().unwrap(), iso());
        let (path, digest) = (directory.path().join(name), sha256(&iso));
        fs::write(&path, &iso).unwrap();
        open(&directory).find(&key(), Expected::Structure).unwrap().expect("the image");

        // Nobody who looks at the file from outside can tell.
        let modified = path.metadata().unwrap().modified().unwrap();
        *iso.last_mut().unwrap() ^= 1;
        let mut file = File::create(&path).unwrap();
        file.write_all(&iso).unwrap();
        file.set_modified(modified).unwrap();
        let found = open(&directory).find(&key(), Expected::Structure).unwrap().expect("the image");
        assert_eq!(found.sha256(), digest, "{name}");
    }
}

#[test]
fn an_image_of_another_build_or_kind_is_none_of_ours() {
    let directory = TempDir::new().unwrap();
    for name in [
        "rhcos-full-iso-4.18-418.94.202511191518-1-x86_64.iso",
        "rhcos-minimal-iso-4.18-418.94.202511191518-0-x86_64.iso",
        "rhcos-full-iso-4.18-418.94.202511191518-0-s390x.iso",
    ] {
        fs::write(directory.path().join(name), iso()).unwrap();
    }
    assert!(open(&directory).find(&key(), Expected::Structure).unwrap().is_none());
}

#[test]
fn what_has_an_older_name_and_is_not_the_image_is_passed_over() {
    let iso = iso();
    for (theirs, expected) in
        [(&iso[..], Expected::Release(sha256(b"another"))), (b"half an ISO", Expected::Structure)]
    {
        let directory = TempDir::new().unwrap();
        let store = open(&directory);
        let path = directory.path().join(NAMES[1]);
        fs::write(&path, theirs).unwrap();
        assert!(store.find(&key(), expected).unwrap().is_none());
        assert_eq!(fs::read(path).unwrap(), theirs);
    }

    let (directory, other) = (TempDir::new().unwrap(), crate::site::other_iso());
    fs::write(directory.path().join(NAMES[1]), &iso).unwrap();
    let lease = publish_as(&open(&directory), &other, Expected::Release(sha256(&other)), &key());
    assert_eq!(lease.sha256(), sha256(&other));
    assert_eq!(fs::read(directory.path().join(NAMES[0])).unwrap(), other);
    assert_eq!(fs::read(directory.path().join(NAMES[1])).unwrap(), iso);
}

#[test]
fn half_an_image_is_moved_aside() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let half = &iso[..iso.len() / 2];
    let store = open(&directory);
    for _ in 0..2 {
        // Also twice within a second.
        fs::write(directory.path().join("theirs"), half).unwrap();
        fs::rename(directory.path().join("theirs"), directory.path().join(NAMES[0])).unwrap();
        assert!(store.find(&key(), Expected::Structure).unwrap().is_none());
        publish_as(&store, &iso, Expected::Structure, &key());
    }
    assert_aside(&directory, &iso, &[half, half]);
}

#[test]
fn an_image_that_was_adopted_is_not_lost_when_another_is_wanted() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let path = directory.path().join(NAMES[0]);
    fs::write(&path, &iso).unwrap();
    let store = open(&directory);
    store.find(&key(), Expected::Structure).unwrap().expect("the image");
    let other = crate::site::other_iso();
    let expected = Expected::Admin(sha256(&other));
    assert!(store.find(&key(), expected).unwrap().is_none());
    publish_as(&store, &other, expected, &key());
    assert_aside(&directory, &other, &[&iso]);
}
