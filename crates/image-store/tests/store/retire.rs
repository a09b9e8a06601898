//! Images that nobody wants any more.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use coreos_names::Arch;
use image_store::{Expected, ImageKey, ImageStore, ResolvedImage, ResolvedRelease, Wanted};
use live_iso::Extent;
use tempfile::TempDir;

use crate::site::{files, iso, key, key_of, open, publish, publish_as, sha256, unfinished};

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);

fn wanting(keys: &[ImageKey]) -> Wanted {
    let images: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), "4.18".parse().unwrap())).collect();
    Wanted { images, ..Wanted::default() }
}

/// Looks once an hour for so many hours from `start` on, while nobody wants anything. Returns how many images are
/// still served in the end.
fn hours(store: &ImageStore, start: SystemTime, hours: u32) -> usize {
    let mut served = 0;
    for hour in 0..=hours {
        served = store.retire(&Wanted::default(), start + hour * HOUR, DAY).unwrap().len();
    }
    served
}

fn collected(store: &ImageStore) -> Vec<ImageKey> {
    store.collect(&Wanted::default(), DAY).unwrap()
}

#[test]
fn an_image_that_nobody_wants_is_served_for_a_while_and_then_removed() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    publish(&open(&directory), &iso);
    let (store, now) = (open(&directory), SystemTime::now());
    store.retire(&wanting(&[key()]), now, DAY).unwrap();
    let retired = store.retire(&Wanted::default(), now, DAY).unwrap();
    assert_eq!(retired[0].lease.sha256(), sha256(&iso));
    assert_eq!(retired[0].openshift_version, Some("4.18".parse().unwrap()), "the last one known");
    drop(retired);

    assert_eq!(hours(&store, now, 23), 1);
    assert_eq!(collected(&store), []);
    // What was counted survives a restart.
    let store = open(&directory);
    assert_eq!(hours(&store, now + 24 * HOUR, 0), 0);
    assert_eq!(collected(&store), [key()]);
    assert_eq!(files(directory.path()), [] as [std::path::PathBuf; 0]);
    assert!(store.find(&key(), Expected::Structure).unwrap().is_none());
    assert_eq!(store.retire(&Wanted::default(), now + 25 * HOUR, DAY).unwrap().len(), 0);
}

#[test]
fn an_image_that_is_wanted_again_starts_anew() {
    let directory = TempDir::new().unwrap();
    let (store, now) = (open(&directory), SystemTime::now());
    drop(publish(&store, &iso()));
    hours(&store, now, 20);
    assert_eq!(store.retire(&wanting(&[key()]), now + 21 * HOUR, DAY).unwrap().len(), 0, "not retired");
    assert_eq!(hours(&store, now + 22 * HOUR, 23), 1);
    assert_eq!(collected(&store), []);
}

#[tokio::test]
async fn an_image_is_removed_only_when_its_last_reader_has_gone() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let (store, now) = (open(&directory), SystemTime::now());
    let lease = publish(&store, &iso);
    assert_eq!(hours(&store, now, 30), 0, "no longer served");
    assert_eq!(collected(&store), []);
    assert_eq!(lease.read(Extent { offset: 0, len: 10 }).await.unwrap(), iso[..10]);
    drop(lease);
    assert_eq!(collected(&store), [key()]);
}

#[tokio::test]
async fn a_reader_in_another_process_reads_on() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let lease = publish(&open(&directory), &iso);
    let store = open(&directory);
    hours(&store, SystemTime::now(), 24);
    assert_eq!(collected(&store), [key()]);
    let last = Extent { offset: iso.len() as u64 - 10, len: 10 };
    assert_eq!(lease.read(last).await.unwrap(), iso[iso.len() - 10..]);
}

#[test]
fn a_clock_that_is_set_neither_hurries_nor_stops_it() {
    let directory = TempDir::new().unwrap();
    let (store, now) = (open(&directory), SystemTime::now());
    drop(publish(&store, &iso()));
    assert_eq!(hours(&store, SystemTime::UNIX_EPOCH, 1), 1);
    assert_eq!(hours(&store, now, 1), 1, "the clock was set forward by half a century");
    assert_eq!(collected(&store), []);
    // 1 h before the step, 2 h at most for the step, 1 h after it; then the clock is set back.
    assert_eq!(hours(&store, now - 1000 * HOUR, 19), 1);
    assert_eq!(hours(&store, now - 1000 * HOUR + 20 * HOUR, 0), 0, "24 h are counted");
    assert_eq!(collected(&store), [key()]);
}

#[test]
fn what_we_neither_wrote_nor_wanted_is_retired_but_never_removed() {
    let directory = TempDir::new().unwrap();
    let (store, now) = (open(&directory), SystemTime::now());
    let adopted = directory.path().join("rhcos-full-iso-4.18-418.94.202511191518-0-x86_64.iso");
    fs::write(&adopted, iso()).unwrap();
    let others = [
        "rhcos-minimal-iso-4.18-418.94.202511191518-0-x86_64.iso",
        "nmstatectl-4.18-418.94.202511191518-0-x86_64",
        "rootfs-123.img",
        "rhcos-full-iso-418.94.1-0-x86_64.iso",
    ];
    for other in others {
        fs::write(directory.path().join(other), b"the predecessor's").unwrap();
    }
    store.find(&key(), Expected::Structure).unwrap().expect("the image");
    assert_eq!(hours(&store, now, 23), 1);
    assert_eq!(hours(&store, now + 24 * HOUR, 1), 0);
    assert_eq!(collected(&store), []);
    assert_eq!(files(directory.path()).len(), others.len() + 1);
    store.find(&key(), Expected::Structure).unwrap().expect("the image, wanted again");
}

#[test]
fn what_we_took_over_for_an_entry_goes_like_ours() {
    let names = [
        "rhcos-full-iso-418.94.202511191518-0-x86_64.iso",
        "rhcos-full-iso-4.18-418.94.202511191518-0-x86_64.iso",
    ];
    for name in names {
        let directory = TempDir::new().unwrap();
        let (store, now) = (open(&directory), SystemTime::now());
        fs::write(directory.path().join(name), iso()).unwrap();
        store.find(&key(), Expected::Structure).unwrap().expect("the image");
        store.retire(&wanting(&[key()]), now, DAY).unwrap();
        assert_eq!(hours(&store, now, 23), 1);
        assert_eq!(collected(&store), []);
        assert_eq!(hours(&store, now + 24 * HOUR, 0), 0);
        assert_eq!(collected(&store), [key()]);
        assert_eq!(files(directory.path()), [] as [std::path::PathBuf; 0]);
    }

    // What somebody has put in its place is another file.
    let directory = TempDir::new().unwrap();
    let (store, now) = (open(&directory), SystemTime::now());
    let path = directory.path().join(names[0]);
    fs::write(&path, iso()).unwrap();
    store.find(&key(), Expected::Structure).unwrap().expect("the image");
    store.retire(&wanting(&[key()]), now, DAY).unwrap();
    fs::write(&path, b"the admin's").unwrap();
    hours(&store, now, 24);
    assert_eq!(collected(&store), []);
    assert_eq!(fs::read(path).unwrap(), b"the admin's");
}

#[test]
fn what_somebody_put_in_place_of_our_image_is_not_removed() {
    let directory = TempDir::new().unwrap();
    let (store, now) = (open(&directory), SystemTime::now());
    drop(publish(&store, &iso()));
    let path = directory.path().join(key().file_name());
    fs::write(&path, b"the admin's").unwrap();
    assert_eq!(hours(&store, now, 24), 0, "it is not served either");
    assert_eq!(collected(&store), []);
    assert_eq!(fs::read(path).unwrap(), b"the admin's");
}

#[test]
fn a_wanted_image_is_not_removed_whatever_was_counted() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    drop(publish(&store, &iso()));
    hours(&store, SystemTime::now(), 24);
    assert_eq!(store.collect(&wanting(&[key()]), DAY).unwrap(), []);
    assert!(store.find(&key(), Expected::Structure).unwrap().is_some());
}

#[test]
fn downloads_that_nobody_wants_are_removed_unless_somebody_is_at_them() {
    let directory = TempDir::new().unwrap();
    let store = open(&directory);
    let begin = |name: &str| {
        let mut staging = store.stage_download(name).unwrap();
        staging.restart(Some("\"v1\"")).unwrap();
        std::io::Write::write_all(&mut staging, b"half an image").unwrap();
        staging
    };
    for name in ["wanted", "unwanted"] {
        drop(begin(name));
    }
    let alive = begin("alive");
    let wanted = Wanted { downloads: ["wanted".to_owned()].into(), ..Wanted::default() };
    store.collect(&wanted, DAY).unwrap();
    let expected = ["alive.part", "alive.part.json", "wanted.part", "wanted.part.json"];
    assert_eq!(unfinished(directory.path()), expected);
    drop(alive);
}

#[test]
fn what_a_release_was_resolved_to_goes_with_its_last_image() {
    let directory = TempDir::new().unwrap();
    let (store, now) = (open(&directory), SystemTime::now());
    drop(publish_as(&store, &iso(), Expected::Structure, &key()));
    let release = |pullspec: &str, key: ImageKey| ResolvedRelease {
        pullspec: pullspec.to_owned(),
        digest: "sha256:ab".to_owned(),
        version: "4.18.52".parse().unwrap(),
        arches: vec![Arch::X86_64],
        images: [(
            Arch::X86_64,
            ResolvedImage {
                key,
                sha256: sha256(b"x"),
                release_digest: "sha256:ab".to_owned(),
                verified_by: [].into(),
            },
        )]
        .into(),
    };
    let (configured, served, gone) = ("example.com/a:1", "example.com/b:1", "example.com/c:1");
    for (pullspec, key) in [(configured, key_of("1-0")), (served, key()), (gone, key_of("1-0"))] {
        store.record_release(&release(pullspec, key)).unwrap();
    }
    let wanted = Wanted { releases: [configured.to_owned()].into(), ..Wanted::default() };
    let there =
        || [configured, served, gone].map(|pullspec| store.resolved_release(pullspec).unwrap().is_some());
    hours(&store, now, 1);
    store.collect(&wanted, DAY).unwrap();
    assert_eq!(there(), [true, true, false]);
    hours(&store, now + HOUR, 24);
    store.collect(&wanted, DAY).unwrap();
    assert_eq!(there(), [true, false, false]);
}
