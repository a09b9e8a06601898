//! ISOs on a web server are downloaded, proven, kept and served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::fixtures::{LiveIso, OS_BUILD, live_iso};
use test_support::origin::{Fault, File, OriginServer};
use test_support::payload::{Content, ReleaseBuilder};
use test_support::registry::DockerRegistry;

use crate::IGNITION;
use crate::releases::push;
use crate::service::{FULL_ISO, NOT_OURS, Service, os_image};

fn content(iso: LiveIso) -> Content {
    Content::from_file(iso.path()).unwrap()
}

/// The entry with another member, or another value for one.
fn with(mut entry: Value, member: &str, value: &str) -> Value {
    entry[member] = value.into();
    entry
}

fn is_fixture(bytes: &[u8], fixture: LiveIso) -> bool {
    bytes == fs::read(fixture.path()).unwrap()
}

/// Which files with ISOs are in the data directory.
fn isos(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory.join("data")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "iso")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iso_of_a_web_server_is_served_and_after_a_restart_without_that_server() {
    let origin = OriginServer::start().await;
    let url = origin.publish("/live.iso", File::new(content(LiveIso::X86_64)));
    let directory = TempDir::new().unwrap();
    let start = || {
        Service::builder(directory.path())
            .os_images(&[os_image("4.18", Arch::X86_64, &url)])
            .infra_env(IGNITION, &[])
            .start()
    };
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));

    let service = start();
    service.wait_until_ready();
    service.download(FULL_ISO, &first);
    assert!(is_fixture(&service.iso_without_ignition(FULL_ISO), LiveIso::X86_64));
    service.stop();
    assert_eq!(origin.requests().len(), 1);
    drop(origin);

    let service = start();
    service.wait_until_ready();
    service.download(FULL_ISO, &second);
    assert!(fs::read(first).unwrap() == fs::read(second).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_in_mid_download_fails_the_image_until_there_is_room() {
    const MIB: u64 = 1 << 20;
    let origin = OriginServer::start().await;
    // Without its length nobody can tell beforehand that it does not fit.
    let url = origin.publish("/live.iso", File::new(content(LiveIso::X86_64)).chunked());
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .os_images(&[os_image("4.18", Arch::X86_64, &url)])
        .infra_env(IGNITION, &[])
        .on_small_disk(30 * MIB, 12 * MIB)
        .start();
    service.wait_until_images("the disk is full", |images| images[0]["state"] == "failed");
    let images = service.images();
    let reason = images[0]["reason"].as_str().unwrap();
    assert!(reason.contains("not enough space"), "{reason}");
    assert_eq!(
        (service.status("/live"), service.status("/health"), service.status(FULL_ISO)),
        (200, 200, 503)
    );
    let data = service.data_on_small_disk();
    assert_eq!(isos(directory.path()), BTreeSet::new());

    fs::remove_file(data.join(NOT_OURS)).unwrap();
    service.wait_until_ready();
    assert!(is_fixture(&service.iso_without_ignition(FULL_ISO), LiveIso::X86_64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_fails_one_image_and_no_other() {
    let origin = OriginServer::start().await;
    let damaged = origin.publish("/x86_64.iso", File::new(content(LiveIso::X86_64)));
    let good = origin.publish("/aarch64.iso", File::new(content(LiveIso::Aarch64)));
    let sha256 = content(LiveIso::Aarch64).sha256().to_string();
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .os_images(&[
            with(os_image("4.18", Arch::X86_64, &damaged), "sha256", &sha256),
            with(os_image("4.18", Arch::Arm64, &good), "sha256", &sha256),
        ])
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_images("one has failed and one is ready", |images| {
        images
            .iter()
            .all(|image| image["state"] == ["ready", "failed"][usize::from(image["arch"] == "x86_64")])
    });
    let images = service.images();
    let of = |arch: &str| images.iter().find(|image| image["arch"] == arch).unwrap();
    assert_eq!((&of("arm64")["proof"], &of("arm64")["sha256"]), (&json!("admin-sha256"), &json!(sha256)));
    let reason = of("x86_64")["reason"].as_str().unwrap();
    let actual = content(LiveIso::X86_64).sha256().to_string();
    assert!(reason.contains(&sha256) && reason.contains(&actual), "{reason}");

    assert_eq!(service.status("/live"), 200);
    assert_eq!(service.status(FULL_ISO), 503);
    let iso = service.iso_without_ignition(&FULL_ISO.replace("x86_64", "arm64"));
    assert!(is_fixture(&iso, LiveIso::Aarch64));
    assert_eq!(isos(directory.path()), [format!("rhcos-full-iso-{OS_BUILD}-arm64.iso")].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn rhcos_versions_count_where_os_images_are_absent() {
    let origin = OriginServer::start().await;
    let url = origin.publish("/live.iso", File::new(content(LiveIso::X86_64)));
    let unwanted = origin.publish("/unwanted.iso", File::new(content(LiveIso::Aarch64)));
    let old = |url: &str, arch| json!([os_image("4.18", arch, url)]).to_string();

    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .variable("RHCOS_VERSIONS", &old(&url, Arch::X86_64))
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_ready();
    assert!(is_fixture(&service.iso_without_ignition(FULL_ISO), LiveIso::X86_64));

    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .variable("RHCOS_VERSIONS", &old(&unwanted, Arch::Arm64))
        .os_images(&[os_image("4.18", Arch::X86_64, &url)])
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_ready();
    assert_eq!(service.status(FULL_ISO), 200);
    assert_eq!(service.status(&FULL_ISO.replace("x86_64", "arm64")), 404);
    assert!(origin.requests().iter().all(|request| request.path == "/live.iso"));
}

#[tokio::test(flavor = "multi_thread")]
async fn os_images_go_before_a_release_of_the_same_version_and_architecture() {
    let registry = DockerRegistry::start();
    let release = ReleaseBuilder::new("4.18.52", OS_BUILD)
        .iso(Arch::X86_64, content(LiveIso::X86_64))
        .iso(Arch::Arm64, content(LiveIso::Aarch64))
        .multi()
        .build()
        .unwrap();
    let pullspec = push(&registry, &release);
    let origin = OriginServer::start().await;
    let url = origin.publish("/live.iso", File::new(content(LiveIso::Ocp4_13)));
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .release("4.18", "4.18.52", "multi", &pullspec)
        .pull_secret(&registry.pull_secret())
        .os_images(&[with(os_image("4.18", Arch::X86_64, &url), "version", "418.94.202601010000-0")])
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_ready();
    assert!(is_fixture(&service.iso_without_ignition(FULL_ISO), LiveIso::Ocp4_13));
    let iso = service.iso_without_ignition(&FULL_ISO.replace("x86_64", "arm64"));
    assert!(is_fixture(&iso, LiveIso::Aarch64), "what OS_IMAGES has not comes from the release");

    let pulled = registry.requests();
    let pulled = pulled.iter().filter(|request| request.user_agent.starts_with("coreos-image-service/"));
    let pulled: Vec<_> = pulled.map(|request| request.path.as_str()).collect();
    for image in release.machine_os_images().image.images() {
        let config = image.config.bytes().unwrap();
        let is_x86_64 = String::from_utf8_lossy(&config).contains("amd64");
        let layer = image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
        let is_pulled = pulled.iter().any(|path| path.ends_with(&layer.content.digest()));
        assert_eq!(is_pulled, !is_x86_64, "{pulled:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_admin_adds_to_requests_reaches_the_server_and_not_the_log() {
    let origin = OriginServer::start().await;
    origin.require_header("x-token", "secret-of-a-header");
    origin.require_query_param("key", "secret of a parameter");
    let url = origin.publish("/live.iso", File::new(content(LiveIso::X86_64)));
    origin.publish("/broken.iso", File::new(Content::from_bytes(vec![0; 100_000])));
    // Trouble is what logs tell most about.
    origin.inject_once("/live.iso", Fault::CutAfter(10_000_000));
    let broken = format!("http://user:secret-of-a-url@{}/broken.iso?sas=secret-of-a-url", origin.address());
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .os_images(&[os_image("4.18", Arch::X86_64, &url), os_image("4.18", Arch::Arm64, &broken)])
        .variable("OS_IMAGES_REQUEST_HEADERS", r#"{"X-Token": "secret-of-a-header", "Range": "bytes=1-2"}"#)
        .variable("OS_IMAGES_REQUEST_QUERY_PARAMS", r#"{"key": "secret of a parameter"}"#)
        .variable("LOGLEVEL", "trace")
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_images("one is ready and one has failed", |images| {
        images
            .iter()
            .all(|image| image["state"] == ["failed", "ready"][usize::from(image["arch"] == "x86_64")])
    });
    assert!(is_fixture(&service.iso_without_ignition(FULL_ISO), LiveIso::X86_64));

    assert!(origin.requests().len() >= 3, "{:?}", origin.requests());
    let log = service.log();
    assert!(log.contains("/broken.iso") && log.contains("trying the download again"), "{log}");
    assert!(log.contains("OS_IMAGES_REQUEST_HEADERS: range is not sent"), "{log}");
    let health = json!(service.images()).to_string();
    for text in [log, health] {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_iso_is_downloaded_once() {
    let origin = OriginServer::start().await;
    let url = origin.publish("/ove.iso", File::new(content(LiveIso::X86_64)));
    let directory = TempDir::new().unwrap();
    let path = FULL_ISO.replace("full", "disconnected");
    for _ in 0..2 {
        let service = Service::builder(directory.path())
            .os_images(&[with(os_image("4.18", Arch::X86_64, &url), "type", "disconnected-iso")])
            .infra_env(IGNITION, &[])
            .start();
        service.wait_until_ready();
        assert!(is_fixture(&service.iso_without_ignition(&path), LiveIso::X86_64));
        assert_eq!(service.status(FULL_ISO), 404);
        service.stop();
    }
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(isos(directory.path()), [format!("rhcos-disconnected-iso-{OS_BUILD}-x86_64.iso")].into());
}

#[test]
fn what_the_predecessor_left_under_an_older_name_is_served_and_not_renamed() {
    let directory = TempDir::new().unwrap();
    let name = format!("rhcos-full-iso-4.18-{OS_BUILD}-x86_64.iso");
    let file = directory.path().join("data").join(&name);
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::copy(live_iso(Arch::X86_64), &file).unwrap();
    let modified = || fs::metadata(&file).unwrap().modified().unwrap();
    let before = modified();
    for _ in 0..2 {
        let service = Service::builder(directory.path())
            .os_images(&[os_image("4.18", Arch::X86_64, "http://127.0.0.1:1/live.iso")])
            .infra_env(IGNITION, &[])
            .start();
        service.wait_until_ready();
        assert!(is_fixture(&service.iso_without_ignition(FULL_ISO), LiveIso::X86_64));
        service.stop();
        assert_eq!(isos(directory.path()), [name.clone()].into());
        assert_eq!(modified(), before);
    }
}
