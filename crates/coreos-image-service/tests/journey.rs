//! The whole program on real parts: Debian's docker-registry with a password, skopeo, coreos-installer, qemu.

mod service;
mod tools;

use std::path::Path;
use std::process::Command;

use coreos_names::Arch;
use service::{INFRA_ENV, Service};
use tempfile::TempDir;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::payload::{Content, Release, ReleaseBuilder};
use test_support::registry::DockerRegistry;
use tools::{coreos_installer, output};

const IGNITION: &str = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/motd"}]}}"#;

fn release() -> Release {
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap()
}

/// Pushes a release with all its components into one repository.
fn push(registry: &DockerRegistry, release: &Release) -> String {
    let repository = "mirror/ocp-release";
    for component in &release.components {
        registry.push(&format!("{repository}:{}", component.tag), &component.image);
    }
    registry.push(&format!("{repository}:{}", release.tag), &release.image);
    format!("{}/{repository}:{}", registry.address(), release.tag)
}

/// An archive of a file in its directories, as cpio makes it.
fn archive(path: &str) -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "[connection]").unwrap();
    let pack = "find . -mindepth 1 | cpio --quiet -o -H newc | gzip";
    let output = Command::new("sh").args(["-c", pack]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn boot(iso: &Path, firmware: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/boot-iso");
    output(Command::new(script).args(["--firmware", firmware]).arg(iso))
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
        let console = boot(&iso, firmware);
        assert!(console.contains(IGNITION), "{firmware}: {console}");
        let arguments = console.lines().find(|line| line.starts_with("GUEST-CMDLINE: ")).unwrap();
        assert!(arguments.ends_with(" test.says=hello test.number=7"), "{firmware}: {arguments}");
    }
}

#[test]
fn a_minimal_iso_boots_and_fetches_its_root_file_system() {
    let registry = DockerRegistry::start();
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    let release = ReleaseBuilder::new("4.17.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap();
    let pullspec = push(&registry, &release);
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .release("4.17", "4.17.52", "x86_64", &pullspec)
        .pull_secret(&registry.pull_secret())
        .infra_env(IGNITION, &["test.says=hello"])
        .ramdisk(&archive("etc/assisted/network/host0/eth0.nmconnection"))
        .for_guests()
        .start();
    service.wait_until_ready();
    let [iso, rootfs] = ["minimal.iso", "rootfs"].map(|name| directory.path().join(name));
    service.download(&format!("/byid/{INFRA_ENV}/4.17/x86_64/minimal.iso"), &iso);
    service.download("/boot-artifacts/rootfs?version=4.17&arch=x86_64", &rootfs);
    let sha256 = output(Command::new("sha256sum").arg(&rootfs));

    for firmware in ["bios", "uefi"] {
        let console = boot(&iso, firmware);
        let line = |line: &str| console.lines().any(|found| found == line);
        assert!(line(&format!("GUEST-ROOTFS-SHA256: {}", &sha256[..64])), "{firmware}: {console}");
        assert!(line(IGNITION), "{firmware}: {console}");
        let file = "GUEST-RAMDISK-FILE: /etc/assisted/network/host0/eth0.nmconnection";
        assert!(line(file), "{firmware}: {console}");
        let arguments = console.lines().find(|line| line.starts_with("GUEST-CMDLINE: ")).unwrap();
        assert!(arguments.ends_with(" test.says=hello"), "{firmware}: {arguments}");
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
