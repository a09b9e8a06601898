//! Which request means which image, and when the service counts as settled.

use std::io::Write;
use std::time::{Duration, SystemTime};

use coreos_names::{Arch, ImageKind, Sha256};
use image_store::{
    Catalog, DesiredImage, Expected, Found, ImageKey, ImageState, ImageStore, Lease, Limits, Lookup,
    WantedImages,
};
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

/// An entry from `OS_IMAGES`.
fn from_url(openshift_version: &str) -> DesiredImage {
    DesiredImage { release_version: None, ..wanted(openshift_version, "4.18.52", Some(Arch::X86_64)) }
}

#[test]
fn an_alias_belongs_to_the_first_entry_with_a_url_that_is_ready() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let release = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_state(release, ImageState::Ready(lease(&directory, "418.94.52-0")));
    assert_eq!(found(&catalog, "4.18").as_deref(), Some("418.94.52-0"));

    let urls = [from_url("4.18"), from_url("4.18")].map(|desired| catalog.add(desired));
    assert_eq!(found(&catalog, "4.18"), None, "what the admin named is waited for");
    catalog.set_state(urls[1], ImageState::Ready(lease(&directory, "418.94.2-0")));
    assert_eq!(found(&catalog, "4.18").as_deref(), Some("418.94.2-0"));
    catalog.set_state(urls[0], ImageState::Ready(lease(&directory, "418.94.1-0")));
    assert_eq!(found(&catalog, "4.18").as_deref(), Some("418.94.1-0"));
    for build in ["418.94.1-0", "418.94.2-0", "418.94.52-0"] {
        assert_eq!(found(&catalog, build).as_deref(), Some(build));
    }
    assert_eq!(found(&catalog, "4.18.52").as_deref(), Some("418.94.52-0"));
}

#[test]
fn a_build_is_served_as_soon_as_one_entry_has_it() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let url = catalog.add(from_url("4.17"));
    catalog.set_build(url, "418.94.1-0".parse().unwrap());
    assert_eq!(found(&catalog, "418.94.1-0"), None);
    let release = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_state(release, ImageState::Ready(lease(&directory, "418.94.1-0")));
    assert_eq!(found(&catalog, "418.94.1-0").as_deref(), Some("418.94.1-0"));
}

#[test]
fn the_highest_version_that_shares_an_image_is_told() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let shared = lease(&directory, "418.94.1-0");
    let highest = |version: &str| match catalog.find(version, Arch::X86_64, ImageKind::Full) {
        Lookup::Ready(found) => found.openshift_version.map(|version| version.to_string()),
        other => panic!("{other:?}"),
    };
    let low = catalog.add(from_url("4.9"));
    catalog.set_state(low, ImageState::Ready(shared.clone()));
    assert_eq!(highest("4.9").as_deref(), Some("4.9"));
    let high = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_build(high, "418.94.1-0".parse().unwrap());
    let other = catalog.add(from_url("4.20"));
    catalog.set_state(other, ImageState::Ready(lease(&directory, "420.94.1-0")));
    for version in ["4.9", "418.94.1-0"] {
        assert_eq!(highest(version).as_deref(), Some("4.18"), "known before it is ready");
    }
    catalog.remove(high);
    assert_eq!(highest("4.9").as_deref(), Some("4.9"));
}

#[test]
fn a_retired_image_answers_to_its_build_alone() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let id = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_state(id, ImageState::Ready(lease(&directory, "418.94.2-0")));
    let openshift_version = Some("4.17".parse().unwrap());
    let retired = Found { lease: lease(&directory, "418.94.1-0"), openshift_version };
    catalog.set_retired(vec![retired]);
    assert_eq!(catalog.retired().len(), 1);
    assert_eq!(found(&catalog, "418.94.1-0").as_deref(), Some("418.94.1-0"));
    assert_eq!(found(&catalog, "4.17"), None);
    assert_eq!(found(&catalog, "4.18").as_deref(), Some("418.94.2-0"));
    assert!(matches!(catalog.find("418.94.1-0", Arch::Arm64, ImageKind::Full), Lookup::Unknown));
    assert!(matches!(catalog.find("418.94.1-0", Arch::X86_64, ImageKind::Disconnected), Lookup::Unknown));

    // Wanted again, it is served while its entry is still on its way.
    let again = catalog.add(wanted("4.17", "4.17.1", Some(Arch::X86_64)));
    catalog.set_build(again, "418.94.1-0".parse().unwrap());
    assert_eq!(found(&catalog, "418.94.1-0").as_deref(), Some("418.94.1-0"));
    catalog.set_retired(Vec::new());
    assert_eq!(found(&catalog, "418.94.1-0"), None);
}

#[test]
fn what_is_wanted_is_known_once_every_entry_was_tried_and_has_a_build() {
    let images = |catalog: &Catalog| {
        let wanted = catalog.wanted(Duration::MAX)?;
        assert!(wanted.is_all);
        Some(wanted.images)
    };
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    assert_eq!(images(&catalog), None, "nobody has added anything yet");
    let nothing = Catalog::default();
    nothing.settle();
    assert_eq!(images(&nothing), Some([].into()));
    let ready = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    let image = lease(&directory, "418.94.1-0");
    catalog.set_state(ready, ImageState::Ready(image.clone()));
    let of_ready = (image.key().clone(), "4.18".parse().unwrap());
    assert_eq!(images(&catalog), Some([of_ready.clone()].into()));

    let unsupported = catalog.add(wanted("4.10", "4.10.1", None));
    assert_eq!(images(&catalog), None, "nobody has looked at it yet");
    catalog.set_state(unsupported, ImageState::Unsupported { reason: "too old".to_owned() });
    assert_eq!(images(&catalog), Some([of_ready.clone()].into()), "it wants nothing");

    let failing = catalog.add(from_url("4.19"));
    catalog.set_state(failing, failed());
    assert_eq!(images(&catalog), None, "its image may be any");
    catalog.set_build(failing, "418.94.1-0".parse().unwrap());
    assert_eq!(images(&catalog), Some([(of_ready.0.clone(), "4.19".parse().unwrap())].into()));
    catalog.set_build(failing, "419.96.1-0".parse().unwrap());
    let other = ImageKey { os_build: "419.96.1-0".parse().unwrap(), ..of_ready.0.clone() };
    assert_eq!(images(&catalog), Some([of_ready, (other, "4.19".parse().unwrap())].into()));
}

#[test]
fn an_entry_that_has_failed_for_long_is_passed_over_until_its_image_is_known() {
    let catalog = Catalog::default();
    let failing = catalog.add(from_url("4.19"));
    assert_eq!(catalog.wanted(Duration::ZERO), None, "nobody has looked at it yet");
    catalog.set_state(failing, failed());
    catalog.set_state(failing, ImageState::Waiting);
    assert_eq!(catalog.wanted(Duration::MAX), None);
    let nothing = WantedImages { images: [].into(), is_all: false };
    assert_eq!(catalog.wanted(Duration::ZERO), Some(nothing));
    catalog.set_build(failing, "419.96.1-0".parse().unwrap());
    assert!(catalog.wanted(Duration::ZERO).is_some_and(|wanted| wanted.is_all && wanted.images.len() == 1));
}

#[test]
fn an_image_is_in_use_while_somebody_else_has_leased_it() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let ids = ["4.18", "4.19"].map(|version| catalog.add(from_url(version)));
    let (one, other) = (lease(&directory, "418.94.1-0"), lease(&directory, "419.96.1-0"));
    for id in ids {
        catalog.set_state(id, ImageState::Ready(one.clone()));
    }
    catalog.set_retired(vec![Found { lease: other.clone(), openshift_version: None }]);
    assert_eq!(catalog.images_in_use(), 2);
    let body = one.clone();
    drop(one);
    assert_eq!(catalog.images_in_use(), 2, "one is being downloaded");
    drop(body);
    assert_eq!(catalog.images_in_use(), 1);
    catalog.set_retired(Vec::new());
    assert_eq!(catalog.images_in_use(), 1, "it was removed, but is still read");
    drop(other);
    assert_eq!(catalog.images_in_use(), 0);
}

#[test]
fn every_state_has_one_of_the_names() {
    let directory = TempDir::new().unwrap();
    let states = [
        ImageState::Waiting,
        ImageState::Fetching { received: 1, total: None },
        ImageState::Ready(lease(&directory, "418.94.1-0")),
        failed(),
        ImageState::Unsupported { reason: "too old".to_owned() },
    ];
    assert_eq!(states.each_ref().map(ImageState::name), ImageState::NAMES);
}

#[test]
fn an_image_that_somebody_waits_for_is_remembered() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let ids = ["4.16", "4.17", "4.18"].map(|version| catalog.add(from_url(version)));
    let requested = || ids.map(|id| catalog.is_requested(id));
    for id in [ids[0], ids[1]] {
        catalog.set_build(id, "418.94.1-0".parse().unwrap());
    }
    assert_eq!(found(&catalog, "4.19"), None);
    assert!(catalog.knows("4.17", Arch::X86_64) && !catalog.knows("4.19", Arch::X86_64));
    assert_eq!(requested(), [false; 3], "to know one is not to wait for it");
    assert_eq!(found(&catalog, "4.17"), None);
    assert_eq!(requested(), [true, true, false], "both want the same image");
    catalog.set_state(ids[2], ImageState::Ready(lease(&directory, "419.96.1-0")));
    assert!(found(&catalog, "4.18").is_some());
    assert!(!catalog.is_requested(ids[2]), "it is there");

    let unknown = catalog.add(wanted("4.20", "4.20.1", None));
    assert_eq!(found(&catalog, "4.20.1"), None);
    let [known] = catalog.replace(unknown, [wanted("4.20", "4.20.1", Some(Arch::X86_64))])[..] else {
        panic!()
    };
    assert!(catalog.is_requested(known));
}

#[test]
fn statistics_add_up() {
    let catalog = Catalog::default();
    let statistics = catalog.statistics();
    for _ in 0..3 {
        statistics.count_fetch();
        statistics.count_fetched_bytes(10);
        statistics.count_fetching(Duration::from_millis(1500));
    }
    statistics.count_failed_fetch();
    for _ in 0..4 {
        statistics.count_lookup();
    }
    statistics.count_failed_lookup();
    statistics.count_collected_images(2);
    assert_eq!((statistics.fetches(), statistics.failed_fetches()), (3, 1));
    assert_eq!((statistics.lookups(), statistics.failed_lookups()), (4, 1));
    assert_eq!((statistics.fetched_bytes(), statistics.collected_images()), (30, 2));
    assert_eq!(statistics.fetching(), Duration::from_millis(4500));
}

/// How an entry's image is called, there or not.
fn meaning(catalog: &Catalog, version: &str) -> Option<String> {
    match catalog.find(version, Arch::X86_64, ImageKind::Full) {
        Lookup::Ready(found) => Some(found.lease.key().os_build.to_string()),
        Lookup::NotReady(_) => Some("not ready".to_owned()),
        Lookup::Unknown => None,
    }
}

#[test]
fn an_entry_that_is_taken_away_keeps_its_name_until_its_heir_is_ready() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let release = |version: &str| wanted("4.18", version, Some(Arch::X86_64));
    for heir in [release("4.18.53"), release("4.18.51"), from_url("4.18"), wanted("4.18", "4.18.53", None)] {
        let catalog = Catalog::default();
        let old = catalog.add(release("4.18.52"));
        catalog.set_state(old, ImageState::Ready(lease(&directory, "418.94.1-0")));
        let new = catalog.add(heir.clone());
        catalog.remove(old);
        assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("418.94.1-0"));
        catalog.set_state(new, failed());
        assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("418.94.1-0"));
        assert_eq!(catalog.retired().len(), 0);
        let new = match heir.arch {
            Some(_) => new,
            None => catalog.replace(new, [release("4.18.53")])[0],
        };
        assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("418.94.1-0"));
        catalog.set_state(new, ImageState::Ready(lease(&directory, "418.94.2-0")));
        assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("418.94.2-0"));
        assert_eq!(meaning(&catalog, "418.94.1-0").as_deref(), Some("418.94.1-0"));
        assert_eq!((catalog.report().len(), catalog.retired().len()), (1, 1));
    }

    // Whoever has no heir, or one that can never be ready, goes at once.
    let (old, other) = (catalog.add(release("4.18.52")), catalog.add(wanted("4.17", "4.17.1", None)));
    catalog.set_state(old, ImageState::Ready(lease(&directory, "418.94.1-0")));
    let new = catalog.add(release("4.18.53"));
    catalog.remove(old);
    catalog.set_state(new, ImageState::Unsupported { reason: "too old".to_owned() });
    assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("not ready"));
    catalog.remove(new);
    assert_eq!(meaning(&catalog, "4.18"), None);
    assert_eq!(meaning(&catalog, "418.94.1-0").as_deref(), Some("418.94.1-0"));
    catalog.remove(other);
    assert_eq!(meaning(&catalog, "4.17"), None);
}

#[test]
fn a_build_that_is_superseded_answers_to_its_build_at_once() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let id = catalog.add(wanted("4.18", "4.18.52", Some(Arch::X86_64)));
    catalog.set_state(id, ImageState::Ready(lease(&directory, "418.94.1-0")));
    catalog.set_state(id, ImageState::Ready(lease(&directory, "418.94.2-0")));
    assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("418.94.2-0"));
    assert_eq!(meaning(&catalog, "418.94.1-0").as_deref(), Some("418.94.1-0"));
    // A look that began before does not know of it.
    let wanted_then = [(lease(&directory, "418.94.1-0").key().clone(), "4.18".parse().unwrap())].into();
    catalog.replace_retired(Vec::new(), &wanted_then);
    assert_eq!(catalog.retired().len(), 1);
    catalog.replace_retired(Vec::new(), &[].into());
    assert_eq!(catalog.retired().len(), 0);
}

#[test]
fn an_order_that_is_given_goes_before_the_order_of_adding() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::default();
    let ids = [catalog.add(from_url("4.18")), catalog.add(from_url("4.18"))];
    for (id, build) in ids.into_iter().zip(["418.94.1-0", "418.94.2-0"]) {
        catalog.set_state(id, ImageState::Ready(lease(&directory, build)));
    }
    assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("418.94.1-0"));
    catalog.set_order(ids[0], 7);
    assert_eq!(meaning(&catalog, "4.18").as_deref(), Some("418.94.2-0"));
}
