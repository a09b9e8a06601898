//! How registries are asked, for every command that asks one.

use oci_registry::{Config, PullSecret};

use release_payload::release_images::{self, ReleaseImage};

use super::{InvalidSettings, Merged, Problems, images, mirrors};

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
}

impl ReleaseSettings {
    pub(crate) fn validate(merged: &Merged) -> Result<Self, InvalidSettings> {
        let mut problems = merged.problems();
        let registry = read(merged, true, &mut problems, &mut Vec::new());
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
        problems.finish(Some(Self { releases, registry }))
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
        user_agent: concat!("coreos-image-service/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..Config::default()
    }
}

fn pull_secret(merged: &Merged, problems: &mut Problems) -> Option<PullSecret> {
    let inline = merged.text("PULL_SECRET").map(|text| ("PULL_SECRET", text.to_owned()));
    if inline.is_some() && merged.path("PULL_SECRET_FILE").is_some() {
        problems.add("PULL_SECRET and PULL_SECRET_FILE are both given: which one counts?".to_owned());
    }
    let from_file = || Some(("PULL_SECRET_FILE", merged.file("PULL_SECRET_FILE", problems)?));
    let (variable, text) = inline.or_else(from_file)?;
    match PullSecret::parse(&text) {
        Ok(secret) => Some(secret),
        Err(error) => {
            // The value itself is a secret and is not repeated.
            problems.add(format!("{variable}: {error}"));
            None
        }
    }
}
