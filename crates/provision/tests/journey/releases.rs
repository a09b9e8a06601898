//! From a registry that gives out tokens to images in the data directory, and what happens when something is wrong.

use std::time::{Duration, SystemTime};

use coreos_names::{Arch, ImageKind};
use image_store::{ImageState, Lookup};
use provision::RetryPolicy;
use serde_json::json;

use test_support::fixtures::OS_BUILD;
use test_support::payload::{
    Artifact, Component, Compression, Content, Flaw, MediaTypes, Release, ReleaseBuilder,
};
use test_support::registry::{Fault, Gate};

use crate::site::{Site, content};

fn release(version: &str) -> ReleaseBuilder {
    release_without_iso(version).iso(Arch::X86_64, content(Arch::X86_64))
}

/// Its components' origin is a place where nobody listens, as in a site without internet.
fn release_without_iso(version: &str) -> ReleaseBuilder {
    ReleaseBuilder::new(version, OS_BUILD)
        .component_repository("127.0.0.1:1/openshift-release-dev/ocp-v4.0-art-dev")
}

#[tokio::test]
async fn a_release_image_becomes_a_verified_iso() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52"));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;

    let lease = run.ready("4.18", Arch::X86_64);
    assert_eq!(lease.key().os_build.as_str(), OS_BUILD);
    assert_eq!(lease.sha256(), content(Arch::X86_64).sha256());
    let published =
        std::fs::read(site.data_dir().join(format!("rhcos-full-iso-{OS_BUILD}-x86_64.iso"))).unwrap();
    assert!(published == std::fs::read(test_support::fixtures::live_iso(Arch::X86_64)).unwrap());
}

#[tokio::test]
async fn only_the_layer_with_the_iso_is_downloaded() {
    let site = Site::new().await;
    let release = release("4.18.52").build().unwrap();
    let pullspec = site.publish_built(&release);
    site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]).finished().await;

    let component = &release.machine_os_images().image.images()[0];
    let iso_layer = component.layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
    let manifests_layer = release.image.images()[0].layers.last().unwrap();
    let mut expected =
        [&component.config, &iso_layer.content, &release.image.images()[0].config, &manifests_layer.content]
            .map(Content::digest)
            .to_vec();
    let mut downloaded: Vec<String> = site
        .registry
        .requests()
        .iter()
        .filter(|request| !request.cdn)
        .filter_map(|request| Some(request.path.split_once("/blobs/")?.1.to_owned()))
        .collect();
    expected.sort();
    downloaded.sort();
    assert_eq!(downloaded, expected);
}

#[tokio::test]
async fn a_multi_payload_is_one_entry_and_four_images() {
    let site = Site::new().await;
    let multi = Arch::ALL
        .into_iter()
        .fold(release_without_iso("4.18.52"), |release, arch| release.iso(arch, content(arch)))
        .multi();
    let pullspec = site.publish(multi);
    let run = site.provision(&[("4.18-multi", "4.18.52-multi", "multi", &pullspec)]);
    run.finished().await;
    for arch in Arch::ALL {
        assert_eq!(run.ready("4.18", arch).sha256(), content(arch).sha256(), "{arch}");
    }
    assert_eq!(site.published().len(), 4);
}

#[tokio::test]
async fn an_entry_that_comes_to_ask_for_all_architectures_gets_all() {
    let site = Site::new().await;
    let built = release_without_iso("4.18.52")
        .iso(Arch::X86_64, content(Arch::X86_64))
        .iso(Arch::S390x, content(Arch::S390x))
        .multi()
        .build()
        .unwrap();
    let tag = site.publish_built(&built);
    let digest = format!("{}@{}", tag.rsplit_once(':').unwrap().0, built.image.digest());
    site.provision(&[("4.18", "4.18.52", "x86_64", &digest)]).finished().await;

    let run = site.provision(&[("4.18", "4.18.52", "multi", &digest)]);
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
    run.ready("4.18", Arch::S390x);
    assert_eq!(site.iso_downloads(), 2);
}

#[tokio::test]
async fn an_image_stays_servable_until_its_successor_is_there() {
    let mut site = Site::new().await;
    let tag = site.publish(release("4.18.52"));
    site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]).finished().await;

    let newer =
        ReleaseBuilder::new("4.18.52", "418.94.209901010000-0").iso(Arch::X86_64, content(Arch::X86_64));
    let newer = newer.flaw(Flaw::WrongStream).build().unwrap();
    site.publish_built(&newer);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]);
    run.until("the successor was tried", |_| site.iso_downloads() == 2).await;
    assert_eq!(run.ready("4.18", Arch::X86_64).key().os_build.as_str(), OS_BUILD);
    run.stop().await;

    site.stop_registry().await;
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]);
    run.until("the image is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
    assert_eq!(run.ready("4.18", Arch::X86_64).key().os_build.as_str(), OS_BUILD);
}

#[tokio::test]
async fn from_release_5_on_the_iso_of_rhel_10_is_taken_where_there_is_one() {
    let site = Site::new().await;
    let both = release_without_iso("5.0.0")
        .iso(Arch::X86_64, content(Arch::X86_64))
        .coreos10("10.2.20260715-0", [(Arch::X86_64, content(Arch::S390x))]);
    let pullspec = site.publish(both);
    let run = site.provision(&[("5.0", "5.0.0", "x86_64", &pullspec)]);
    run.finished().await;
    assert_eq!(run.ready("5.0", Arch::X86_64).sha256(), content(Arch::S390x).sha256());
    assert_eq!(site.iso_downloads(), 1);
}

#[tokio::test]
async fn two_entries_of_a_release_bring_both_generations_of_its_os() {
    let mut site = Site::new().await;
    let both = release_without_iso("5.0.0")
        .iso(Arch::X86_64, content(Arch::X86_64))
        .coreos10("10.2.20260715-0", [(Arch::X86_64, content(Arch::S390x))]);
    let pullspec = site.publish(both);
    let entries = [
        ("5.0", "5.0.0", "x86_64 rhel-10", &*pullspec),
        ("5.0-rhel-9", "5.0.0", "x86_64 rhel-9", &*pullspec),
    ];
    let assert_served = |run: &crate::site::Run| {
        for (version, iso) in [
            ("5.0", Arch::S390x),
            ("5.0.0", Arch::S390x),
            ("5.0-rhel-9", Arch::X86_64),
            ("5.0.0+rhel-9", Arch::X86_64),
        ] {
            assert_eq!(run.ready(version, Arch::X86_64).sha256(), content(iso).sha256(), "{version}");
        }
    };
    let run = site.provision(&entries);
    run.finished().await;
    assert_served(&run);
    assert_eq!(site.iso_downloads(), 2);

    site.stop_registry().await;
    let run = site.provision(&entries);
    run.until("what was known is served", |run| run.known.get() == Some(&2)).await;
    assert_served(&run);
}

#[tokio::test]
async fn an_iso_of_the_other_generation_is_never_served_for_what_is_announced_of_it() {
    let site = Site::new().await;
    let nine = site.publish(release("4.22.3"));
    site.provision(&[("4.22", "4.22.3", "x86_64", &nine)]).finished().await;
    assert_eq!(site.iso_downloads(), 1);

    // It announces the ISO that is there, and carries another beside it.
    let both = release("5.0.0").coreos10("10.2.20260715-0", [(Arch::X86_64, content(Arch::S390x))]);
    let both = site.publish(both.flaw(Flaw::OneAnnouncement));
    let run = site.provision(&[("4.22", "4.22.3", "x86_64", &nine), ("5.0", "5.0.0", "x86_64", &both)]);
    run.finished().await;
    assert_eq!(run.ready("5.0", Arch::X86_64).sha256(), content(Arch::S390x).sha256());
    assert_eq!(run.ready("4.22", Arch::X86_64).sha256(), content(Arch::X86_64).sha256());
}

#[tokio::test]
async fn a_mirror_that_dropped_lists_is_tried_again_until_it_is_mended() {
    let site = Site::new().await;
    let multi = release("4.18.52").iso(Arch::Arm64, content(Arch::Arm64)).multi().flaw(Flaw::OtherBootimages);
    let built = multi.build().unwrap();
    let component = built.machine_os_images();
    let of_x86_64 = |image: &Artifact| Artifact::from(image.images()[0].clone());
    let dropped = Release {
        image: of_x86_64(&built.image),
        components: vec![Component { image: of_x86_64(&component.image), ..component.clone() }],
        ..built.clone()
    };
    let pullspec = site.publish_built(&dropped);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.until("the ISO has failed", |run| {
        run.reason("4.18")
            .is_some_and(|reason| reason.contains("its ISO is not the one that the release announces"))
    })
    .await;
    site.publish_built(&Release { image: dropped.image, ..built });
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
}

#[tokio::test]
async fn a_release_that_can_never_be_right_is_not_downloaded_again_and_again() {
    let site = Site::new().await;
    let bad = site.publish(release("4.17.1").flaw(Flaw::WrongStream));
    let run = site.provision(&[("4.17", "4.17.1", "x86_64", &bad)]);
    let asked = |site: &Site| {
        site.registry.requests().iter().filter(|request| request.path.ends_with("/4.17.1-x86_64")).count()
    };
    run.until("the release was looked at several times", |_| asked(&site) > 4).await;
    assert_eq!(site.iso_downloads(), 1);
}

#[tokio::test]
async fn oci_media_types_and_zstd_layers_are_read_like_dockers() {
    for (media_types, compression) in [
        (MediaTypes::Oci, Compression::Zstd),
        (MediaTypes::Oci, Compression::Gzip),
        (MediaTypes::Docker, Compression::None),
    ] {
        let site = Site::new().await;
        let pullspec = site.publish(release("4.18.52").media_types(media_types).compression(compression));
        let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
        run.finished().await;
        run.ready("4.18.52", Arch::X86_64);
    }
}

#[tokio::test]
async fn two_releases_that_share_an_iso_fetch_it_once() {
    let site = Site::new().await;
    let first = site.publish(release("4.18.51"));
    let second = site.publish(release("4.18.52"));
    let run = site
        .provision(&[("4.18.51", "4.18.51", "x86_64", &first), ("4.18.52", "4.18.52", "x86_64", &second)]);
    run.finished().await;
    assert_eq!(run.ready("4.18.51", Arch::X86_64).key(), run.ready("4.18.52", Arch::X86_64).key());
    assert_eq!(site.iso_downloads(), 1);
}

#[tokio::test]
async fn releases_that_share_an_iso_and_announce_none_fetch_it_once() {
    let site = Site::new().await;
    let [first, second, third] = ["4.18.51", "4.18.52", "4.18.53"]
        .map(|version| release(version).flaw(Flaw::NoBootimages).build().unwrap());
    let component = &first.machine_os_images().image;
    let iso_layer = component.images()[0].layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
    let iso_layer = iso_layer.content.digest();
    let gate = Gate::default();
    site.registry.inject(&iso_layer, Fault::HoldAfter(10_000_000, gate.clone()));
    let [first_pullspec, second, third] =
        [&first, &second, &third].map(|release| site.publish_built(release));
    let os_image = json!({"openshift_version": "4.17", "cpu_architecture": "x86_64", "version": "418.94.1-0",
                          "url": format!("release-image://{second}")});
    let two = [("4.18", "4.18.51", "x86_64", &*first_pullspec), ("4.18.52", "4.18.52", "x86_64", &*second)];
    let run = site.provision_os_images(std::slice::from_ref(&os_image), &two);
    run.until("bytes arrive", |run| {
        ["4.17", "4.18", "4.18.52"].iter().any(|version| run.received(version) > 4 << 20)
    })
    .await;
    run.until("all have found it", |_| site.asked_for(&component.digest()) == 3).await;
    gate.open();
    run.until("all are ready", |run| {
        ["4.17", "4.18", "4.18.52"].iter().all(|version| run.is_ready(version, Arch::X86_64))
    })
    .await;
    run.desire(&[os_image], &[two[0], two[1], ("4.18.53", "4.18.53", "x86_64", &third)]);
    run.finished().await;
    for version in ["4.17", "4.18.51", "4.18.52", "4.18.53"] {
        assert_eq!(run.ready(version, Arch::X86_64).key().os_build.as_str(), OS_BUILD);
    }
    assert_eq!(site.asked_for(&iso_layer), 1);
    assert_eq!(run.catalog.statistics().fetches(), 1);
}

#[tokio::test]
async fn releases_that_announce_another_iso_than_the_one_they_share_fetch_it_once() {
    let site = Site::new().await;
    let [first, second] =
        ["4.18.51", "4.18.52"].map(|version| site.publish(release(version).flaw(Flaw::OtherBootimages)));
    let run = site
        .provision(&[("4.18.51", "4.18.51", "x86_64", &first), ("4.18.52", "4.18.52", "x86_64", &second)]);
    run.finished().await;
    assert_eq!(run.ready("4.18.51", Arch::X86_64).key(), run.ready("4.18.52", Arch::X86_64).key());
    assert_eq!(site.iso_downloads(), 1);
}

#[tokio::test]
async fn a_component_that_is_nowhere_counts_as_a_fetch_that_failed() {
    let site = Site::new().await;
    let built = release("4.18.52").build().unwrap();
    let component = built.machine_os_images();
    site.registry.inject(&component.image.digest(), Fault::status(404));
    site.registry.inject(&component.tag, Fault::status(404));
    let pullspec = site.publish_built(&built);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    let statistics = run.catalog.statistics();
    run.until("it has failed", |_| statistics.failed_fetches() > 0).await;
    site.registry.heal();
    run.finished().await;
    assert_eq!(statistics.fetches(), statistics.failed_fetches() + 1);
}

#[tokio::test]
async fn a_restart_downloads_nothing_and_needs_no_registry() {
    let mut site = Site::new().await;
    let tag = site.publish(release("4.18.52"));
    site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]).finished().await;
    assert_eq!(site.iso_downloads(), 1);

    site.registry.clear_requests();
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]);
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
    assert_eq!(site.iso_downloads(), 0, "the tag was asked again, the ISO was not");

    site.stop_registry().await;
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]);
    run.until("the image is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
}

#[tokio::test]
async fn a_restored_image_is_hashed_while_others_are_served_and_needs_no_registry() {
    let mut site = Site::new().await;
    let tag = site.publish(release("4.18.52"));
    let start = |site: &Site| site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]);
    start(&site).finished().await;
    let run = start(&site);
    run.finished().await;
    assert_eq!(run.known.get(), Some(&1));

    site.stop_registry().await;
    let image = site.data_dir().join(&site.published()[0]);
    std::fs::File::open(image).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let run = start(&site);
    run.until("the image is ready", |run| run.is_ready("4.18", Arch::X86_64)).await;
    assert_eq!(run.known.get(), Some(&0), "nothing is read whole before the first request is answered");
}

#[tokio::test]
async fn a_release_by_digest_is_not_even_asked_for_again() {
    let site = Site::new().await;
    let built = release("4.18.52").build().unwrap();
    let tag = site.publish_built(&built);
    let digest = format!("{}@{}", tag.rsplit_once(':').unwrap().0, built.image.digest());
    site.provision(&[("4.18", "4.18.52", "x86_64", &digest)]).finished().await;

    site.registry.clear_requests();
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &digest)]);
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
    assert_eq!(site.registry.requests().len(), 0);
}

#[tokio::test]
async fn a_tag_that_moved_is_followed() {
    let site = Site::new().await;
    let tag = site.publish(release("4.18.52"));
    site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]).finished().await;

    let newer =
        ReleaseBuilder::new("4.18.52", "418.94.209901010000-0").iso(Arch::X86_64, content(Arch::X86_64));
    assert_eq!(site.publish(newer), tag);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &tag)]);
    run.finished().await;
    assert_eq!(run.ready("4.18", Arch::X86_64).key().os_build.as_str(), "418.94.209901010000-0");
}

/// Nothing is wrong with it, and its ISO is not that of [`release`].
fn good_release() -> ReleaseBuilder {
    release_without_iso("4.18.52").iso(Arch::S390x, content(Arch::S390x))
}

/// A release with something wrong, and what an admin must be told about it.
struct Wrong {
    release: ReleaseBuilder,
    arch: &'static str,
    reason: &'static [&'static str],
}

#[tokio::test]
async fn one_bad_release_gives_one_clear_error_and_the_others_go_on() {
    let flawed = |flaw| release("4.17.1").flaw(flaw);
    let arm64 = || release_without_iso("4.17.1").iso(Arch::Arm64, content(Arch::Arm64));
    for Wrong { release: bad, arch, reason } in [
        Wrong {
            release: flawed(Flaw::WrongStream),
            arch: "x86_64",
            reason: &["the ISO's SHA-256 is ", " was announced for it"],
        },
        Wrong {
            release: flawed(Flaw::NoComponent),
            arch: "x86_64",
            reason: &["release 4.17.1 has no component machine-os-images"],
        },
        Wrong {
            release: flawed(Flaw::NoBootimages).flaw(Flaw::NoStream).flaw(Flaw::NoSidecar),
            arch: "x86_64",
            reason: &["states the SHA-256 of the live ISO for x86_64", "cannot be verified"],
        },
        Wrong { release: arm64(), arch: "x86_64", reason: &["is not for x86_64; it is for arm64"] },
        Wrong {
            release: arm64()
                .iso(Arch::X86_64, content(Arch::X86_64))
                .multi()
                .flaw(Flaw::NoArch(Arch::X86_64)),
            arch: "x86_64",
            reason: &["has no image for x86_64; it has arm64"],
        },
    ] {
        let site = Site::new().await;
        let good = site.publish(good_release());
        let bad = site.publish(bad);
        let run = site.provision(&[("4.17", "4.17.1", arch, &bad), ("4.18", "4.18.52", "s390x", &good)]);
        run.assert_only_the_good_one_is_there(&site, reason).await;
    }
}

/// Picks the digest of the part of a release that goes wrong.
type Place<'a> = &'a dyn Fn(&Release) -> String;

#[tokio::test]
async fn wrong_bytes_are_found_wherever_they_are_and_leave_nothing_behind() {
    let release_manifests =
        |release: &Release| release.image.images()[0].layers.last().unwrap().content.digest();
    let iso_layer = |release: &Release| {
        let image = &release.machine_os_images().image.images()[0];
        image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap().content.digest()
    };
    let component = |release: &Release| release.machine_os_images().image.digest();
    let cases: [(Place<'_>, Fault, &[&str]); 6] = [
        (&release_manifests, Fault::Corrupt(50), &["cannot read the release image", "sha256:"]),
        (&component, Fault::Corrupt(100), &["cannot find the image 127.0.0.1:1/", "tried 127.0.0.1:"]),
        (&iso_layer, Fault::Corrupt(20_000_000), &[": incomplete, ", "sha256:"]),
        (&iso_layer, Fault::CutAfter(20_000_000), &[": incomplete, "]),
        (&iso_layer, Fault::EndAfter(20_000_000), &[": incomplete, "]),
        (&iso_layer, Fault::Append(b"more"), &[": incomplete, "]),
    ];
    for (place, fault, reason) in cases {
        let site = Site::without_ranges().await;
        let bad = release("4.17.1").build().unwrap();
        site.registry.inject(&place(&bad), fault.clone());
        // Or the right image would be found by its tag.
        site.registry.inject(&bad.machine_os_images().tag, Fault::status(404));
        let bad = site.publish_built(&bad);
        let run = site.provision(&[("4.17", "4.17.1", "x86_64", &bad)]);
        run.until("the bad release has failed", |run| run.reason("4.17").is_some()).await;
        let text = run.reason("4.17").unwrap();
        for part in reason {
            assert!(text.contains(part), "{fault:?}: {part:?} is not in {text:?}");
        }
        run.stop().await;
        // Another attempt may just have begun when it was stopped.
        site.until_nothing_is_unfinished().await;
        assert!(site.published().is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_costs_no_second_attempt() {
    let site = Site::new().await;
    let built = release("4.18.52").build().unwrap();
    let image = &built.machine_os_images().image.images()[0];
    let iso_layer = image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
    let at_cdn = format!("/storage/{}", iso_layer.content.digest());
    site.registry.inject_once(&at_cdn, Fault::EndAfter(20_000_000));
    let pullspec = site.publish_built(&built);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
    let statistics = run.catalog.statistics();
    assert_eq!((statistics.fetches(), statistics.failed_fetches()), (1, 0));
    let requests = site.registry.requests();
    let ranges: Vec<_> = requests
        .iter()
        .filter(|request| request.path == at_cdn)
        .map(|request| request.header("range"))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=20000000-")]);
}

#[tokio::test]
async fn what_was_wrong_is_tried_again_until_it_is_right() {
    let site = Site::new().await;
    let built = release("4.18.52").build().unwrap();
    site.registry.inject("4.18.52-x86_64", Fault::status(503));
    let pullspec = site.publish_built(&built);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.until("it has failed", |run| run.reason("4.18").is_some()).await;
    site.registry.heal();
    run.finished().await;
    run.ready("4.18", Arch::X86_64);
}

#[tokio::test]
async fn lookups_and_fetches_are_counted() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52"));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;
    let statistics = run.catalog.statistics();
    assert_eq!((statistics.lookups(), statistics.failed_lookups()), (1, 0));
    assert_eq!((statistics.fetches(), statistics.failed_fetches()), (1, 0));
    assert_eq!(statistics.fetched_bytes(), content(Arch::X86_64).size());
    assert!(!statistics.fetching().is_zero());

    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;
    let statistics = run.catalog.statistics();
    assert_eq!((statistics.lookups(), statistics.fetches()), (1, 0), "it was in the data directory");
}

#[tokio::test]
async fn a_registry_that_is_down_is_counted_though_the_image_is_there() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52"));
    site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]).finished().await;
    site.registry.inject("4.18.52-x86_64", Fault::status(503));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    let statistics = run.catalog.statistics();
    run.until("it was asked twice", |_| statistics.failed_lookups() > 1).await;
    run.ready("4.18", Arch::X86_64);
    assert_eq!((statistics.fetches(), statistics.failed_fetches()), (0, 0));
    site.registry.heal();
    run.finished().await;
    assert_eq!(statistics.lookups(), statistics.failed_lookups() + 1);
}

#[tokio::test]
async fn fetches_that_fail_are_counted_with_what_had_arrived() {
    let site = Site::without_ranges().await;
    let built = release("4.18.52").build().unwrap();
    let image = &built.machine_os_images().image.images()[0];
    let iso_layer = image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
    site.registry.inject(&iso_layer.content.digest(), Fault::EndAfter(20_000_000));
    let pullspec = site.publish_built(&built);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    let statistics = run.catalog.statistics();
    run.until("it has failed", |_| statistics.failed_fetches() > 0).await;
    site.registry.heal();
    run.finished().await;
    assert_eq!(statistics.fetches(), statistics.failed_fetches() + 1);
    assert!(statistics.fetched_bytes() > content(Arch::X86_64).size());
}

#[tokio::test]
async fn an_iso_that_breaks_off_at_one_place_comes_whole_from_the_next() {
    let site = Site::without_ranges_and_cdn().await;
    let built = release("4.18.52").build().unwrap();
    let component = built.machine_os_images();
    let image = &component.image.images()[0];
    let iso_layer = image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap().content.digest();
    let pullspec = site.publish_built(&built);
    let origin = "openshift-release-dev/ocp-v4.0-art-dev";
    site.registry.publish(origin, &component.tag, &component.image);
    let (_, first) = pullspec.rsplit_once(':').unwrap().0.split_once('/').unwrap();
    site.registry.inject(&format!("{first}/blobs/{iso_layer}"), Fault::EndAfter(20_000_000));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;
    assert_eq!(run.ready("4.18", Arch::X86_64).sha256(), content(Arch::X86_64).sha256());
    assert_eq!(site.asked_for(&format!("{origin}/blobs/{iso_layer}")), 1);
    let statistics = run.catalog.statistics();
    assert_eq!((statistics.fetches(), statistics.failed_fetches()), (1, 0));
    assert!(statistics.fetched_bytes() > content(Arch::X86_64).size(), "what came in vain counts");
    let name = format!("rhcos-full-iso-{OS_BUILD}-x86_64.iso");
    let published = std::fs::read(site.data_dir().join(name)).unwrap();
    assert!(published == std::fs::read(test_support::fixtures::live_iso(Arch::X86_64)).unwrap());
    site.until_nothing_is_unfinished().await;
}

#[tokio::test]
async fn a_broken_entry_of_the_pull_secret_harms_only_its_registry() {
    let broken = Site::new().await;
    let site = Site::new().await;
    let good = site.publish(good_release());
    let bad = broken.publish(release("4.17.1"));
    let secret = format!(
        r#"{{"auths": {{"{}": {{"auth": "not base64!"}}, {}}}}}"#,
        broken.registry.address(),
        site.pull_secret_entry()
    );
    let run = site
        .provision_with(&secret, &[("4.17", "4.17.1", "x86_64", &bad), ("4.18", "4.18.52", "s390x", &good)]);
    run.assert_only_the_good_one_is_there(&site, &["cannot read the release image", "pull secret"]).await;
}

#[tokio::test]
async fn a_release_before_4_11_is_unsupported_and_never_asked_for() {
    let site = Site::new().await;
    let pullspec = format!("{}/ocp/release:4.10.67-x86_64", site.registry.address());
    let run = site.provision(&[("4.10", "4.10.67", "x86_64", &pullspec)]);
    run.finished().await;
    let Lookup::NotReady(report) = run.catalog.find("4.10", Arch::X86_64, ImageKind::Full) else { panic!() };
    let ImageState::Unsupported { reason } = report.state else { panic!("{:?}", report.state) };
    assert!(reason.contains("release 4.10.67 is older than 4.11"), "{reason}");
    assert_eq!(site.registry.requests().len(), 0);
    assert!(run.catalog.is_settled());
}

#[tokio::test]
async fn the_component_is_the_truth_where_the_release_announces_another_iso() {
    let site = Site::new().await;
    let pullspec = site.publish(release("4.18.52").flaw(Flaw::OtherBootimages));
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.finished().await;
    assert_eq!(run.ready("4.18", Arch::X86_64).key().os_build.as_str(), OS_BUILD);
}

#[tokio::test]
async fn stopping_in_mid_download_leaves_nothing_behind() {
    let site = Site::new().await;
    let built = release("4.18.52").build().unwrap();
    let image = &built.machine_os_images().image.images()[0];
    let iso_layer = image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
    site.registry.inject(&iso_layer.content.digest(), Fault::StallAfter(10_000_000));
    let pullspec = site.publish_built(&built);
    let run = site.provision(&[("4.18", "4.18.52", "x86_64", &pullspec)]);
    run.until("bytes arrive", |run| run.received("4.18") > 4 << 20).await;
    assert_eq!(site.unfinished().len(), 1);
    run.stop().await;
    site.until_nothing_is_unfinished().await;
}

#[tokio::test]
async fn a_registry_is_not_asked_again_sooner_than_it_said() {
    let site = Site::new().await;
    let hour = Duration::from_hours(1);
    site.registry.inject("4.18.52-x86_64", Fault::Status(429, vec![("retry-after", "3600".to_owned())]));
    let pullspec = site.publish(release("4.18.52"));
    let run = site.provision_patiently(
        &format!(r#"{{"auths": {{{}}}}}"#, site.pull_secret_entry()),
        &[("4.18", "4.18.52", "x86_64", &pullspec)],
        RetryPolicy { shortest: Duration::from_millis(1), longest: 2 * hour },
    );
    run.until("it has failed", |run| run.reason("4.18").is_some()).await;
    let ImageState::Failed { retry_at, .. } = run.catalog.report().remove(0).state else { panic!() };
    assert!(retry_at > SystemTime::now() + hour / 2, "{retry_at:?}");
}
