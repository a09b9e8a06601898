//! Room for downloads.

use std::io::{self, Write};

use image_store::{Error, Expected, ImageStore, Limits};
use tempfile::TempDir;

use crate::site::{iso, key, open, publish};

#[test]
fn downloads_in_flight_reserve_their_space_together() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
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

#[test]
fn what_is_there_already_needs_no_space_again() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let limits = Limits { max_bytes: Some(iso.len() as u64) };
    let store = ImageStore::open(directory.path(), limits).unwrap();
    let mut staging = store.stage_download("x").unwrap();
    staging.restart(Some("\"v1\"")).unwrap();
    staging.reserve(iso.len() as u64).unwrap();
    staging.write_all(&iso[..iso.len() / 2]).unwrap();
    drop(staging);

    let mut other = store.stage().unwrap();
    let refused = other.reserve(iso.len() as u64);
    assert!(matches!(refused, Err(Error::OverLimit { .. })), "half of it is taken: {refused:?}");
    let mut staging = store.stage_download("x").unwrap();
    staging.reserve(iso.len() as u64).unwrap();
    staging.write_all(&iso[iso.len() / 2..]).unwrap();
    staging.seal(Expected::Structure).unwrap().publish(key()).unwrap();
}

#[test]
fn the_limit_counts_what_we_wrote_and_nothing_else() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let size = iso.len() as u64;
    std::fs::write(directory.path().join("rhcos-full-iso-1-x86_64.iso"), &iso).unwrap();
    let store = ImageStore::open(directory.path(), Limits { max_bytes: Some(2 * size + 10) }).unwrap();
    publish(&store, &iso);
    let mut first = store.stage().unwrap();
    first.reserve(size).unwrap();
    let mut second = store.stage().unwrap();
    let Err(error @ Error::OverLimit { needed: 11, taken, limit, .. }) = second.reserve(11) else {
        panic!("too much")
    };
    assert_eq!((taken, limit), (2 * size, 2 * size + 10));
    assert!(error.is_retryable(), "an image may be collected");
    second.reserve(10).unwrap();
}

#[test]
fn an_image_of_unknown_size_is_stopped_at_the_limit() {
    let directory = TempDir::new().unwrap();
    let limit = 40 << 20;
    let store = ImageStore::open(directory.path(), Limits { max_bytes: Some(limit) }).unwrap();
    let mut staging = store.stage().unwrap();
    let error = io::copy(&mut io::repeat(0), &mut staging).unwrap_err();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    assert!(matches!(cause, Some(Error::OverLimit { .. })), "{error:?}");
    assert!((limit / 2..=limit).contains(&staging.written()), "{}", staging.written());
}
