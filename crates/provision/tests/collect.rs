//! What becomes of images that the configuration no longer asks for.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coreos_names::{Arch, ImageKind};
use image_store::{
    Catalog, DesiredImage, EntryId, Expected, ImageKey, ImageState, ImageStore, Lease, Limits, Lookup,
    ResolvedImage, ResolvedRelease,
};
use provision::{Collector, Names};
use tempfile::TempDir;
use test_support::fixtures::live_iso;
use tokio::sync::watch;

const HOUR: Duration = Duration::from_hours(1);
const OLD: &str = "418.94.1-0";
const NEW: &str = "418.94.2-0";

struct Hall {
    directory: TempDir,
    store: ImageStore,
    catalog: Arc<Catalog>,
}

impl Hall {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = ImageStore::open(directory.path(), Limits::default()).unwrap();
        Self { directory, store, catalog: Arc::default() }
    }

    /// The same data directory after a restart.
    fn restarted(self) -> Self {
        let Self { directory, .. } = self;
        let store = ImageStore::open(directory.path(), Limits::default()).unwrap();
        Self { directory, store, catalog: Arc::default() }
    }

    fn collector(&self) -> Collector {
        let (store, catalog) = (self.store.clone(), Arc::clone(&self.catalog));
        let names = watch::Sender::new(Names { is_complete: true, ..Names::default() });
        Collector::new(store, catalog, names.subscribe(), 24 * HOUR)
    }

    fn publish(&self, os_build: &str) -> Lease {
        let mut staging = self.store.stage().unwrap();
        staging.write_all(&std::fs::read(live_iso(Arch::X86_64)).unwrap()).unwrap();
        staging.seal(Expected::Structure).unwrap().publish(key(os_build)).unwrap()
    }

    fn entry(&self) -> EntryId {
        self.catalog.add(DesiredImage {
            openshift_version: "4.18".parse().unwrap(),
            release_version: Some("4.18.52".parse().unwrap()),
            arch: Some(Arch::X86_64),
            kind: ImageKind::Full,
        })
    }

    /// The builds that are there and those that a request would be served.
    fn there_and_served(&self) -> ([bool; 2], [bool; 2]) {
        let served =
            |build| matches!(self.catalog.find(build, Arch::X86_64, ImageKind::Full), Lookup::Ready(_));
        let there = |build| self.directory.path().join(key(build).file_name()).exists();
        ([OLD, NEW].map(there), [OLD, NEW].map(served))
    }
}

fn key(os_build: &str) -> ImageKey {
    ImageKey { os_build: os_build.parse().unwrap(), arch: Arch::X86_64, kind: ImageKind::Full }
}

#[tokio::test]
async fn a_build_that_was_superseded_is_served_for_a_day_and_then_removed() {
    let hall = Hall::new();
    let entry = hall.entry();
    hall.catalog.set_state(entry, ImageState::Ready(hall.publish(OLD)));
    let (collector, start) = (hall.collector(), SystemTime::now());
    assert!(collector.collect(start).await.unwrap());
    hall.catalog.set_state(entry, ImageState::Ready(hall.publish(NEW)));
    for hour in 0..24 {
        assert!(collector.collect(start + hour * HOUR).await.unwrap());
        assert_eq!(hall.there_and_served(), ([true; 2], [true; 2]), "after {hour} hours");
    }
    assert_eq!(hall.catalog.statistics().collected_images(), 0);
    collector.collect(start + 24 * HOUR).await.unwrap();
    assert_eq!(hall.there_and_served(), ([false, true], [false, true]));
    assert_eq!(hall.catalog.statistics().collected_images(), 1);
}

#[tokio::test]
async fn nothing_is_removed_while_an_entry_may_want_it() {
    let hall = Hall::new();
    for build in [OLD, NEW] {
        drop(hall.publish(build));
    }
    let entry = hall.entry();
    let (collector, start) = (hall.collector(), SystemTime::now());
    let failed = ImageState::Failed { reason: "no route to host".to_owned(), retry_at: start };
    hall.catalog.set_state(entry, failed.clone());
    for hour in 0..100 {
        assert!(!collector.collect(start + hour * HOUR).await.unwrap());
    }
    assert_eq!(hall.there_and_served().0, [true; 2]);

    // Not ready, but it is known what it will be.
    hall.catalog.set_build(entry, OLD.parse().unwrap());
    for hour in 0..=24 {
        assert!(collector.collect(start + hour * HOUR).await.unwrap());
    }
    assert_eq!(hall.there_and_served().0, [true, false]);
}

#[tokio::test]
async fn a_release_that_cannot_be_looked_up_keeps_only_what_a_release_has_brought() {
    let hall = Hall::new();
    let image = {
        let lease = hall.publish(NEW);
        let (key, sha256) = (lease.key().clone(), lease.sha256());
        ResolvedImage { key, sha256, release_digest: "sha256:1".to_owned(), verified_by: [].into() }
    };
    drop(hall.publish(OLD));
    let release = ResolvedRelease {
        pullspec: "r.io/a:1".to_owned(),
        digest: "sha256:1".to_owned(),
        version: "4.18.52".parse().unwrap(),
        arches: vec![Arch::X86_64],
        images: [(Arch::X86_64, image)].into(),
    };
    hall.store.record_release(&release).unwrap();
    let start = SystemTime::now();
    let entry = hall.entry();
    hall.catalog
        .set_state(entry, ImageState::Failed { reason: "no route to host".to_owned(), retry_at: start });
    let names = Names { releases: ["r.io/a:1".to_owned()].into(), is_complete: true, ..Names::default() };
    let names = watch::Sender::new(names);
    let collector = |retire_after| {
        Collector::new(hall.store.clone(), Arc::clone(&hall.catalog), names.subscribe(), retire_after)
    };
    assert!(!collector(HOUR).collect(start).await.unwrap(), "it may be looked up yet");
    // It has failed for longer than that.
    assert!(collector(Duration::ZERO).collect(start).await.unwrap());
    assert_eq!(hall.there_and_served().0, [false, true]);

    names.send_replace(Names { is_complete: true, ..Names::default() });
    assert!(collector(Duration::ZERO).collect(start).await.unwrap());
    assert_eq!(hall.there_and_served().0, [false; 2], "no release of the list has brought it");
}

#[tokio::test]
async fn after_a_restart_old_builds_are_served_before_anybody_was_asked() {
    let hall = Hall::new();
    for build in [OLD, NEW] {
        drop(hall.publish(build));
    }
    let hall = hall.restarted();
    hall.entry();
    assert_eq!(hall.there_and_served().1, [false; 2]);
    hall.collector().serve_known().await;
    assert_eq!(hall.there_and_served().1, [true; 2]);

    let hall = hall.restarted();
    let entry = hall.entry();
    hall.catalog.set_state(entry, ImageState::Ready(hall.publish(NEW)));
    hall.collector().serve_known().await;
    assert_eq!(hall.there_and_served().1, [true; 2]);
    assert_eq!(hall.catalog.retired().len(), 1, "what an entry serves is not retired");
}

#[tokio::test]
async fn what_is_due_is_not_served_after_a_restart() {
    let hall = Hall::new();
    drop(hall.publish(OLD));
    hall.catalog.settle();
    let start = SystemTime::now();
    // Somebody reads it all the time, so it is not removed.
    let reader = hall.store.find(&key(OLD), Expected::Structure).unwrap().expect("the image");
    for hour in 0..=24 {
        hall.collector().collect(start + hour * HOUR).await.unwrap();
    }
    assert_eq!(hall.there_and_served(), ([true, false], [false; 2]));
    drop(reader);
    let hall = hall.restarted();
    hall.catalog.settle();
    hall.collector().serve_known().await;
    assert_eq!(hall.there_and_served().1, [false; 2]);
    hall.collector().collect(start + 25 * HOUR).await.unwrap();
    assert_eq!(hall.there_and_served().0, [false; 2]);
}
