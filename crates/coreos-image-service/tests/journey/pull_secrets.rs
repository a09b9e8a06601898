//! The pull secret of a running service: whether it works or not, no log says what it is.

use std::fs;

use coreos_names::Arch;
use tempfile::TempDir;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::payload::{Content, ReleaseBuilder};
use test_support::registry::DockerRegistry;

use crate::IGNITION;
use crate::releases::push;
use crate::service::Service;

#[test]
fn a_pull_secret_is_never_logged_whether_it_works_or_not() {
    let registry = DockerRegistry::start();
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    let release = ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap();
    let pullspec = push(&registry, &release);
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.json");
    let start = |pull_secret: &str| {
        fs::write(&path, pull_secret).unwrap();
        Service::builder(directory.path())
            .release("4.18", "4.18.52", "x86_64", &pullspec)
            .variable("PULL_SECRET_FILE", path.to_str().unwrap())
            .variable("LOGLEVEL", "debug")
            .infra_env(IGNITION, &[])
            .start()
    };
    let (wrong, right) = (registry.pull_secret_with("hunter2-is-wrong"), registry.pull_secret());

    let service = start(&wrong);
    service.wait_until_images("the password is refused", |images| {
        let refused = "refuses the credentials of pull secret entry";
        images.iter().any(|image| image.to_string().contains(refused))
    });
    let mut log = service.log();
    service.stop();
    let service = start(&right);
    service.wait_until_ready();
    log += &service.log();

    assert!(log.contains("refuses the credentials") && log.contains("registry found"), "{log}");
    let encoded = [&wrong, &right].map(|text| text.split('"').rev().nth(1).unwrap());
    for secret in encoded.into_iter().chain(["hunter2-is-wrong", DockerRegistry::PASSWORD]) {
        assert!(secret.len() > 10 && !log.contains(secret), "{secret} is in\n{log}");
    }
}
