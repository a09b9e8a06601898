//! OS_IMAGES.

use std::fs;
use std::io::Read as _;

use coreos_names::{Arch, ImageKind};
use image_store::{ImageState, Lookup, NmstateTrouble, Proof};
use serde_json::{Value, json};
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::origin::{Fault, File};
use test_support::payload::{Content, ReleaseBuilder};

use crate::site::{Run, Site, content};

fn entry(openshift_version: &str, url: &str) -> Value {
    json!({"openshift_version": openshift_version, "cpu_architecture": "x86_64", "version": OS_BUILD, "url": url})
}

/// The entry with another member, or another value for one.
fn with(mut entry: Value, member: &str, value: &str) -> Value {
    entry[member] = value.into();
    entry
}

fn iso() -> Content {
    content(Arch::X86_64)
}

/// An ISO that ends too early.
fn truncated(size: u64) -> Content {
    let mut bytes = Vec::new();
    iso().open().unwrap().take(size).read_to_end(&mut bytes).unwrap();
    bytes.into()
}

/// Where the ISO's volume ends, as its descriptor says. What follows is of use on USB sticks only.
fn volume_size() -> u64 {
    let bytes = iso().bytes().unwrap();
    let blocks: [u8; 4] = bytes[16 * 2048 + 80..][..4].try_into().unwrap();
    u64::from(u32::from_le_bytes(blocks)) * 2048
}

#[tokio::test]
async fn a_url_becomes_an_image() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
    run.finished().await;
    let lease = run.ready("4.18", Arch::X86_64);
    assert_eq!((lease.sha256(), lease.proof()), (iso().sha256(), Proof::StructureOnly));
    assert_eq!(run.ready(OS_BUILD, Arch::X86_64).key(), lease.key());
    let name = format!("rhcos-full-iso-{OS_BUILD}-x86_64.iso");
    assert_eq!(site.published(), [name.as_str()]);
    assert!(fs::read(site.data_dir().join(name)).unwrap() == fs::read(live_iso(Arch::X86_64)).unwrap());
    assert!(site.unfinished().is_empty());
    let statistics = run.catalog.statistics();
    assert_eq!((statistics.fetches(), statistics.failed_fetches()), (1, 0));
    assert_eq!(statistics.fetched_bytes(), iso().size());
    assert!(!statistics.fetching().is_zero());
    assert_eq!(statistics.lookups(), 0, "no release was asked for");
}

#[tokio::test]
async fn every_attempt_to_download_is_counted() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    site.origin.inject("/live.iso", Fault::status(403));
    let run = site.provision_os_images(&[entry("4.17", &url), entry("4.18", &url)], &[]);
    let statistics = run.catalog.statistics();
    run.until("it has failed twice", |_| statistics.failed_fetches() > 1).await;
    assert_eq!(statistics.fetched_bytes(), 0);
    site.origin.heal();
    run.finished().await;
    assert_eq!(statistics.fetches(), statistics.failed_fetches() + 1);
    assert_eq!(statistics.fetched_bytes(), iso().size(), "both entries share the image");

    let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
    run.finished().await;
    assert_eq!(run.catalog.statistics().fetches(), 0, "it was in the data directory");
}

#[tokio::test]
async fn what_arrived_in_vain_is_counted_too() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(truncated(20_000_000)));
    let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
    run.until("it has failed", |run| run.reason("4.18").is_some()).await;
    site.origin.publish("/live.iso", File::new(iso()));
    run.finished().await;
    let statistics = run.catalog.statistics();
    let in_vain = statistics.failed_fetches() * 20_000_000;
    assert!(in_vain > 0);
    assert_eq!(statistics.fetched_bytes(), in_vain + iso().size());
}

#[tokio::test]
async fn a_download_that_starts_over_within_an_attempt_is_one_fetch_of_one_file() {
    for file in [File::new(iso()).no_ranges(), File::new(iso()).no_etag()] {
        let site = Site::new().await;
        let url = site.origin.publish("/live.iso", file);
        site.origin.inject_once("/live.iso", Fault::CutAfter(20_000_000));
        let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
        run.finished().await;
        assert_eq!(run.ready("4.18", Arch::X86_64).sha256(), iso().sha256());
        let name = format!("rhcos-full-iso-{OS_BUILD}-x86_64.iso");
        assert!(fs::read(site.data_dir().join(name)).unwrap() == fs::read(live_iso(Arch::X86_64)).unwrap());
        let statistics = run.catalog.statistics();
        assert_eq!((statistics.fetches(), statistics.failed_fetches()), (1, 0));
        let in_vain = statistics.fetched_bytes() - iso().size();
        assert!((1..=20_000_000).contains(&in_vain), "{in_vain}");
        assert_eq!(site.origin.requests().len(), 2);
        site.until_nothing_is_unfinished().await;
    }
}

#[tokio::test]
async fn the_admins_digest_proves_an_image() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()).chunked());
    let run =
        site.provision_os_images(&[with(entry("4.18", &url), "sha256", &iso().sha256().to_string())], &[]);
    run.finished().await;
    assert_eq!(run.ready("4.18", Arch::X86_64).proof(), Proof::AdminSha256);
}

#[tokio::test]
async fn entries_that_share_an_image_download_it_once() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let elsewhere = site.origin.url("/not-there.iso");
    let entries = [entry("4.16", &elsewhere), entry("4.18", &url), entry("4.17-multi", &elsewhere)];
    let run = site.provision_os_images(&entries, &[]);
    run.finished().await;
    for version in ["4.16", "4.17", "4.17-multi", "4.18", OS_BUILD] {
        assert_eq!(run.ready(version, Arch::X86_64).sha256(), iso().sha256(), "{version}");
    }
    assert_eq!(site.origin.requests().len(), 1);
}

#[tokio::test]
async fn of_entries_with_one_version_the_first_is_served() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let other = with(entry("4.18", &url), "version", "418.94.209901010000-0");
    let run = site.provision_os_images(&[entry("4.18", &url), other], &[]);
    run.finished().await;
    assert_eq!(run.ready("4.18", Arch::X86_64).key().os_build.as_str(), OS_BUILD);
    run.ready("418.94.209901010000-0", Arch::X86_64);
}

#[tokio::test]
async fn both_types_of_one_build_are_different_images() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let appliance = site.origin.publish("/ove.iso", File::new(content(Arch::Arm64)));
    let appliance =
        with(with(entry("4.18", &appliance), "type", "disconnected-iso"), "cpu_architecture", "arm64");
    let run = site.provision_os_images(&[entry("4.18", &url), appliance], &[]);
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
    let find = |arch, kind| run.catalog.find("4.18", arch, kind);
    assert!(matches!(find(Arch::Arm64, ImageKind::Disconnected), Lookup::Ready(_)));
    assert!(matches!(find(Arch::Arm64, ImageKind::Full), Lookup::Unknown));
    assert!(matches!(find(Arch::X86_64, ImageKind::Disconnected), Lookup::Unknown));
}

#[tokio::test]
async fn an_appliance_iso_is_kept_across_restarts() {
    let site = Site::new().await;
    let url = site.origin.publish("/ove.iso", File::new(iso()));
    let appliance = with(entry("4.18", &url), "type", "disconnected-iso");
    for known in [0, 1] {
        let run = site.provision_os_images(std::slice::from_ref(&appliance), &[]);
        run.finished().await;
        assert_eq!(run.known.get(), Some(&known));
        let found = run.catalog.find("4.18", Arch::X86_64, ImageKind::Disconnected);
        assert!(matches!(found, Lookup::Ready(_)), "{found:?}");
        assert_eq!(site.published(), [format!("rhcos-disconnected-iso-{OS_BUILD}-x86_64.iso")]);
    }
    assert_eq!(site.origin.requests().len(), 1);
}

#[tokio::test]
async fn names_that_only_the_predecessor_knew_are_served() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let entries = ["4.18-custom", "v4.17", "5"].map(|version| entry(version, &url));
    for _start in 0..2 {
        let run = site.provision_os_images(&entries, &[]);
        run.finished().await;
        for name in ["4.18-custom", "v4.17", "4.17", "5"] {
            run.ready(name, Arch::X86_64);
        }
        assert!(matches!(run.catalog.find("4.18", Arch::X86_64, ImageKind::Full), Lookup::Unknown));
    }
}

#[tokio::test]
async fn a_restart_asks_nobody() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    site.provision_os_images(&[entry("4.18", &url)], &[]).finished().await;
    site.origin.clear_requests();
    let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
    assert_eq!(site.origin.requests().len(), 0);
}

#[tokio::test]
async fn what_the_predecessor_downloaded_is_taken_over() {
    for name in ["rhcos-full-iso-{}-x86_64.iso", "rhcos-full-iso-4.18-{}-x86_64.iso"] {
        let site = Site::new().await;
        let path = site.data_dir().join(name.replace("{}", OS_BUILD));
        fs::copy(live_iso(Arch::X86_64), path).unwrap();
        let run = site.provision_os_images(&[entry("4.18", "http://127.0.0.1:1/live.iso")], &[]);
        run.finished().await;
        assert_eq!(run.ready("4.18", Arch::X86_64).sha256(), iso().sha256());
    }
}

#[tokio::test]
async fn a_restart_goes_on_with_a_half_read_image_if_that_is_safe() {
    for (file, safe) in [
        (File::new(iso()), true),
        (File::new(iso()).no_etag().last_modified("Tue, 21 Oct 2025 07:28:00 GMT"), true),
        (File::new(iso()).etag("W/\"1\""), false),
    ] {
        let site = Site::new().await;
        let url = site.origin.publish("/live.iso", file);
        site.origin.inject_once("/live.iso", Fault::StallAfter(20_000_000));
        let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
        run.until("most of it has arrived", |run| run.received("4.18") > 15_000_000).await;
        let name = run.names.borrow().downloads.first().unwrap().clone();
        run.stop().await;
        // It is synced, or removed, by a thread that was writing it.
        site.until(|site| site.unfinished().len() == if safe { 2 } else { 0 } && site.is_at_rest()).await;
        assert!(site.unfinished().iter().all(|file| file.starts_with(&name)), "{:?}", site.unfinished());

        let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
        run.finished().await;
        assert_eq!(run.ready("4.18", Arch::X86_64).sha256(), iso().sha256());
        let ranges = site.origin.ranges_asked();
        assert_eq!((ranges.len(), ranges[1].is_some()), (2, safe), "{ranges:?}");
        assert!(site.unfinished().is_empty(), "{:?}", site.unfinished());
    }
}

#[tokio::test]
async fn what_is_not_the_image_is_never_published() {
    let wrong = with(entry("4.18", ""), "sha256", &content(Arch::S390x).sha256().to_string());
    let cases = [
        (wrong, iso(), "the ISO's SHA-256 is "),
        (entry("4.18", ""), truncated(20_000_000), "the ISO cannot be served: "),
        (entry("4.18", ""), truncated(volume_size() - 1), "the ISO cannot be served: "),
        (entry("4.18", ""), Content::from_bytes("<html>Please log in</html>"), "the ISO cannot be served: "),
        (entry("4.18", ""), Content::from_bytes(""), "the ISO cannot be served: "),
    ];
    for (entry, content, reason) in cases {
        let site = Site::new().await;
        let url = site.origin.publish("/live.iso", File::new(content));
        let run = site.provision_os_images(&[with(entry, "url", &url)], &[]);
        run.until("it has failed", |run| run.reason("4.18").is_some()).await;
        assert!(run.reason("4.18").unwrap().starts_with(reason), "{:?}", run.reason("4.18"));
        assert!(site.published().is_empty());
        // Somebody puts the right one there.
        site.origin.publish(
            "/live.iso",
            File::new(if reason.contains("SHA") { self::content(Arch::S390x) } else { iso() }),
        );
        run.finished().await;
        run.ready("4.18", Arch::X86_64);
        assert!(site.unfinished().is_empty(), "{:?}", site.unfinished());
    }
}

#[tokio::test]
async fn an_image_is_tried_again_until_it_is_there() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let missing = site.origin.url("/missing.iso?token=secret");
    site.origin.inject("/live.iso", Fault::CutAfter(1_000_000));
    let missing_entry = with(entry("4.17", &missing), "version", "417.94.1-0");
    let run = site.provision_os_images(&[entry("4.18", &url), missing_entry], &[]);
    run.until("both have failed", |run| run.reason("4.17").is_some() && run.reason("4.18").is_some()).await;
    assert!(run.catalog.is_settled());
    let reason = run.reason("4.17").unwrap();
    assert_eq!(reason, format!("{} answers 404 Not Found", site.origin.url("/missing.iso")));
    site.origin.heal();
    run.until("one is there", |run| run.is_ready("4.18", Arch::X86_64)).await;
    site.origin.publish("/missing.iso", File::new(iso()));
    run.finished().await;
    run.ready("4.17", Arch::X86_64);
}

/// Entries of different images at one server, in this order.
fn entries_at(site: &Site, names: &[(&str, &str)]) -> Vec<Value> {
    let entry = |(version, path): &(&str, &str)| {
        let build = format!("{}.94.1-0", version.replace('.', ""));
        with(entry(version, &site.origin.url(path)), "version", &build)
    };
    names.iter().map(entry).collect()
}

#[tokio::test]
async fn servers_that_fail_hold_up_nobody_else() {
    let site = Site::new().await;
    site.origin.publish("/good.iso", File::new(iso()));
    for path in ["/bad1.iso", "/bad2.iso"] {
        site.origin.inject(path, Fault::status(503));
    }
    let entries = entries_at(&site, &[("4.16", "/bad1.iso"), ("4.17", "/bad2.iso"), ("4.18", "/good.iso")]);
    // There is one slot, and whoever was answered 503 waits for an hour.
    let run = site.provision_one_by_one(&entries);
    run.until("the good one is there", |run| run.is_ready("4.18", Arch::X86_64)).await;
    run.stop().await;
}

#[tokio::test]
async fn what_is_asked_for_is_downloaded_first_and_the_rest_in_the_order_of_the_configuration() {
    let site = Site::new().await;
    let images = [("4.18", "/1.iso"), ("4.16", "/2.iso"), ("4.17", "/3.iso"), ("4.15", "/4.iso")];
    for (_, path) in images {
        site.origin.publish(path, File::new(iso()));
    }
    let run = site.provision_one_by_one(&entries_at(&site, &images));
    // Nothing has begun before this function waits for the first time.
    assert!(!run.is_ready("4.15", Arch::X86_64));
    run.finished().await;
    let asked: Vec<_> = site.origin.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/1.iso", "/4.iso", "/2.iso", "/3.iso"]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_tried_again() {
    let site = Site::new().await;
    let huge = File::new(iso()).stated_length(1 << 60);
    let url = site.origin.publish("/live.iso", huge);
    let run = site.provision_os_images(&[entry("4.18", &url)], &[]);
    run.until("it has failed", |run| run.reason("4.18").is_some()).await;
    let reason = run.reason("4.18").unwrap();
    assert!(reason.starts_with("cannot store the download: not enough space in "), "{reason}");
    site.origin.publish("/live.iso", File::new(iso()));
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_told_and_tried_again() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    // Root may write everywhere, but nobody into a file as if it were a directory.
    let staging = site.data_dir().join(".coreos-image-service/v1/staging");
    let run = site.provision_prepared(&[entry("4.18", &url)], || {
        fs::remove_dir(&staging).unwrap();
        fs::write(&staging, "").unwrap();
    });
    run.until("it has failed", |run| run.reason("4.18").is_some()).await;
    let reason = run.reason("4.18").unwrap();
    assert!(reason.contains(staging.to_str().unwrap()), "{reason}");
    fs::remove_file(&staging).unwrap();
    fs::create_dir(&staging).unwrap();
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
}

#[tokio::test]
async fn nmstatectl_is_tried_again_while_the_image_is_served() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let place = site.data_dir().join(".coreos-image-service/v1/nmstate");
    let in_trouble = |run: &Run| {
        let lease = run.is_ready("4.18", Arch::X86_64).then(|| run.ready("4.18", Arch::X86_64));
        lease.is_some_and(|lease| matches!(lease.nmstate_trouble(), Some(NmstateTrouble::Failed { .. })))
    };
    // The image is new, and then it is known.
    for _start in 0..2 {
        let run = site.provision_prepared(&[entry("4.18", &url)], || fs::remove_dir(&place).unwrap());
        run.until("the image is served without nmstatectl", in_trouble).await;
        fs::create_dir(&place).unwrap();
        run.finished().await;
        assert!(run.ready("4.18", Arch::X86_64).nmstate().is_some());
        fs::remove_dir_all(&place).unwrap();
        fs::create_dir(&place).unwrap();
    }
}

fn release(version: &str) -> ReleaseBuilder {
    ReleaseBuilder::new(version, "418.94.209901010000-0")
        .component_repository("127.0.0.1:1/openshift-release-dev/ocp-v4.0-art-dev")
        .iso(Arch::X86_64, content(Arch::X86_64))
        .iso(Arch::S390x, content(Arch::S390x))
        .multi()
}

#[tokio::test]
async fn os_images_own_their_names() {
    for arches in ["multi", "x86_64"] {
        let site = Site::new().await;
        let url = site.origin.publish("/live.iso", File::new(iso()));
        let pullspec = site.publish(release("4.18.52"));
        let run = site.provision_os_images(
            &[entry("4.18", &url)],
            &[("4.18-multi", "4.18.52-multi", arches, &pullspec)],
        );
        run.finished().await;
        assert_eq!(run.ready("4.18", Arch::X86_64).key().os_build.as_str(), OS_BUILD);
        let of_release = run.catalog.find("4.18.52", Arch::X86_64, ImageKind::Full);
        assert!(matches!(of_release, Lookup::Unknown), "{of_release:?}");
        if arches == "multi" {
            assert_eq!(run.ready("4.18", Arch::S390x).sha256(), content(Arch::S390x).sha256());
            assert_eq!(site.iso_downloads(), 1);
        } else {
            assert_eq!(site.registry.requests().len(), 0);
        }

        let run = site.provision_os_images(
            &[entry("4.18", &url)],
            &[("4.18-multi", "4.18.52-multi", arches, &pullspec)],
        );
        run.finished().await;
        assert_eq!(run.ready("4.18", Arch::X86_64).key().os_build.as_str(), OS_BUILD);
    }
}

#[tokio::test]
async fn a_release_of_another_version_is_fetched_beside_os_images() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let appliance = with(entry("4.19", &url), "type", "disconnected-iso");
    let pullspec = site.publish(release("4.19.1"));
    let run = site
        .provision_os_images(&[entry("4.18", &url), appliance], &[("4.19", "4.19.1", "x86_64", &pullspec)]);
    run.finished().await;
    assert_eq!(run.ready("4.19", Arch::X86_64).proof(), Proof::Digest);
}

#[tokio::test]
async fn a_release_proves_an_image_that_came_from_a_url() {
    let site = Site::new().await;
    let url = site.origin.publish("/live.iso", File::new(iso()));
    let same = with(entry("4.17", &url), "version", "418.94.209901010000-0");
    site.provision_os_images(std::slice::from_ref(&same), &[]).finished().await;
    let pullspec = site.publish(release("4.18.52"));
    let run = site.provision_os_images(&[same], &[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;
    assert_eq!(run.ready("4.18", Arch::X86_64).proof(), Proof::Digest);
    assert_eq!(site.iso_downloads(), 0);
    assert_eq!(site.published().len(), 1);
}

#[tokio::test]
async fn nothing_desired_is_settled() {
    let site = Site::new().await;
    let run = site.provision_os_images(&[], &[]);
    assert!(run.catalog.is_settled());
    run.finished().await;
    let run = site.provision_os_images(&[entry("4.18", "http://127.0.0.1:1/x.iso")], &[]);
    assert!(!run.catalog.is_settled());
    assert!(matches!(run.catalog.report()[0].state, ImageState::Waiting));
    run.stop().await;
}
