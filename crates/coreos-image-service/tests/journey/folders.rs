//! Releases in folders become ISOs, with no registry at all.

use std::fs;
use std::process::Command;

use coreos_names::Arch;
use tempfile::TempDir;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::payload::{Content, Release, ReleaseBuilder};

use crate::IGNITION;
use crate::service::{FULL_ISO, Service};
use crate::tools::output;

/// Its components are nowhere but where the test puts them.
fn release() -> Release {
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    let builder =
        ReleaseBuilder::new("4.18.52", OS_BUILD).component_repository("127.0.0.1:1/origin/components");
    builder.iso(Arch::X86_64, iso).build().unwrap()
}

#[test]
fn a_release_mirrored_to_a_folder_is_served_and_after_a_restart_without_the_folder() {
    let directory = TempDir::new().unwrap();
    let mirror = directory.path().join("mirror");
    let release = release();
    for (tag, image) in [
        (&release.tag, &release.image),
        (&release.machine_os_images().tag, &release.machine_os_images().image),
    ] {
        image.write_oc(&mirror, "openshift/release", tag).unwrap();
    }
    let pullspec = format!("file://{}/openshift/release:{}", mirror.display(), release.tag);
    let start = || {
        Service::builder(directory.path())
            .release("4.18", "4.18.52", "x86_64", &pullspec)
            .variable("INSECURE_REGISTRIES", "")
            .pull_secret(r#"{"auths":{}}"#)
            .infra_env(IGNITION, &[])
            .start()
    };

    let service = start();
    service.wait_until_ready();
    let first = service.iso_without_ignition(FULL_ISO);
    assert!(first == fs::read(live_iso(Arch::X86_64)).unwrap());
    assert!(!service.log().contains("asked anonymously"), "{}", service.log());
    service.stop();

    fs::remove_dir_all(mirror).unwrap();
    let service = start();
    service.wait_until_ready();
    assert!(service.iso_without_ignition(FULL_ISO) == first);
}

#[test]
fn a_release_in_a_folder_is_inspected() {
    let directory = TempDir::new().unwrap();
    let folder = directory.path().display();
    let release = release();
    release.image.write_dir(&directory.path().join("release-images")).unwrap();
    release.machine_os_images().image.write_dir(&directory.path().join("release")).unwrap();
    let inspect = |pullspec: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        command.args(["release", "inspect", pullspec]);
        command
    };
    let text = output(&mut inspect(&format!("dir:{folder}/release-images")));
    for expected in [
        format!("release image   file://{folder}/release-images\n"),
        format!("digest          {}\n", release.image.digest()),
        format!("ISO size      {} bytes\n", fs::metadata(live_iso(Arch::X86_64)).unwrap().len()),
        format!("fetched from  file://{folder}/release@sha256:"),
    ] {
        assert!(text.contains(&expected), "{expected:?} is not in\n{text}");
    }

    let absent = inspect(&format!("oci:{folder}/absent:4.18.52")).output().unwrap();
    assert_eq!(absent.status.code(), Some(1));
    let text = String::from_utf8(absent.stderr).unwrap();
    assert!(
        text.contains(&format!("neither {folder}/absent nor a folder above it is a layout of images")),
        "{text}"
    );
    let relative = inspect("oci:absent").output().unwrap();
    let text = String::from_utf8(relative.stderr).unwrap();
    assert!(text.contains("must be followed by an absolute path"), "{text}");
}
