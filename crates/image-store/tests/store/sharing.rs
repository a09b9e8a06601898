//! Two processes on one data directory, as while a new version is rolled out. Locks belong to open files, so two stores
//! of one process meet as two processes do.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, SystemTime};

use image_store::{Expected, Wanted};
use tempfile::TempDir;

use crate::site::{files, iso, key, open, publish_as, sha256, unfinished};

#[test]
fn what_the_other_one_is_at_is_never_removed() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let first = open(&directory);
    let mut anonymous = first.stage().unwrap();
    let mut named = first.stage_download("x").unwrap();
    named.restart(Some("\"v1\"")).unwrap();
    for staging in [&mut anonymous, &mut named] {
        staging.write_all(&iso[..1000]).unwrap();
    }
    let second = open(&directory);
    second.collect(&Wanted::default(), Duration::ZERO).unwrap();
    assert_eq!(unfinished(directory.path()).len(), 3);
    for mut staging in [anonymous, named] {
        staging.write_all(&iso[1000..]).unwrap();
        staging.seal(Expected::Release(sha256(&iso))).unwrap().publish(key()).unwrap();
    }
    assert_eq!(unfinished(directory.path()), [] as [String; 0]);
}

#[test]
fn an_image_that_both_bring_is_published_once() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    for expected in [Expected::Release(sha256(&iso)), Expected::Structure] {
        let stores = [open(&directory), open(&directory)];
        let sealed = stores.each_ref().map(|store| {
            let mut staging = store.stage().unwrap();
            staging.write_all(&iso).unwrap();
            staging.seal(expected).unwrap()
        });
        let threads = sealed.map(|sealed| thread::spawn(move || sealed.publish(key()).unwrap()));
        for lease in threads.map(|thread| thread.join().unwrap()) {
            assert_eq!(lease.sha256(), sha256(&iso));
        }
        assert_eq!(files(directory.path()).len(), 1);
        assert_eq!(unfinished(directory.path()), [] as [String; 0]);
        fs::remove_file(directory.path().join(key().file_name())).unwrap();
    }
}

#[test]
fn one_that_does_not_want_an_image_never_removes_what_the_other_one_wants() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let (old, new) = (open(&directory), open(&directory));
    drop(publish_as(&old, &iso, Expected::Structure, &key()));
    let wanted = Wanted { images: [(key(), "4.18".parse().unwrap())].into(), ..Wanted::default() };
    let (start, after) = (SystemTime::now(), Duration::from_hours(24));
    for hour in 0..50 {
        let now = start + Duration::from_hours(hour);
        old.retire(&wanted, now, after).unwrap();
        new.retire(&Wanted::default(), now, after).unwrap();
        assert_eq!(new.collect(&Wanted::default(), after).unwrap(), []);
    }
    assert!(old.find(&key(), Expected::Structure).unwrap().is_some());
}
