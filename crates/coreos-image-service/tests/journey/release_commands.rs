//! `release inspect`, `release extract` and `os-images`, asked of a real registry.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::payload::{Content, Flaw, Release, ReleaseBuilder};
use test_support::registry::DockerRegistry;

use crate::IGNITION;
use crate::releases::push;
use crate::service::{FULL_ISO, Service};
use crate::tools::output;

const ARCHES: [Arch; 2] = [Arch::X86_64, Arch::Arm64];

fn iso(arch: Arch) -> Content {
    Content::from_file(live_iso(arch)).unwrap()
}

fn multi(flaws: &[Flaw]) -> Release {
    let builder = ReleaseBuilder::new("4.18.52", OS_BUILD).multi();
    let builder = ARCHES.into_iter().fold(builder, |builder, arch| builder.iso(arch, iso(arch)));
    flaws.iter().fold(builder, |builder, &flaw| builder.flaw(flaw)).build().unwrap()
}

fn program(registry: &DockerRegistry, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
    command.args(arguments).env("INSECURE_REGISTRIES", registry.address());
    command.env("PULL_SECRET", registry.pull_secret());
    command
}

fn file_name(arch: Arch) -> String {
    format!("rhcos-full-iso-{OS_BUILD}-{arch}.iso")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What was told, and that it went wrong.
fn failure(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

/// How many layers with an ISO were fetched.
fn layers(registry: &DockerRegistry) -> usize {
    let blobs = registry.requests().into_iter().filter(|request| request.path.contains("/blobs/"));
    blobs.filter(|request| request.method == "GET" && request.bytes > 4 << 20).count()
}

#[test]
fn a_release_is_inspected_by_programs() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &multi(&[]));
    let text = output(&mut program(&registry, &["release", "inspect", "--output", "json", &pullspec]));
    let shown: Value = serde_json::from_str(&text).unwrap();
    let fields = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let promised = ["cpu_architectures", "digest", "isos", "release_image", "signatures", "version"];
    assert_eq!(fields(&shown), promised, "docs/RELEASES.md");
    assert_eq!(shown["version"], "4.18.52");
    assert_eq!(shown["release_image"], pullspec);
    assert_eq!(shown["cpu_architectures"], json!(["x86_64", "arm64"]));
    for (arch, shown) in ARCHES.into_iter().zip(shown["isos"].as_array().unwrap()) {
        let promised = ["cpu_architecture", "image", "layer", "sha256", "size", "version"];
        assert_eq!(fields(shown), promised, "docs/RELEASES.md");
        assert_eq!(fields(&shown["layer"]), ["digest", "size"]);
        assert_eq!(shown["cpu_architecture"], arch.name());
        assert_eq!(shown["version"], OS_BUILD);
        assert_eq!(shown["sha256"], iso(arch).sha256().to_string());
        assert_eq!(shown["size"], iso(arch).size());
        assert!(shown["image"].as_str().unwrap().starts_with(registry.address()), "{shown}");
        assert!(shown["layer"]["size"].as_u64().unwrap() > 0, "{shown}");
    }
}

#[test]
fn every_iso_of_a_release_is_extracted_once_and_served_where_it_lies() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &multi(&[]));
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    let to = data.to_str().unwrap();
    let one =
        program(&registry, &["release", "extract", &pullspec, "--arch", "aarch64", "--to", to]).output();
    let one = one.unwrap();
    let told = String::from_utf8(one.stderr).unwrap();
    assert!(one.status.success(), "{told}");
    assert_eq!(String::from_utf8(one.stdout).unwrap(), format!("{to}/{}\n", file_name(Arch::Arm64)));
    assert!(told.contains("4.18.52 arm64: 100 % of "), "{told}");
    assert_eq!((names(&data), layers(&registry)), ([file_name(Arch::Arm64)].into(), 1));

    let all = output(&mut program(&registry, &["release", "extract", &pullspec, "--to", to]));
    assert_eq!(all, ARCHES.map(|arch| format!("{to}/{}\n", file_name(arch))).concat());
    assert_eq!((names(&data), layers(&registry)), (ARCHES.map(file_name).into(), 2));
    for arch in ARCHES {
        assert!(fs::read(data.join(file_name(arch))).unwrap() == fs::read(live_iso(arch)).unwrap());
    }

    let service = Service::builder(directory.path())
        .release("4.18", "4.18.52", "multi", &pullspec)
        .pull_secret(&registry.pull_secret())
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_ready();
    assert!(service.iso_without_ignition(FULL_ISO) == fs::read(live_iso(Arch::X86_64)).unwrap());
    assert_eq!(layers(&registry), 2, "nothing was fetched for it");
}

#[test]
fn what_nobody_announced_is_extracted_again_without_complaint() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &multi(&[Flaw::NoBootimages]));
    let directory = TempDir::new().unwrap();
    let to = directory.path().to_str().unwrap();
    let extract = || output(&mut program(&registry, &["release", "extract", &pullspec, "--to", to]));
    assert_eq!(extract(), extract());
    assert_eq!(names(directory.path()), ARCHES.map(file_name).into());

    fs::write(directory.path().join(file_name(Arch::X86_64)), "mine").unwrap();
    let told = failure(&mut program(&registry, &["release", "extract", &pullspec, "--to", to]));
    assert!(told.contains("is there, but its sha256 is "), "{told}");
}

#[test]
fn of_a_release_with_two_generations_either_is_extracted() {
    const OTHER_BUILD: &str = "10.2.20260715-0";
    let registry = DockerRegistry::start();
    let release = ReleaseBuilder::new("4.22.3", OS_BUILD).iso(Arch::X86_64, iso(Arch::X86_64));
    let release = release.coreos10(OTHER_BUILD, [(Arch::X86_64, iso(Arch::Arm64))]).build().unwrap();
    let pullspec = push(&registry, &release);
    let directory = TempDir::new().unwrap();
    let to = directory.path().to_str().unwrap();
    for (stream, build) in [("rhel-9", OS_BUILD), ("rhel-10", OTHER_BUILD)] {
        let path = format!("{to}/rhcos-full-iso-{build}-x86_64.iso");
        let arguments = ["release", "extract", &pullspec, "--to", to, "--os-stream", stream];
        assert_eq!(output(&mut program(&registry, &arguments)), format!("{path}\n"));
        let arguments = ["release", "inspect", &pullspec, "-o", "json", "--os-stream", stream];
        let shown: Value = serde_json::from_str(&output(&mut program(&registry, &arguments))).unwrap();
        assert_eq!(shown["isos"][0]["version"], build);
    }
}

#[test]
fn what_is_in_the_way_is_left_alone() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &multi(&[]));
    let directory = TempDir::new().unwrap();
    let other = directory.path().join(file_name(Arch::X86_64));
    fs::write(&other, "mine").unwrap();
    let to = directory.path().to_str().unwrap();
    let told = failure(&mut program(&registry, &["release", "extract", &pullspec, "--to", to]));
    assert!(told.contains(&format!("{} is there, but its sha256 is ", other.display())), "{told}");
    assert!(told.ends_with("error: 1 of 2 ISOs could not be extracted\n"), "{told}");
    assert_eq!(fs::read_to_string(other).unwrap(), "mine");
    assert_eq!(names(directory.path()), ARCHES.map(file_name).into(), "the other one is there");
}

#[test]
fn an_iso_that_is_not_what_the_release_states_leaves_nothing() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &multi(&[Flaw::WrongStream]));
    let directory = TempDir::new().unwrap();
    let to = directory.path().to_str().unwrap();
    let told = failure(&mut program(&registry, &["release", "extract", &pullspec, "--to", to]));
    assert!(told.contains("x86_64: the ISO's sha256 is "), "{told}");
    assert_eq!(names(directory.path()), BTreeSet::new());

    let nowhere = directory.path().join("nowhere");
    let arguments = ["release", "extract", &pullspec, "--to", nowhere.to_str().unwrap()];
    let told = failure(&mut program(&registry, &arguments));
    assert!(
        told.starts_with(&format!("error: cannot extract into {}: No such file", nowhere.display())),
        "{told}"
    );
}

#[test]
fn a_disk_that_is_too_small_is_named_and_left_empty() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &multi(&[]));
    let directory = TempDir::new().unwrap();
    let mounted = r#"mount -t tmpfs -o size=1m tmpfs "$1" && "$2" release extract "$3" --arch arm64 --to "$1"; ls -A "$1""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]).arg(directory.path());
    command.args([env!("CARGO_BIN_EXE_coreos-image-service"), &pullspec]);
    command.env("INSECURE_REGISTRIES", registry.address()).env("PULL_SECRET", registry.pull_secret());
    let Output { stdout, stderr, .. } = command.output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    let expected =
        format!("cannot make room for {} bytes in {}: ", iso(Arch::Arm64).size(), directory.path().display());
    assert!(told.contains(&expected), "{told}");
    assert_eq!(String::from_utf8(stdout).unwrap(), "", "nothing stays behind");
}

#[test]
fn assisted_service_gets_its_list_from_releases() {
    let registry = DockerRegistry::start();
    let pullspec = push(&registry, &multi(&[]));
    let entry = |openshift_version: &str, version: &str, url: &str| json!({"openshift_version": openshift_version, "version": version, "cpu_architecture": "multi", "url": url});
    let list = |releases: &[Value]| {
        let mut command = program(&registry, &["os-images"]);
        command.env("RELEASE_IMAGES", json!(releases).to_string());
        command
    };
    let old = entry("4.10-multi", "4.10.3-multi", &format!("{}/old:1", registry.address()));
    let text = output(&mut list(&[entry("4.18-multi", "4.18.52-multi", &pullspec), old.clone()]));
    let expected = ["arm64", "x86_64"].map(|arch| {
        json!({
            "openshift_version": "4.18", "cpu_architecture": arch, "version": OS_BUILD,
            "url": format!("release-image://{pullspec}"),
        })
    });
    let mut found: Vec<Value> = serde_json::from_str(&text).unwrap();
    found.sort_by_key(|entry| entry["cpu_architecture"].to_string());
    assert_eq!(found, expected);

    let missing = entry("4.19", "4.19.1", &format!("{}/no/such:release", registry.address()));
    let mut command = list(&[entry("4.18", "4.18.52", &pullspec), missing]);
    let told = failure(&mut command);
    assert!(told.contains("/no/such:release: cannot read the release image"), "{told}");
    assert_eq!(command.output().unwrap().stdout, b"", "half a list is none");

    let refused = program(&registry, &["os-images"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
}
