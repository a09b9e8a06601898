//! The whole program on real parts: Debian's docker-registry with a password, skopeo, coreos-installer, curl, qemu.

mod boots;
mod crashes;
mod faults;
mod folders;
mod https;
mod lists;
mod mirrors;
mod os_images;
mod pull_secrets;
mod release_commands;
mod releases;
mod service;
#[path = "../tools/mod.rs"]
mod tools;
mod transfers;

/// What the hosts of every infra-env here get.
const IGNITION: &str = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/motd"}]}}"#;
