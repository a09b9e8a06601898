//! Downloads that go on after a failure, a restart, a crash or a power loss, and never with bytes that nobody vouches for.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use image_store::{Error, Expected, ImageStore, Staging};
use tempfile::TempDir;

use crate::site::{STAGING, files, iso, key, open, sha256, unfinished};

const NAME: &str = "418.94.202511191518-0-x86_64";
const MIB: usize = 1 << 20;

fn part(directory: &TempDir) -> PathBuf {
    directory.path().join(STAGING).join(format!("{NAME}.part"))
}

fn journal(directory: &TempDir) -> PathBuf {
    directory.path().join(STAGING).join(format!("{NAME}.part.json"))
}

/// Begins the download and gets the first half of the image.
fn half(store: &ImageStore, iso: &[u8], validator: Option<&str>) -> Staging {
    let mut staging = store.stage_download(NAME).unwrap();
    staging.restart(validator).unwrap();
    staging.write_all(&iso[..iso.len() / 2]).unwrap();
    staging
}

/// What a process finds that starts after this one was killed now: the same files, and nobody who holds them.
fn killed(directory: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    fs::create_dir_all(copy.path().join(STAGING)).unwrap();
    for path in files(&directory.path().join(STAGING)) {
        fs::copy(&path, copy.path().join(STAGING).join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Gets the rest and publishes it with nothing but its structure to judge it by.
fn finish(mut staging: Staging, iso: &[u8]) {
    let written = usize::try_from(staging.written()).unwrap();
    staging.write_all(&iso[written..]).unwrap();
    let lease = staging.seal(Expected::Structure).unwrap().publish(key()).unwrap();
    assert_eq!(lease.sha256(), sha256(iso));
}

#[test]
fn the_next_attempt_goes_on_where_the_last_one_stopped() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    drop(half(&store, &iso, Some("\"v1\"")));
    let staging = store.stage_download(NAME).unwrap();
    assert_eq!((staging.written(), staging.validator()), (iso.len() as u64 / 2, Some("\"v1\"")));
    finish(staging, &iso);
    assert_eq!(fs::read(directory.path().join(key().file_name())).unwrap(), iso);
    assert_eq!(unfinished(directory.path()), [] as [String; 0]);
}

#[test]
fn the_next_process_goes_on_too() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    drop(half(&open(&directory), &iso, Some("\"v1\"")));
    let staging = open(&directory).stage_download(NAME).unwrap();
    assert_eq!(staging.written(), iso.len() as u64 / 2);
    finish(staging, &iso);
    assert_eq!(fs::read(directory.path().join(key().file_name())).unwrap(), iso);
}

#[test]
fn bytes_without_a_validator_are_not_kept() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    let long = "x".repeat(1025);
    for validator in [None, Some(""), Some(&long[..])] {
        drop(half(&store, &iso, Some("\"v1\"")));
        drop(half(&store, &iso, validator));
        assert_eq!(unfinished(directory.path()), [] as [String; 0], "{validator:?}");
    }
}

#[test]
fn bytes_that_were_judged_wrong_are_not_kept() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    for expected in [Expected::Release(sha256(b"another")), Expected::Structure] {
        assert!(half(&store, &iso, Some("\"v1\"")).seal(expected).is_err());
        assert_eq!(unfinished(directory.path()), [] as [String; 0], "{expected:?}");
    }
}

#[test]
fn an_image_that_could_not_be_published_for_good_is_not_kept() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    let other = crate::site::other_iso();
    let mut staging = half(&store, &iso, Some("\"v1\""));
    staging.write_all(&iso[iso.len() / 2..]).unwrap();
    let sealed = staging.seal(Expected::Release(sha256(&iso))).unwrap();
    crate::site::publish(&store, &other);
    assert!(matches!(sealed.publish(key()), Err(Error::Conflict { .. })));
    assert_eq!(unfinished(directory.path()), [] as [String; 0]);
}

#[test]
fn after_a_crash_the_bytes_on_stable_storage_are_believed_and_no_others() {
    let directory = TempDir::new().unwrap();
    let mut staging = open(&directory).stage_download(NAME).unwrap();
    staging.restart(Some("\"v1\"")).unwrap();
    for chunk in 0..70_u8 {
        staging.write_all(&vec![chunk; MIB]).unwrap();
    }
    let after = killed(&directory);
    let resumed = open(&after).stage_download(NAME).unwrap();
    assert_eq!(resumed.written(), 64 << 20);
    assert_eq!(part(&after).metadata().unwrap().len(), 64 << 20);
    assert_eq!(staging.written(), 70 << 20, "the living one is untouched");
}

#[test]
fn zeros_that_a_power_loss_left_are_not_believed() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    drop(half(&open(&directory), &iso, Some("\"v1\"")));
    let len = part(&directory).metadata().unwrap().len();
    File::options().write(true).open(part(&directory)).unwrap().set_len(len + 5 * MIB as u64).unwrap();
    let staging = open(&directory).stage_download(NAME).unwrap();
    assert_eq!(staging.written(), len);
    finish(staging, &iso);
    assert_eq!(fs::read(directory.path().join(key().file_name())).unwrap(), iso);
}

#[test]
fn bytes_that_are_missing_are_noticed() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    drop(half(&open(&directory), &iso, Some("\"v1\"")));
    File::options().write(true).open(part(&directory)).unwrap().set_len(1000).unwrap();
    let staging = open(&directory).stage_download(NAME).unwrap();
    assert_eq!((staging.written(), staging.validator()), (0, None));
}

#[test]
fn bytes_that_could_not_be_forgotten_are_not_taken_for_those_of_the_next_version() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    let mut staging = half(&store, &iso, Some("\"v1\""));
    // The journal cannot be written, as on a full disk.
    fs::remove_file(journal(&directory)).unwrap();
    fs::create_dir(journal(&directory)).unwrap();
    assert!(staging.restart(Some("\"v2\"")).is_err());
    assert_eq!(staging.written(), 0);
    fs::remove_dir(journal(&directory)).unwrap();
    drop(staging);
    let staging = store.stage_download(NAME).unwrap();
    assert_eq!((staging.written(), staging.validator()), (0, None));
}

#[test]
fn no_crash_joins_the_bytes_of_two_versions() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    drop(half(&store, &iso, Some("\"v1\"")));
    let old = fs::read(part(&directory)).unwrap();

    let mut staging = store.stage_download(NAME).unwrap();
    staging.restart(Some("\"v2\"")).unwrap();
    assert_eq!((staging.written(), staging.validator()), (0, Some("\"v2\"")));
    staging.write_all(b"new").unwrap();
    let after = killed(&directory);
    assert_eq!(open(&after).stage_download(NAME).unwrap().written(), 0);

    // The system may have been stopped between the journal and the bytes.
    fs::write(part(&after), old).unwrap();
    fs::copy(journal(&directory), journal(&after)).unwrap();
    let staging = open(&after).stage_download(NAME).unwrap();
    assert_eq!((staging.written(), staging.validator()), (0, None));
}

#[test]
fn without_a_readable_journal_nothing_is_believed() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    drop(half(&open(&directory), &iso, Some("\"v1\"")));
    fs::write(journal(&directory), b"{ half a jour").unwrap();
    assert_eq!(open(&directory).stage_download(NAME).unwrap().written(), 0);

    drop(half(&open(&directory), &iso, Some("\"v1\"")));
    fs::remove_file(journal(&directory)).unwrap();
    open(&directory);
    assert_eq!(unfinished(directory.path()), [] as [String; 0], "of no use to anybody");

    drop(half(&open(&directory), &iso, Some("\"v1\"")));
    fs::remove_file(part(&directory)).unwrap();
    open(&directory);
    assert_eq!(unfinished(directory.path()), [] as [String; 0], "of no use to anybody");
}

#[test]
fn a_download_that_is_alive_is_not_shared() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let first = half(&open(&directory), &iso, Some("\"v1\""));
    let other = open(&directory);
    let second = half(&other, &iso, Some("\"v2\""));
    assert_eq!((first.validator(), second.validator()), (Some("\"v1\""), None));
    assert_eq!(unfinished(directory.path()).len(), 3, "both files and one journal");
    finish(second, &iso);
    finish(first, &iso);
    assert_eq!(unfinished(directory.path()), [] as [String; 0]);
}

#[test]
fn a_name_that_could_leave_the_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    for name in ["", ".", "..", "../x", "a/b", ".hidden", "a b", &"x".repeat(129)] {
        let staging = open(&directory).stage_download(name);
        assert!(matches!(staging, Err(Error::InvalidName { .. })), "{name:?}");
    }
}
