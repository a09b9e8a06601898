//! Which images are wanted, and where they come from.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use oci_registry::Reference;
use provision::origin::{self, InvalidRequestParameters, QueryParams, RequestHeaders};
use provision::os_images::{self, OsImage};
use release_payload::release_images::{self, ReleaseImage};

use super::{Merged, Problems};

/// What to serve.
#[derive(Debug, Default)]
pub(crate) struct ImageSettings {
    pub(crate) os_images: Vec<OsImage>,
    pub(crate) releases: Vec<ReleaseImage>,
    /// Whether there is a pull secret, be it an empty one.
    pub(crate) has_pull_secret: bool,
    /// Where that was read from, if from a file.
    pub(crate) pull_secret_file: Option<PathBuf>,
    pub(crate) feed: FeedSource,
}

/// Where else images are asked for, while the service runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum FeedSource {
    /// Nowhere.
    None,
    /// In the cluster, if this is a pod in one. The feed need not be there.
    #[default]
    Pod,
    /// In a cluster.
    Kubernetes,
    /// In a directory.
    Directory(PathBuf),
}

/// Reads both lists. Stock configurations carry `RELEASE_IMAGES` for another program, so they count only together with a
/// pull secret, which a feed may bring.
pub(super) fn read(merged: &Merged, problems: &mut Problems) -> ImageSettings {
    let os_images = ["OS_IMAGES", "RHCOS_VERSIONS"]
        .into_iter()
        .find_map(|variable| merged.text(variable).map(|json| (variable, json)));
    let has_pull_secret = has_pull_secret(merged);
    let releases = merged.text("RELEASE_IMAGES");
    let feed = feed(merged, problems);
    let has_feed = matches!(feed, FeedSource::Kubernetes | FeedSource::Directory(_));
    if os_images.is_none() && wanted_releases(merged).is_none() && !has_feed {
        problems.add(
            "nothing to serve: give RELEASE_IMAGES together with PULL_SECRET or PULL_SECRET_FILE \
             ({\"auths\":{}} for registries that ask for none), or OS_IMAGES, or a feed with FEED_DIR or FEED=kubernetes"
                .to_owned(),
        );
    }
    let releases = match releases.map(release_images::parse) {
        Some(Err(error)) if has_pull_secret || has_feed => {
            add_all(problems, "RELEASE_IMAGES", error.problems);
            Vec::new()
        }
        // It was meant for another program.
        Some(Err(_)) | None => Vec::new(),
        Some(Ok(releases)) => releases,
    };
    ImageSettings {
        os_images: os_images.map(|(name, json)| from_web_servers(name, json, problems)).unwrap_or_default(),
        releases,
        has_pull_secret,
        pull_secret_file: merged.path("PULL_SECRET_FILE"),
        feed,
    }
}

fn feed(merged: &Merged, problems: &mut Problems) -> FeedSource {
    match (merged.path("FEED_DIR"), merged.parsed_if_given("FEED", problems)) {
        (None, source) => source.unwrap_or_default(),
        (Some(directory), None | Some(FeedSource::Pod)) => FeedSource::Directory(directory),
        (Some(_), Some(_)) => {
            problems.add("FEED and FEED_DIR are both given: which one counts?".to_owned());
            FeedSource::None
        }
    }
}

impl FromStr for FeedSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Pod),
            "kubernetes" => Ok(Self::Kubernetes),
            "none" => Ok(Self::None),
            _ => Err("expected auto, kubernetes or none"),
        }
    }
}

/// The list of releases, if it is meant for us.
pub(super) fn wanted_releases(merged: &Merged) -> Option<&str> {
    merged.text("RELEASE_IMAGES").filter(|_| has_pull_secret(merged))
}

fn has_pull_secret(merged: &Merged) -> bool {
    merged.text("PULL_SECRET").or(merged.text("PULL_SECRET_FILE")).is_some()
}

fn from_web_servers(variable: &str, json: &str, problems: &mut Problems) -> Vec<OsImage> {
    os_images::parse(json).unwrap_or_else(|error| {
        add_all(problems, variable, error.problems);
        Vec::new()
    })
}

/// The images of `RELEASE_IMAGES` alone.
pub(super) fn pullspecs(merged: &Merged, problems: &mut Problems) -> Vec<Reference> {
    match merged.text("RELEASE_IMAGES").map(release_images::parse) {
        Some(Ok(releases)) => releases.into_iter().map(|release| release.pullspec).collect(),
        Some(Err(error)) => {
            add_all(problems, "RELEASE_IMAGES", error.problems);
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// How the ISOs of `OS_IMAGES` are downloaded.
pub(super) fn origin(merged: &Merged, problems: &mut Problems, warnings: &mut Vec<String>) -> origin::Config {
    let headers = parameters(merged, "OS_IMAGES_REQUEST_HEADERS", RequestHeaders::parse, problems);
    warnings.extend(headers.ignored().iter().map(|header| {
        format!("OS_IMAGES_REQUEST_HEADERS: {header} is not sent, because the download itself sets it")
    }));
    let query_params = parameters(merged, "OS_IMAGES_REQUEST_QUERY_PARAMS", QueryParams::parse, problems);
    let Boolean(insecure_skip_verify) = merged.parsed("INSECURE_SKIP_VERIFY", Boolean(false), problems);
    origin::Config {
        headers,
        query_params,
        trusted_ca_pem: merged.file("OS_IMAGE_DOWNLOAD_TRUSTED_CA_FILE", problems).map(String::into_bytes),
        insecure_skip_verify,
        ..origin::Config::default()
    }
}

fn parameters<T: Default>(
    merged: &Merged,
    variable: &str,
    parse: impl Fn(&str) -> Result<T, InvalidRequestParameters>,
    problems: &mut Problems,
) -> T {
    let parsed = merged.text(variable).map(parse).transpose();
    match parsed {
        Ok(parameters) => parameters.unwrap_or_default(),
        Err(error) => {
            add_all(problems, variable, error.problems);
            T::default()
        }
    }
}

pub(super) fn add_all(problems: &mut Problems, variable: &str, found: impl IntoIterator<Item: Display>) {
    found.into_iter().for_each(|problem| problems.add(format!("{variable}: {problem}")));
}

/// A truth value in the spellings that Go accepts.
struct Boolean(bool);

impl FromStr for Boolean {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Self(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Self(false)),
            _ => Err("expected true or false"),
        }
    }
}
