//! Which images are wanted, and where they come from.

use std::fmt::Display;
use std::str::FromStr;

use oci_registry::Reference;
use provision::origin::{self, InvalidRequestParameters, QueryParams, RequestHeaders};
use provision::os_images::{self, OsImage};
use release_payload::release_images::{self, ReleaseImage};

use super::{Merged, Problems};

/// What to serve.
#[derive(Debug, Default)]
pub(crate) struct Images {
    pub(crate) os_images: Vec<OsImage>,
    pub(crate) releases: Vec<ReleaseImage>,
}

/// Reads both lists. Stock configurations carry `RELEASE_IMAGES` for another program, so they count only together with a
/// pull secret.
pub(super) fn read(
    merged: &Merged,
    registry: &oci_registry::Config,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Images {
    let os_images = ["OS_IMAGES", "RHCOS_VERSIONS"]
        .into_iter()
        .find_map(|variable| merged.text(variable).map(|json| (variable, json)));
    let releases = wanted_releases(merged);
    if os_images.is_none() && releases.is_none() {
        problems.add(
            "nothing to serve: give RELEASE_IMAGES together with PULL_SECRET or PULL_SECRET_FILE \
             ({\"auths\":{}} for registries that ask for none), or OS_IMAGES"
                .to_owned(),
        );
    }
    Images {
        os_images: os_images.map(|(name, json)| from_web_servers(name, json, problems)).unwrap_or_default(),
        releases: releases
            .map(|json| from_registries(json, registry, problems, warnings))
            .unwrap_or_default(),
    }
}

/// The list of releases, if it is meant for us.
pub(super) fn wanted_releases(merged: &Merged) -> Option<&str> {
    let pull_secret_given = merged.text("PULL_SECRET").or(merged.text("PULL_SECRET_FILE")).is_some();
    merged.text("RELEASE_IMAGES").filter(|_| pull_secret_given)
}

fn from_web_servers(variable: &str, json: &str, problems: &mut Problems) -> Vec<OsImage> {
    os_images::parse(json).unwrap_or_else(|error| {
        add_all(problems, variable, error.problems);
        Vec::new()
    })
}

fn from_registries(
    json: &str,
    registry: &oci_registry::Config,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Vec<ReleaseImage> {
    let releases = parse_releases(json, problems);
    let secret = registry.credentials.current();
    warnings.extend(secret.warnings().map(|warning| warning.to_string()));
    for ReleaseImage { pullspec, .. } in &releases {
        if pullspec.path().is_none() && matches!(secret.lookup(pullspec), Ok(None)) {
            let near_miss = secret.near_miss(pullspec).map(|miss| format!("; {miss}")).unwrap_or_default();
            let absence = "the pull secret has no entry for";
            warnings.push(format!("{absence} {pullspec}, which is asked anonymously{near_miss}"));
        }
    }
    releases
}

fn parse_releases(json: &str, problems: &mut Problems) -> Vec<ReleaseImage> {
    release_images::parse(json).unwrap_or_else(|error| {
        add_all(problems, "RELEASE_IMAGES", error.problems);
        Vec::new()
    })
}

/// The images of `RELEASE_IMAGES` alone.
pub(super) fn pullspecs(merged: &Merged, problems: &mut Problems) -> Vec<Reference> {
    let releases = merged.text("RELEASE_IMAGES").map(|json| parse_releases(json, problems));
    releases.unwrap_or_default().into_iter().map(|release| release.pullspec).collect()
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
