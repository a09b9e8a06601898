//! Which request means which image, and when the service counts as settled.

use std::io::Write;
use std::time::SystemTime;

use coreos_names::{Arch, ImageKind, Sha256};
use image_store::{Catalog, DesiredImage, Expected, ImageKey, ImageState, ImageStore, Lease, Limits, Lookup};
use sha2::Digest;
use tempfile::TempDir;
use test_support::fixtures::live_iso;

/// An image of the given build. (The catalog never looks inside.)
fn lease(directory: &TempDir, os_build: &str) -> Lease {
    let iso = std::fs::read(live_iso(Arch::X86_64)).unwrap();
    let mut staging = ImageStore::open(directory.path(), Limits::default()).unwrap().stage().unwrap();
    staging.write_all(&iso).unwrap();
    let sha256 = Sha256::new(sha2::Sha256::digest(&iso));
    let key = ImageKey { os_build: os_build.parse().unwrap(), arch: Arch::X86_64, kind: ImageKind::Full };
    staging.seal(Expected::Release(sha256)).unwrap().publish(key).unwrap()
}

fn wanted(openshift_version: &str, release_version: &str, arch: Option<Arch>) -> DesiredImage {
    DesiredImage {
        openshift_version: openshift_version.parse().unwrap(),
        release_version: Some(release_version.parse().unwrap()),
        arch,
        kind: ImageKind::Full,
    }
}

fn failed() -> ImageState {
    ImageState::Failed { reason: "no route to host".to_owned(), retry_at: SystemTime::now() }
}

/// The build that a request would be served with.
fn found(catalog: &Catalog, version: &str) -> Option<String> {
    match catalog.find(version, Arch::X86_64, ImageKind::Full) {
        Lookup::Ready(found) => Some(found.lease.key().os_build.to_string()),
        _ => None,
    }
}

#[test]
fn an_image_answers_to_its_build_its_entry_and_its_release() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let id = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_state(id, ImageState::Ready(lease(&directory, "418.94.1-0")));
    for version in ["418.94.1-0", "4.18", "4.18-multi", "4.18.52", "4.18.52-multi"] {
        assert_eq!(found(&catalog, version).as_deref(), Some("418.94.1-0"), "{version}");
    }
    for version in ["4.17", "4.18.51", "", "418.94.2-0", "../4.18"] {
        assert!(matches!(catalog.find(version, Arch::X86_64, ImageKind::Full), Lookup::Unknown), "{version}");
    }
    assert!(matches!(catalog.find("4.18", Arch::Arm64, ImageKind::Full), Lookup::Unknown));
    assert!(matches!(catalog.find("4.18", Arch::X86_64, ImageKind::Disconnected), Lookup::Unknown));
}

#[test]
fn an_alias_moves_to_the_newest_release_once_that_is_ready() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let ids = [wanted("4.18", "4.18.52", Some(Arch::X86_64)), wanted("4.18", "4.18.9", Some(Arch::X86_64))]
        .map(|desired| catalog.add(desired));
    catalog.set_state(ids[1], ImageState::Ready(lease(&directory, "418.94.9-0")));
    catalog.set_state(ids[0], ImageState::Fetching { received: 1, total: None });
    assert_eq!(found(&catalog, "4.18").as_deref(), Some("418.94.9-0"));
    catalog.set_state(ids[0], ImageState::Ready(lease(&directory, "418.94.52-0")));
    assert_eq!(found(&catalog, "4.18").as_deref(), Some("418.94.52-0"));
    assert_eq!(found(&catalog, "418.94.9-0").as_deref(), Some("418.94.9-0"));
}

#[test]
fn an_image_that_is_ready_stays_so_while_another_is_tried() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let id = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_state(id, ImageState::Ready(lease(&directory, "418.94.1-0")));
    catalog.set_build(id, "418.94.2-0".parse().unwrap());
    catalog.set_state(id, ImageState::Fetching { received: 0, total: None });
    catalog.set_state(id, failed());
    assert_eq!(found(&catalog, "418.94.1-0").as_deref(), Some("418.94.1-0"));
    assert!(catalog.lease(id).is_some());
}

#[test]
fn an_image_that_is_not_ready_says_what_it_waits_for() {
    let catalog = Catalog::default();
    let id = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_build(id, "418.94.1-0".parse().unwrap());
    catalog.set_state(id, ImageState::Fetching { received: 5, total: Some(7) });
    for version in ["4.18", "418.94.1-0"] {
        let Lookup::NotReady(report) = catalog.find(version, Arch::X86_64, ImageKind::Full) else {
            panic!("{version}");
        };
        assert!(matches!(report.state, ImageState::Fetching { received: 5, total: Some(7) }));
    }
}

#[test]
fn an_entry_of_unknown_architectures_stands_for_all_until_it_is_replaced() {
    let catalog = Catalog::default();
    let id = catalog.add(wanted("4.18", "4.18.52", None));
    for arch in Arch::ALL {
        assert!(matches!(catalog.find("4.18", arch, ImageKind::Full), Lookup::NotReady(_)), "{arch}");
    }
    catalog.replace(id, [wanted("4.18", "4.18.52", Some(Arch::S390x))]);
    assert!(matches!(catalog.find("4.18", Arch::S390x, ImageKind::Full), Lookup::NotReady(_)));
    assert!(matches!(catalog.find("4.18", Arch::X86_64, ImageKind::Full), Lookup::Unknown));
}

#[test]
fn settled_is_a_latch() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let ids = [wanted("4.18", "4.18.52", Some(Arch::X86_64)), wanted("4.17", "4.17.1", Some(Arch::X86_64))]
        .map(|desired| catalog.add(desired));
    assert!(!catalog.is_settled());
    catalog.set_state(ids[0], failed());
    assert!(!catalog.is_settled(), "the other was not tried yet");
    catalog.set_state(ids[1], ImageState::Unsupported { reason: "too old".to_owned() });
    assert!(catalog.is_settled(), "every first attempt has ended");
    catalog.set_state(ids[0], ImageState::Fetching { received: 0, total: None });
    assert!(catalog.is_settled(), "a second attempt changes nothing");

    let catalog = Catalog::default();
    let ids = [wanted("4.18", "4.18.52", Some(Arch::X86_64)), wanted("4.17", "4.17.1", None)]
        .map(|desired| catalog.add(desired));
    catalog.set_state(ids[0], ImageState::Ready(lease(&directory, "418.94.1-0")));
    assert!(catalog.is_settled(), "one image is ready");
}
