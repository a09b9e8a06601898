//! The service's own settings.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use image_server::{AllowedOrigins, BaseUrl, Policy};
use provision::origin;
use tracing::level_filters::LevelFilter;

use super::images::{self, ImageSettings};
use super::infra_envs::{self, InfraEnvs};
use super::listeners::{self, Listeners};
use super::{InvalidSettings, Merged, Problems, registry, signatures};

const DAY: Duration = Duration::from_hours(24);

/// Everything the service needs to know, checked.
#[derive(Debug)]
pub(crate) struct ServeSettings {
    pub(crate) listeners: Listeners,
    pub(crate) policy: Policy,
    pub(crate) infra_envs: InfraEnvs,
    pub(crate) images: ImageSettings,
    pub(crate) registry: oci_registry::Config,
    pub(crate) signatures: Option<release_signature::Config>,
    pub(crate) origin: origin::Config,
    pub(crate) data_dir: PathBuf,
    pub(crate) data_dir_max_bytes: Option<u64>,
    pub(crate) retire_after: Duration,
    pub(crate) concurrent_downloads: NonZeroU16,
    /// What is odd, but no reason to stop. Logged once logging works.
    pub(crate) warnings: Vec<String>,
}

impl ServeSettings {
    /// How much is logged, known before anything is judged, so that what is wrong with the settings is logged, too.
    pub(crate) fn log_level(merged: &Merged) -> LevelFilter {
        let given = merged.text("LOGLEVEL").and_then(|text| text.trim().parse().ok());
        given.map_or(LevelFilter::INFO, |LogLevel(level)| level)
    }

    pub(crate) fn validate(merged: &Merged) -> Result<Self, InvalidSettings> {
        let mut problems = merged.problems();
        let mut warnings = Vec::new();
        let pulls = images::wanted_releases(merged).is_some();
        let registry = registry::read(merged, pulls, &mut problems, &mut warnings);
        let signatures = signatures::read(merged, &registry, &mut problems);
        let origin = images::origin(merged, &mut problems, &mut warnings);
        let listeners = listeners::read(merged, &mut problems, &mut warnings);
        merged.parsed_if_given::<LogLevel>("LOGLEVEL", &mut problems);
        let two = const { NonZeroU16::new(2).unwrap() };
        let concurrent_downloads = merged.parsed("DOWNLOAD_CONCURRENCY", two, &mut problems);
        let Span(retire_after) = merged.parsed("RETIRE_AFTER", Span(DAY), &mut problems);
        let Eager = merged.parsed("POPULATE", Eager, &mut problems);
        let policy = Policy {
            base_url: base_url(merged, &mut problems, &mut warnings),
            allowed_origins: merged.parsed("ALLOWED_DOMAINS", AllowedOrigins::default(), &mut problems),
            max_concurrent_requests: merged.parsed(
                "MAX_CONCURRENT_REQUESTS",
                Policy::default().max_concurrent_requests,
                &mut problems,
            ),
            ..Policy::default()
        };
        let data_dir_max_bytes = merged.parsed_if_given("DATA_DIR_MAX_BYTES", &mut problems);
        let data_dir = merged.path("DATA_DIR");
        if data_dir.is_none() {
            problems
                .add("DATA_DIR is missing: name a directory on a volume that survives restarts".to_owned());
        }
        let infra_envs = infra_envs::read(merged, &mut problems);
        let images = images::read(merged, &mut problems);
        let settings = data_dir.zip(infra_envs).map(|(data_dir, infra_envs)| Self {
            listeners,
            policy,
            infra_envs,
            images,
            registry,
            signatures,
            origin,
            data_dir,
            data_dir_max_bytes,
            retire_after,
            concurrent_downloads,
            warnings,
        });
        problems.finish(settings)
    }
}

/// Whatever is wrong with it, it may hold a password and is not repeated.
fn base_url(merged: &Merged, problems: &mut Problems, warnings: &mut Vec<String>) -> Option<BaseUrl> {
    let Some(text) = merged.text("IMAGE_SERVICE_BASE_URL") else {
        warnings.push("IMAGE_SERVICE_BASE_URL is not set: there are no minimal ISOs".to_owned());
        return None;
    };
    text.parse().map_err(|error| problems.add(format!("IMAGE_SERVICE_BASE_URL: {error}"))).ok()
}

/// A span of time, such as `24h` or `1h 30m`.
pub(super) struct Span(pub(super) Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        span.map(Self).ok_or("expected a span of time such as 24h or 90m")
    }
}

/// When images are fetched: all of them, at once.
struct Eager;

impl FromStr for Eager {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "eager" { Ok(Self) } else { Err("expected eager, which is all there is so far") }
    }
}

/// A level by logrus's name, as the predecessor takes it.
struct LogLevel(LevelFilter);

impl FromStr for LogLevel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let level = match text.to_ascii_lowercase().as_str() {
            "panic" | "fatal" | "error" => LevelFilter::ERROR,
            "warn" | "warning" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err("expected panic, fatal, error, warn, info, debug or trace"),
        };
        Ok(Self(level))
    }
}
