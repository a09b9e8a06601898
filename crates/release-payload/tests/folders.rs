//! Releases in folders: each layout that a tool of disconnected sites writes gives its ISO, and no network is needed.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coreos_names::{Arch, WithCauses};
use oci_registry::{Config, Registry, Retry};
use release_payload::{Error, IsoSink, LiveIso, Payload, Reference};
use tempfile::TempDir;
use test_support::payload::{Content, MediaTypes, Release, ReleaseBuilder};
use test_support::registry::DockerRegistry;

const BUILD: &str = "418.94.202511191518-0";

/// Bytes that stand for an ISO, more than are read at a time.
fn iso(arch: Arch) -> Vec<u8> {
    arch.name().bytes().cycle().take(3_000_000).collect()
}

fn release(arches: &[Arch], media_types: MediaTypes) -> Release {
    // Nobody listens where the components are from.
    let builder = ReleaseBuilder::new("4.18.52", BUILD).component_repository("127.0.0.1:1/origin/components");
    let builder = builder.media_types(media_types);
    let builder = arches.iter().fold(builder, |builder, &arch| builder.iso(arch, Content::from(iso(arch))));
    let builder = if arches.len() > 1 { builder.multi() } else { builder };
    builder.build().unwrap()
}

#[derive(Debug, Default)]
struct Bytes(Vec<u8>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl IsoSink for Bytes {
    fn begin(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

fn client() -> Registry {
    test_support::install_crypto_provider();
    let retry = Retry { first_delay: Duration::ZERO, ..Retry::default() };
    Registry::new(Config { retry, ..Config::default() }).unwrap()
}

/// Takes every ISO out of a release.
async fn assert_gives_isos(pullspec: &str, release: &Release, arches: &[Arch]) {
    let registry = client();
    let pullspec: Reference = pullspec.parse().unwrap();
    let payload = Payload::resolve(&registry, &pullspec, None)
        .await
        .unwrap_or_else(|error| panic!("{pullspec}: {}", WithCauses(&error)));
    assert_eq!(payload.version().to_string(), "4.18.52");
    assert_eq!(payload.digest().to_string(), release.image.digest());
    assert_eq!(payload.arches(), arches);
    for &arch in arches {
        let mut found = LiveIso::locate(&registry, &payload, arch)
            .await
            .unwrap_or_else(|error| panic!("{pullspec}: {}", WithCauses(&error)));
        assert!(found.image().path().is_some(), "{} is no folder", found.image());
        let extracted = found.extract(&registry, Bytes::default()).await.unwrap();
        assert!(extracted.sink.0 == iso(arch), "{pullspec} {arch}");
        assert_eq!(extracted.stated.os_build.to_string(), BUILD);
    }
}

#[tokio::test]
async fn a_mirror_of_oc_gives_its_isos() {
    for arches in [&[Arch::X86_64][..], &Arch::ALL[..]] {
        let release = release(arches, MediaTypes::Docker);
        let directory = TempDir::new().unwrap();
        let repository = "openshift/release";
        release.image.write_oc(directory.path(), repository, &release.tag).unwrap();
        for component in &release.components {
            component.image.write_oc(directory.path(), repository, &component.tag).unwrap();
        }
        let folder = format!("file://{}/{repository}", directory.path().display());
        assert_gives_isos(&format!("{folder}:{}", release.tag), &release, arches).await;

        let manifests = directory.path().join("v2").join(repository).join("manifests");
        for tag in [&release.tag, &release.machine_os_images().tag] {
            fs::remove_file(manifests.join(tag)).unwrap();
        }
        assert_gives_isos(&format!("{folder}@{}", release.image.digest()), &release, arches).await;
    }
}

#[tokio::test]
async fn an_unpacked_archive_of_oc_mirror_gives_its_isos() {
    let arches = [Arch::X86_64, Arch::S390x];
    let release = release(&arches, MediaTypes::Docker);
    let registry = DockerRegistry::start();
    registry.push(&format!("openshift/release-images:{}", release.tag), &release.image);
    for component in &release.components {
        registry.push(&format!("openshift/release:{}", component.tag), &component.image);
    }
    // What the archive holds is packed and unpacked as an admin does.
    let directory = TempDir::new().unwrap();
    let archive = directory.path().join("mirror_000001.tar");
    let unpacked = directory.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = |flags: &str, folder: &Path, what: &[&str]| {
        let status = Command::new("tar").arg(flags).arg(&archive).arg("-C").arg(folder).args(what).status();
        assert!(status.unwrap().success());
    };
    tar("-cf", &registry.storage(), &["docker"]);
    registry.stop();

    let packed: Reference =
        format!("file://{}/openshift/release-images:t", archive.display()).parse().unwrap();
    let error = Payload::resolve(&client(), &packed, None).await.unwrap_err();
    let text = WithCauses(&error).to_string();
    assert!(text.contains("is an archive of oc-mirror") && text.contains("tar -xf"), "{text}");

    tar("-xf", &unpacked, &[]);
    let pullspec = format!("file://{}/openshift/release-images:{}", unpacked.display(), release.tag);
    assert_gives_isos(&pullspec, &release, &arches).await;
}

#[tokio::test]
async fn an_oci_layout_with_release_and_component_gives_its_isos() {
    for arches in [&[Arch::X86_64][..], &[Arch::X86_64, Arch::Arm64]] {
        let release = release(arches, MediaTypes::Oci);
        let registry = DockerRegistry::start();
        let directory = TempDir::new().unwrap();
        let layout = format!("oci:{}/layout", directory.path().display());
        let images =
            [(release.tag.as_str(), &release.image), ("component", &release.machine_os_images().image)];
        for (tag, image) in images {
            registry.push(&format!("openshift/release:{tag}"), image);
            registry.pull_to(&format!("openshift/release:{tag}"), &format!("{layout}:{tag}"));
        }
        assert_gives_isos(&format!("{layout}:{}", release.tag), &release, arches).await;
    }
}

#[tokio::test]
async fn two_folders_of_skopeo_side_by_side_give_their_isos() {
    for arches in [&[Arch::Ppc64le][..], &[Arch::X86_64, Arch::Arm64]] {
        let release = release(arches, MediaTypes::Docker);
        let registry = DockerRegistry::start();
        let directory = TempDir::new().unwrap();
        let [release_folder, component_folder] =
            ["release-images", "release"].map(|name| format!("dir:{}/{name}", directory.path().display()));
        for (folder, image) in
            [(&release_folder, &release.image), (&component_folder, &release.machine_os_images().image)]
        {
            registry.push("openshift/any:t", image);
            registry.pull_to("openshift/any:t", folder);
        }
        assert_gives_isos(&release_folder, &release, arches).await;
    }
}

#[tokio::test]
async fn a_component_that_is_nowhere_is_told_with_every_folder_that_was_tried() {
    let release = release(&[Arch::X86_64], MediaTypes::Docker);
    let directory = TempDir::new().unwrap();
    release.image.write_oc(directory.path(), "openshift/release-images", &release.tag).unwrap();
    // A hostile mirror sends us for the component elsewhere.
    symlink("/etc", directory.path().join("v2/openshift/release")).unwrap();
    let pullspec = format!("file://{}/openshift/release-images:{}", directory.path().display(), release.tag);
    let registry = client();
    let payload = Payload::resolve(&registry, &pullspec.parse().unwrap(), None).await.unwrap();
    let error = LiveIso::locate(&registry, &payload, Arch::X86_64).await.unwrap_err();
    let Error::ComponentUnavailable { attempts, .. } = error else { panic!("{error}") };
    let tried: Vec<_> = attempts.iter().filter_map(|attempt| attempt.image.path()).collect();
    let folder = directory.path();
    assert_eq!(
        tried[..2],
        [folder.join("openshift/release-images"), folder.join("openshift/release")],
        "{tried:?}"
    );
    assert!(attempts[0].to_string().contains("the mirror of oc in"), "{}", attempts[0]);
}
