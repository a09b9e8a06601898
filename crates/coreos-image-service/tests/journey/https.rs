//! With a certificate everything is served over HTTPS, and beside it over HTTP what firmware boots from.

use std::fs;
use std::process::Command;

use coreos_names::Arch;
use tempfile::TempDir;
use test_support::fixtures::live_iso;
use test_support::registry::Certificate;

use crate::IGNITION;
use crate::service::{FULL_ISO, INFRA_ENV, Service};

#[test]
fn https_serves_everything_and_http_what_firmware_boots_from() {
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .adopted(Arch::X86_64)
        .infra_env(IGNITION, &[])
        .variable("IMAGE_SERVICE_BASE_URL", "https://images.example.com")
        .https(&Certificate::generate())
        .start();
    service.wait_until_ready();
    let plain = service.plain_url();
    let iso = service.iso_without_ignition(FULL_ISO);
    assert!(iso == fs::read(live_iso(Arch::X86_64)).unwrap());

    let question = "version=4.18&arch=x86_64";
    let isos = [
        FULL_ISO.to_owned(),
        FULL_ISO.replace("full", "minimal"),
        format!("/images/{INFRA_ENV}?{question}&type=full-iso"),
    ];
    let others = [
        format!("/images/{INFRA_ENV}/pxe-initrd?{question}"),
        format!("/boot-artifacts/kernel?{question}"),
        format!("/boot-artifacts/rootfs?{question}"),
        "/health".to_owned(),
        "/live".to_owned(),
        "/metrics".to_owned(),
    ];
    for path in &isos {
        assert_eq!((service.status(path), service.status(&format!("{plain}{path}"))), (200, 404), "{path}");
    }
    let [over_https, over_http] = ["over-https", "over-http"].map(|name| directory.path().join(name));
    for path in &others {
        assert_eq!((service.status(path), service.status(&format!("{plain}{path}"))), (200, 200), "{path}");
    }
    for path in &others[..3] {
        service.download(path, &over_https);
        service.download(&format!("{plain}{path}"), &over_http);
        assert!(fs::read(&over_https).unwrap() == fs::read(&over_http).unwrap(), "{path}");
    }

    let stranger = Command::new("curl").args(["--silent", &service.url("/live")]).status().unwrap();
    assert_eq!(stranger.code(), Some(60), "curl does not trust a certificate that nobody vouched for");
    service.stop();
}
