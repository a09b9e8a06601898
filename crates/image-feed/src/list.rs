//! What the environment and the feed ask for together.

use std::collections::BTreeSet;

use oci_registry::{Config, Mirrors, PullSecret};
use provision::os_images::{self, OsImage, Source};
use release_payload::release_images::{self, ReleaseImage};

use crate::documents::{Access, Documents, MIRRORS, OS_IMAGES, PULL_SECRET, REGISTRIES_CONF, RELEASE_IMAGES};

/// What the environment says, for good.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `OS_IMAGES`.
    pub os_images: Vec<OsImage>,
    /// `RELEASE_IMAGES`. Nothing is done about them as long as there is no pull secret.
    pub releases: Vec<ReleaseImage>,
    /// How registries are asked. Its credentials are those of the pull secret, if there is one.
    pub registry: Config,
    /// Whether there is a pull secret, be it an empty one.
    pub has_pull_secret: bool,
}

/// All that is asked for.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) os_images: Vec<OsImage>,
    pub(crate) releases: Vec<ReleaseImage>,
    /// How many of these entries the environment has.
    pub(crate) of_environment: usize,
    /// How many are left alone because there is no pull secret.
    pub(crate) without_pull_secret: usize,
}

impl List {
    pub(crate) fn of_feed(&self) -> usize {
        self.os_images.len() + self.releases.len() - self.of_environment
    }
}

/// Brings what the feed asks for together with the environment, or says everything that is wrong with it.
///
/// Of a release that both have the feed's entry counts. Images by URL of the environment go before the feed's. Releases
/// count only if there is a pull secret, so that lists which were meant for another program start nothing.
pub(crate) fn list(
    environment: &Environment,
    feed: &Documents,
    has_pull_secret: bool,
) -> Result<List, Vec<String>> {
    let mut problems = Vec::new();
    let releases = feed.release_images.as_deref().map(release_images::parse).unwrap_or(Ok(Vec::new()));
    let releases = releases.unwrap_or_else(|error| {
        problems.extend(error.problems.into_iter().map(|problem| format!("{RELEASE_IMAGES}: {problem}")));
        Vec::new()
    });
    let os_images = feed.os_images.as_deref().filter(|json| !is_empty_list(json));
    let os_images = os_images.map(os_images::parse).unwrap_or(Ok(Vec::new())).unwrap_or_else(|error| {
        problems.extend(error.problems.into_iter().map(|problem| format!("{OS_IMAGES}: {problem}")));
        Vec::new()
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let of_feed: BTreeSet<_> = releases.iter().map(|release| release.pullspec.to_string()).collect();
    let mut all_releases = environment.releases.clone();
    all_releases.retain(|release| !of_feed.contains(&release.pullspec.to_string()));
    let mut all_os_images = environment.os_images.clone();
    let mut of_environment = all_releases.len() + all_os_images.len();
    all_releases.extend(releases);
    all_os_images.extend(os_images.into_iter().filter(|image| !environment.os_images.contains(image)));
    let mut without_pull_secret = 0;
    if !has_pull_secret {
        let is_release = |image: &OsImage| matches!(image.source, Source::Release(_));
        let before = all_releases.len() + all_os_images.len();
        all_releases.clear();
        all_os_images.retain(|image| !is_release(image));
        without_pull_secret = before - all_os_images.len();
        of_environment = environment.os_images.iter().filter(|image| !is_release(image)).count();
    }
    Ok(List { os_images: all_os_images, releases: all_releases, of_environment, without_pull_secret })
}

/// An operator may take the last image away, while an empty setting is a mistake.
fn is_empty_list(json: &str) -> bool {
    json.split_ascii_whitespace().collect::<String>() == "[]"
}

/// How registries are asked, as the environment and the feed say. The pull secret of the feed takes the place of the
/// environment's, or of the one that is now in its file; CAs and mirrors are added to it.
pub(crate) fn registry(
    environment: &Environment,
    pull_secret_file: Option<&str>,
    feed: &Access,
) -> Result<Config, Vec<String>> {
    let mut config = environment.registry.clone();
    let mut problems = Vec::new();
    let of_feed = feed.pull_secret.as_ref().map(|text| (PULL_SECRET, text.expose()));
    if let Some((name, text)) = of_feed.or(pull_secret_file.map(|text| ("PULL_SECRET_FILE", text))) {
        match PullSecret::parse(text) {
            Ok(secret) => config.credentials = secret,
            // The value itself is a secret and is not repeated.
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    if let Some(pem) = feed.trusted_ca.as_deref().filter(|pem| !pem.trim().is_empty()) {
        let bundle = config.trusted_ca_pem.get_or_insert_default();
        // A file need not end with a line feed.
        bundle.push(b'\n');
        bundle.extend_from_slice(pem.as_bytes());
    }
    match mirrors(&config.mirrors, feed) {
        Ok(mirrors) => config.mirrors = mirrors,
        Err(found) => problems.extend(found),
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The environment's mirrors and those of the feed.
fn mirrors(environment: &Mirrors, feed: &Access) -> Result<Mirrors, Vec<String>> {
    // TODO(merge): wire oci_registry::RegistriesConf and release_payload::mirror_sets.
    let _ = (feed, REGISTRIES_CONF, MIRRORS);
    Ok(environment.clone())
}
