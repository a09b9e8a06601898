//! How registries are asked, for every command that asks one.

use std::path::PathBuf;

use coreos_names::WithCauses;
use oci_registry::{Config, CredentialSource, PullSecret, PullSecretFile};
use release_payload::release_images::{self, ReleaseImage};

use super::{InvalidSettings, Merged, Problems, images, mirrors, signatures};

/// The directories of containers-certs.d(5) that hold for the whole system.
const CERTS_DIRS: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// The configuration of a registry client.
pub(crate) fn validate(merged: &Merged) -> Result<Config, InvalidSettings> {
    let mut problems = merged.problems();
    let config = read(merged, true, &mut problems, &mut Vec::new());
    problems.finish(Some(config))
}

/// What a command needs that reads every wanted release.
#[derive(Debug)]
pub(crate) struct ReleaseSettings {
    pub(crate) releases: Vec<ReleaseImage>,
    pub(crate) registry: Config,
    pub(crate) signatures: Option<release_signature::Config>,
}

impl ReleaseSettings {
    pub(crate) fn validate(merged: &Merged) -> Result<Self, InvalidSettings> {
        let mut problems = merged.problems();
        let registry = read(merged, true, &mut problems, &mut Vec::new());
        let signatures = signatures::read(merged, &registry, &mut problems);
        let releases = match merged.text("RELEASE_IMAGES").map(release_images::parse) {
            Some(Ok(releases)) => releases,
            Some(Err(error)) => {
                images::add_all(&mut problems, "RELEASE_IMAGES", error.problems);
                Vec::new()
            }
            None => {
                problems.add("RELEASE_IMAGES is missing: there is nothing to make a list of".to_owned());
                Vec::new()
            }
        };
        problems.finish(Some(Self { releases, registry, signatures }))
    }
}

/// The same as a part of a larger validation, for something that pulls or may not. Where no pull secret is given the
/// credentials are empty.
pub(super) fn read(
    merged: &Merged,
    pulls: bool,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Config {
    let credentials = pull_secret(merged, problems).unwrap_or_default();
    let mirrors = mirrors::read(merged, pulls, problems, warnings);
    Config { credentials, mirrors, ..trust(merged, problems) }
}

/// Whom to trust, and neither credentials nor mirrors: for commands that find these elsewhere.
pub(super) fn trust(merged: &Merged, problems: &mut Problems) -> Config {
    let insecure = merged
        .text("INSECURE_REGISTRIES")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
        .filter_map(|host| {
            host.parse().map_err(|error| problems.add(format!("INSECURE_REGISTRIES: {error}"))).ok()
        })
        .collect();
    Config {
        trusted_ca_pem: merged.file("REGISTRY_TRUSTED_CA_FILE", problems).map(String::into_bytes),
        insecure,
        certs_dirs: certs_dirs(merged, problems),
        http1_only: merged.parsed("REGISTRY_HTTP1_ONLY", false, problems),
        user_agent: concat!("coreos-image-service/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Config::default()
    }
}

/// Without the setting, where container tools look.
fn certs_dirs(merged: &Merged, problems: &mut Problems) -> Vec<PathBuf> {
    let Some(directory) = merged.path("REGISTRY_CERTS_DIR") else {
        return CERTS_DIRS.map(PathBuf::from).to_vec();
    };
    // What is missing later is no error, since most hosts have nothing there.
    if !directory.is_dir() {
        problems.add(format!("REGISTRY_CERTS_DIR={}: there is no such directory", directory.display()));
    }
    vec![directory]
}

/// A file is read again whenever it changes; what was typed stays as it is.
fn pull_secret(merged: &Merged, problems: &mut Problems) -> Option<CredentialSource> {
    let (inline, path) = (merged.text("PULL_SECRET"), merged.path("PULL_SECRET_FILE"));
    if inline.is_some() && path.is_some() {
        problems.add("PULL_SECRET and PULL_SECRET_FILE are both given: which one counts?".to_owned());
    }
    // Whatever is wrong with it, the value itself is a secret and is not repeated.
    if let Some(text) = inline {
        let secret = PullSecret::parse(text);
        return secret.map_err(|error| problems.add(format!("PULL_SECRET: {error}"))).ok().map(Into::into);
    }
    let file = PullSecretFile::open(path?);
    file.map_err(|error| problems.add(format!("PULL_SECRET_FILE: {}", WithCauses(&error))))
        .ok()
        .map(Into::into)
}
