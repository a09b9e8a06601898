//! What minimal ISOs carry beside the initramfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use image_store::{Error, Expected, Lease, NmstateTrouble, Wanted};
use live_iso::Extent;
use tempfile::TempDir;

use crate::site::{files, iso, key, key_of, open, publish, publish_as, sha256};

fn cached(directory: &Path) -> Vec<PathBuf> {
    files(&directory.join(".coreos-image-service/v1/nmstate"))
}

async fn bytes(lease: &Lease) -> Vec<u8> {
    let len = lease.nmstate().expect("an archive").len();
    lease.read_nmstate(Extent { offset: 0, len }).await.unwrap().into()
}

/// The archive, made without the store.
fn expected(iso: &Vec<u8>) -> Vec<u8> {
    let layout = live_iso::Layout::read(iso).unwrap();
    live_iso::nmstate_archive(&live_iso::nmstatectl(iso, &layout).unwrap())
}

#[tokio::test]
async fn the_archive_is_made_once_and_is_there_after_a_restart() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    let lease = publish(&store, &iso);
    assert!(lease.nmstate().is_none());
    let absent = lease.read_nmstate(Extent { offset: 0, len: 1 }).await.unwrap_err();
    assert_eq!(absent.kind(), io::ErrorKind::NotFound);

    store.prepare_nmstate(&lease).unwrap();
    let archive = expected(&iso);
    assert_eq!(bytes(&lease).await, archive);
    assert_eq!(lease.nmstate().unwrap().sha256(), sha256(&archive));
    let part = Extent { offset: 100, len: 50 };
    assert_eq!(lease.read_nmstate(part).await.unwrap(), archive[100..150]);
    let shared = store.find(&key(), Expected::Structure).unwrap().unwrap();
    assert!(shared.nmstate().is_some(), "everybody who leases the image has it");

    let made = cached(directory.path());
    assert_eq!(made.len(), 2);
    let modified = |path: &PathBuf| path.metadata().unwrap().modified().unwrap();
    let before: Vec<_> = made.iter().map(modified).collect();
    let store = open(&directory);
    let lease = store.find(&key(), Expected::Structure).unwrap().unwrap();
    store.prepare_nmstate(&lease).unwrap();
    assert_eq!(bytes(&lease).await, archive);
    assert_eq!(made.iter().map(modified).collect::<Vec<_>>(), before, "not made again");
}

#[tokio::test]
async fn a_damaged_archive_is_made_again() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    store.prepare_nmstate(&publish(&store, &iso)).unwrap();
    for path in cached(directory.path()) {
        let mut damaged = fs::read(&path).unwrap();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&path, damaged).unwrap();
        let store = open(&directory);
        let lease = store.find(&key(), Expected::Structure).unwrap().unwrap();
        store.prepare_nmstate(&lease).unwrap();
        assert_eq!(bytes(&lease).await, expected(&iso), "{}", path.display());
    }
}

#[test]
fn an_image_without_the_program_says_so() {
    let (directory, mut iso) = (TempDir::new().unwrap(), iso());
    let rootfs = live_iso::Layout::read(&iso).unwrap().rootfs();
    let start = usize::try_from(rootfs.offset).unwrap();
    iso[start..start + 4096].fill(0);
    let store = open(&directory);
    let lease = publish(&store, &iso);
    let Err(error @ Error::Nmstate { .. }) = store.prepare_nmstate(&lease) else { panic!("prepared") };
    assert!(!error.is_retryable());
    assert!(lease.nmstate().is_none());
    assert!(matches!(lease.nmstate_trouble(), Some(NmstateTrouble::Unavailable { .. })));
    assert_eq!(cached(directory.path()), [] as [PathBuf; 0]);
}

#[test]
fn what_is_in_the_way_is_told_until_it_is_gone() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    let lease = publish(&store, &iso);
    assert_eq!(lease.nmstate_trouble(), None);
    let place = directory.path().join(".coreos-image-service/v1/nmstate");
    fs::remove_dir(&place).unwrap();
    assert!(store.prepare_nmstate(&lease).unwrap_err().is_retryable());
    let Some(NmstateTrouble::Failed { reason }) = lease.nmstate_trouble() else { panic!("no trouble") };
    assert!(reason.contains(place.to_str().unwrap()), "{reason}");
    fs::create_dir(&place).unwrap();
    store.prepare_nmstate(&lease).unwrap();
    assert_eq!(lease.nmstate_trouble(), None);
}

#[tokio::test]
async fn archives_go_with_their_images() {
    let (directory, iso) = (TempDir::new().unwrap(), iso());
    let store = open(&directory);
    let kept = publish(&store, &iso);
    let gone = publish_as(&store, &crate::site::other_iso(), Expected::Structure, &key_of("1-0"));
    store.prepare_nmstate(&kept).unwrap();
    store.prepare_nmstate(&gone).unwrap();
    let older = cached(directory.path())[0].with_file_name(format!("{}-0.cpio.gz", kept.sha256()));
    fs::write(&older, b"made by another encoder").unwrap();
    let theirs = older.with_file_name("README");
    fs::write(&theirs, b"the admin's").unwrap();
    assert_eq!(cached(directory.path()).len(), 6);

    let wanted = Wanted { images: [(key(), "4.18".parse().unwrap())].into(), ..Wanted::default() };
    store.retire(&wanted, SystemTime::now(), Duration::ZERO).unwrap();
    let archive = bytes(&gone).await;
    drop(gone);
    store.collect(&wanted, Duration::ZERO).unwrap();
    assert_eq!(cached(directory.path()).len(), 3);
    assert!(theirs.exists() && !older.exists());
    assert_eq!(bytes(&kept).await, archive, "the same program");
}
