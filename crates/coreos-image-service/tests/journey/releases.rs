//! Release images in a registry become ISOs.

use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coreos_names::Arch;
use tempfile::TempDir;
use test_support::fixtures::{LiveIso, OS_BUILD, live_iso};
use test_support::gpg::{Gpg, statement};
use test_support::origin::{File, OriginServer};
use test_support::payload::{Content, Release, ReleaseBuilder};
use test_support::registry::DockerRegistry;

use crate::IGNITION;
use crate::boots::{boot, told};
use crate::service::{FULL_ISO, INFRA_ENV, Service};
use crate::tools::{coreos_installer, output};

fn release() -> Release {
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap()
}

/// Pushes a release with all its components into one repository.
pub(crate) fn push(registry: &DockerRegistry, release: &Release) -> String {
    let repository = "mirror/ocp-release";
    for component in &release.components {
        registry.push(&format!("{repository}:{}", component.tag), &component.image);
    }
    registry.push(&format!("{repository}:{}", release.tag), &release.image);
    format!("{}/{repository}:{}", registry.address(), release.tag)
}

#[test]
fn a_release_image_becomes_a_customised_iso_that_boots() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &release());
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .release("4.18", "4.18.52", "x86_64", &pullspec)
        .pull_secret(&registry.pull_secret())
        .infra_env(IGNITION, &["test.says=hello", "test.number=7"])
        .start();
    service.wait_until_ready();

    let iso = directory.path().join("discovery.iso");
    service.download(&format!("/byid/{INFRA_ENV}/4.18/x86_64/full.iso"), &iso);

    assert_eq!(output(coreos_installer(&["iso", "ignition", "show"]).arg(&iso)), IGNITION);
    let arguments = output(coreos_installer(&["iso", "kargs", "show"]).arg(&iso));
    assert!(
        arguments.trim_end().ends_with(" ignition.platform.id=metal test.says=hello test.number=7"),
        "{arguments}"
    );

    for firmware in ["bios", "uefi"] {
        let console = boot(&iso, (firmware, "cd"));
        assert!(console.contains(IGNITION), "{firmware}: {console}");
        let arguments = told(&console, "GUEST-CMDLINE: ").unwrap();
        assert!(arguments.ends_with(" test.says=hello test.number=7"), "{firmware}: {arguments}");
    }
}

#[test]
fn a_restart_serves_the_same_bytes_with_the_registry_switched_off() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &release());
    let directory = TempDir::new().unwrap();
    let builder = || {
        Service::builder(directory.path())
            .release("4.18", "4.18.52", "x86_64", &pullspec)
            .pull_secret(&registry.pull_secret())
            .infra_env(IGNITION, &[])
    };
    let [first, second, third] = ["first", "second", "third"].map(|name| directory.path().join(name));
    let url = format!("/images/{INFRA_ENV}?version=4.18.52&type=full-iso&arch=x86_64");

    let service = builder().start();
    service.wait_until_ready();
    service.download(&url, &first);
    service.stop();
    let pulled = |registry: &DockerRegistry| {
        let ours = registry
            .requests()
            .into_iter()
            .filter(|request| request.user_agent.starts_with("coreos-image-service/"));
        ours.filter(|request| request.path.contains("/blobs/") && request.bytes > 4 << 20).count()
    };
    assert_eq!(pulled(&registry), 1, "{}", registry.log());

    let service = builder().start();
    service.wait_until_ready();
    service.download(&url, &second);
    service.stop();
    assert_eq!(pulled(&registry), 1, "nothing was downloaded again");

    let pull_secret = registry.pull_secret();
    registry.stop();
    let service = Service::builder(directory.path())
        .release("4.18", "4.18.52", "x86_64", &pullspec)
        .pull_secret(&pull_secret)
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_ready();
    service.download(&url, &third);

    let first = std::fs::read(first).unwrap();
    assert!(first == std::fs::read(second).unwrap());
    assert!(first == std::fs::read(third).unwrap());
}

#[test]
fn a_release_is_inspected_without_fetching_its_iso() {
    let registry = DockerRegistry::start();
    let release = release();
    let pullspec = push(&registry, &release);
    let inspect = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        command.args(["release", "inspect", &pullspec]).env("INSECURE_REGISTRIES", registry.address());
        command
    };
    let text = output(inspect().env("PULL_SECRET", registry.pull_secret()));
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    for expected in [
        format!("release image   {pullspec}\n"),
        format!("digest          {}\n", release.image.digest()),
        "signature       not checked\n".to_owned(),
        "version         4.18.52\n".to_owned(),
        "architectures   x86_64\n".to_owned(),
        format!("RHCOS build   {OS_BUILD}\n"),
        format!("ISO sha256    {}\n", iso.sha256()),
        format!("ISO size      {} bytes\n", iso.size()),
        format!("fetched from  {}/mirror/ocp-release@sha256:", registry.address()),
    ] {
        assert!(text.contains(&expected), "{expected:?} is not in\n{text}");
    }
    let largest = registry
        .requests()
        .iter()
        .filter(|request| request.method == "GET")
        .map(|request| request.bytes)
        .max();
    assert!(largest.unwrap() < iso.size() / 2, "no ISO was fetched");

    let refused = inspect().output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.starts_with("error: cannot read the release image"), "{text}");
}

#[test]
fn a_release_is_served_only_if_its_publisher_has_signed_it() {
    let registry = DockerRegistry::start();
    let release = release();
    let pullspec = push(&registry, &release);
    let (directory, gpg) = (TempDir::new().unwrap(), Gpg::new());
    let key = gpg.key("Publisher", "rsa3072");
    let (keys, store) = (directory.path().join("keys.asc"), directory.path().join("signatures"));
    std::fs::write(&keys, gpg.export_armored(&[&key])).unwrap();
    std::fs::create_dir(&store).unwrap();
    let start = || {
        Service::builder(directory.path())
            .release("4.18", "4.18.52", "x86_64", &pullspec)
            .pull_secret(&registry.pull_secret())
            .infra_env(IGNITION, &[])
            .variable("RELEASE_SIGNATURE_KEYS", keys.to_str().unwrap())
            .variable("RELEASE_SIGNATURE_STORES", store.to_str().unwrap())
            .start()
    };
    let digest = release.image.digest();
    // Clients are told no paths, the log tells all.
    let refusal = format!("the release {digest} has no valid signature of a key in ");

    let service = start();
    service.wait_until_images("it is refused", |images| {
        images.iter().all(|image| image["reason"].as_str().is_some_and(|reason| reason.contains(&refusal)))
    });
    let told = format!("{refusal}{}; {} has no signature of it", keys.display(), store.display());
    assert!(service.log().contains(&told), "{told}");
    assert_eq!(service.status(&format!("/byid/{INFRA_ENV}/4.18/x86_64/full.iso")), 503);
    service.stop();

    let place = store.join(format!("4.18.52-x86_64-{}", digest.replace(':', "-")));
    std::fs::write(place, gpg.sign(&[&key], &statement(&digest))).unwrap();
    let service = start();
    service.wait_until_ready();
    service.download(&format!("/byid/{INFRA_ENV}/4.18/x86_64/full.iso"), &directory.path().join("full.iso"));
    service.stop();

    let mut inspect = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
    inspect
        .args(["release", "inspect", &pullspec])
        .env("INSECURE_REGISTRIES", registry.address())
        .env("PULL_SECRET", registry.pull_secret())
        .env("RELEASE_SIGNATURE_KEYS", &keys)
        .env("RELEASE_SIGNATURE_STORES", &store);
    let signed = format!("signed by       {} (Publisher) via {}\n", &key[24..], store.display());
    assert!(output(&mut inspect).contains(&signed), "{signed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_taken_from_every_kind_of_store_and_only_by_the_right_key() {
    let registry = DockerRegistry::start();
    let release = release();
    let pullspec = push(&registry, &release);
    let (directory, gpg) = (TempDir::new().unwrap(), Gpg::new());
    let [publisher, stranger] = ["Publisher", "Stranger"].map(|name| gpg.key(name, "ed25519"));
    let keys = directory.path().join("keys.gpg");
    std::fs::write(&keys, gpg.export(&[&publisher])).unwrap();
    let digest = release.image.digest();
    let name = digest.replace(':', "=");
    let inspect = |store: &str| {
        let mut inspect = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        inspect
            .args(["release", "inspect", &pullspec])
            .env("INSECURE_REGISTRIES", registry.address())
            .env("PULL_SECRET", registry.pull_secret())
            .env("RELEASE_SIGNATURE_KEYS", &keys)
            .env("RELEASE_SIGNATURE_STORES", store);
        inspect
    };
    let origin = OriginServer::start().await;
    for (key, is_right) in [(&stranger, false), (&publisher, true)] {
        let signature = gpg.sign(&[key], &statement(&digest));
        let (layout, maps) = (directory.path().join("layout"), directory.path().join("maps"));
        std::fs::create_dir_all(layout.join(&name)).unwrap();
        std::fs::write(layout.join(&name).join("signature-1"), &signature).unwrap();
        // What `oc adm release mirror` leaves behind.
        let map = serde_json::json!({
            "kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": digest.replace(':', "-"), "namespace": "openshift-config-managed"},
            "binaryData": {format!("{}-1", digest.replace(':', "-")): BASE64_STANDARD.encode(&signature)},
        });
        std::fs::create_dir_all(&maps).unwrap();
        let file = maps.join(format!("signature-{}.json", digest.replace(':', "-")));
        std::fs::write(&file, map.to_string()).unwrap();
        origin.publish(&format!("/store/{name}/signature-1"), File::new(Content::from_bytes(signature)));
        for store in [
            origin.url("/store"),
            layout.display().to_string(),
            maps.display().to_string(),
            file.display().to_string(),
        ] {
            if is_right {
                let told = output(&mut inspect(&store));
                let signed = format!("signed by       {} (Publisher) via {store}\n", &publisher[24..]);
                assert!(told.contains(&signed), "{signed} is not in\n{told}");
            } else {
                let refused = inspect(&store).output().unwrap();
                assert_eq!(refused.status.code(), Some(1), "{store}");
                let told = String::from_utf8(refused.stderr).unwrap();
                assert!(told.contains(&format!("the release {digest} has no valid signature")), "{told}");
                assert!(told.contains(&stranger[24..]), "{told}");
            }
        }
    }
}

#[test]
fn of_two_generations_the_versions_own_is_served_unless_an_entry_asks_for_the_other() {
    const BUILD_OF_10: &str = "10.2.20260715-0";
    let registry = DockerRegistry::start();
    let isos = [LiveIso::X86_64, LiveIso::Rhel10].map(|iso| Content::from_file(iso.path()).unwrap());
    let release = |version: &str, builds: [&str; 2]| {
        let [nine, ten] = isos.clone();
        let builder = ReleaseBuilder::new(version, builds[0]).iso(Arch::X86_64, nine);
        push(&registry, &builder.coreos10(builds[1], [(Arch::X86_64, ten)]).build().unwrap())
    };
    let older = release("4.22.3", ["9.8.20260101-0", "10.2.20260101-0"]);
    let newer = release("5.0.3", [OS_BUILD, BUILD_OF_10]);
    let entry = |openshift_version: &str, version: &str, url: &str| {
        serde_json::json!({
            "openshift_version": openshift_version, "version": version, "cpu_architecture": "x86_64", "url": url,
        })
    };
    let mut nine = entry("5.0-rhel-9", "5.0.3", &newer);
    nine["os_stream"] = "rhel-9".into();
    let mut ten = entry("4.22-rhel-10", "4.22.3", &older);
    ten["os_stream"] = "rhel-10".into();
    let entries = [entry("4.22", "4.22.3", &older), entry("5.0", "5.0.3", &newer), nine, ten];
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .release("5.0", "5.0.3", "x86_64", &newer)
        .variable("RELEASE_IMAGES", &serde_json::json!(entries).to_string())
        .pull_secret(&registry.pull_secret())
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_ready();
    for (version, iso) in [
        ("4.22", LiveIso::X86_64),
        ("4.22.3", LiveIso::X86_64),
        ("4.22-rhel-10", LiveIso::Rhel10),
        ("5.0", LiveIso::Rhel10),
        ("5.0.3", LiveIso::Rhel10),
        (BUILD_OF_10, LiveIso::Rhel10),
        ("5.0-rhel-9", LiveIso::X86_64),
        ("5.0.3+rhel-9", LiveIso::X86_64),
        (OS_BUILD, LiveIso::X86_64),
    ] {
        let served = service.iso_without_ignition(&FULL_ISO.replace("4.18", version));
        assert!(served == std::fs::read(iso.path()).unwrap(), "{version}");
    }
}
