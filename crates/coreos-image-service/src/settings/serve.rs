//! The service's own settings.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use image_server::BaseUrl;
use release_payload::release_images::{self, ReleaseImage};
use tracing::level_filters::LevelFilter;
use url::Url;

use super::{InvalidSettings, Merged, Problems, registry};

/// Everything the service needs to know, checked.
#[derive(Debug)]
pub(crate) struct ServeSettings {
    /// `None` is every interface.
    pub(crate) listen_address: Option<IpAddr>,
    pub(crate) listen_port: u16,
    pub(crate) data_dir: PathBuf,
    pub(crate) infra_envs: InfraEnvs,
    pub(crate) base_url: Option<BaseUrl>,
    pub(crate) releases: Vec<ReleaseImage>,
    pub(crate) registry: oci_registry::Config,
    pub(crate) concurrent_downloads: NonZeroU16,
    pub(crate) log_level: LevelFilter,
    /// What is odd, but no reason to stop. Logged once logging works.
    pub(crate) warnings: Vec<String>,
}

/// Who knows what belongs into an infra-env's image.
#[derive(Debug)]
pub(crate) enum InfraEnvs {
    /// assisted-service, over REST.
    AssistedService { address: Url, trusted_ca_pem: Option<Vec<u8>>, reuse: Duration },
    /// A directory, for use without assisted-service.
    Directory(PathBuf),
}

impl ServeSettings {
    pub(crate) fn validate(merged: &Merged) -> Result<Self, InvalidSettings> {
        let mut problems = merged.problems();
        let mut warnings = Vec::new();
        let registry = registry::read(merged, &mut problems);
        let Address(listen_address) = merged.parsed("LISTEN_ADDRESS", Address(None), &mut problems);
        let Port(listen_port) = merged.parsed("LISTEN_PORT", Port(8080), &mut problems);
        let LogLevel(log_level) = merged.parsed("LOGLEVEL", LogLevel(LevelFilter::INFO), &mut problems);
        let two = const { NonZeroU16::new(2).unwrap() };
        let concurrent_downloads = merged.parsed("DOWNLOAD_CONCURRENCY", two, &mut problems);
        let data_dir = merged.path("DATA_DIR");
        if data_dir.is_none() {
            problems
                .add("DATA_DIR is missing: name a directory on a volume that survives restarts".to_owned());
        }
        let infra_envs = infra_envs(merged, &mut problems);
        let base_url = base_url(merged, &mut problems, &mut warnings);
        let releases = releases(merged, &registry, &mut problems, &mut warnings);
        let settings = data_dir.zip(infra_envs).map(|(data_dir, infra_envs)| Self {
            listen_address,
            listen_port,
            data_dir,
            infra_envs,
            base_url,
            releases,
            registry,
            concurrent_downloads,
            log_level,
            warnings,
        });
        problems.finish(settings)
    }
}

fn infra_envs(merged: &Merged, problems: &mut Problems) -> Option<InfraEnvs> {
    match (merged.text("ASSISTED_SERVICE_HOST"), merged.path("INFRA_ENV_DIR")) {
        (Some(host), None) => {
            let scheme = merged.text("ASSISTED_SERVICE_SCHEME").unwrap_or("http");
            if !matches!(scheme, "http" | "https") {
                problems.add(format!("ASSISTED_SERVICE_SCHEME={scheme}: expected http or https"));
            }
            let trusted_ca_pem =
                merged.file("ASSISTED_SERVICE_API_TRUSTED_CA_FILE", problems).map(String::into_bytes);
            let reuse = Duration::from_secs(merged.parsed("INFRA_ENV_REUSE_SECONDS", 1, problems));
            match Url::parse(&format!("{scheme}://{host}")) {
                Ok(address) => Some(InfraEnvs::AssistedService { address, trusted_ca_pem, reuse }),
                Err(error) => {
                    problems
                        .add(format!("ASSISTED_SERVICE_HOST={host}: {error}; expected host or host:port"));
                    None
                }
            }
        }
        (None, Some(directory)) => Some(InfraEnvs::Directory(directory)),
        (Some(_), Some(_)) => {
            problems.add("ASSISTED_SERVICE_HOST and INFRA_ENV_DIR are both given: exactly one of them says who knows the infra-envs".to_owned());
            None
        }
        (None, None) => {
            problems.add("neither ASSISTED_SERVICE_HOST nor INFRA_ENV_DIR is given: one of them must say who knows the infra-envs".to_owned());
            None
        }
    }
}

fn base_url(merged: &Merged, problems: &mut Problems, warnings: &mut Vec<String>) -> Option<BaseUrl> {
    let Some(text) = merged.text("IMAGE_SERVICE_BASE_URL") else {
        warnings.push("IMAGE_SERVICE_BASE_URL is not set: there are no minimal ISOs".to_owned());
        return None;
    };
    text.parse().map_err(|error| problems.add(format!("IMAGE_SERVICE_BASE_URL: {error}"))).ok()
}

/// Stock configurations carry `RELEASE_IMAGES` for another program, so they count only together with a pull secret.
fn releases(
    merged: &Merged,
    registry: &oci_registry::Config,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Vec<ReleaseImage> {
    let pull_secret_given = merged.text("PULL_SECRET").or(merged.text("PULL_SECRET_FILE")).is_some();
    let Some(json) = merged.text("RELEASE_IMAGES").filter(|_| pull_secret_given) else {
        problems.add(
            "nothing to serve: give RELEASE_IMAGES together with PULL_SECRET or PULL_SECRET_FILE \
             ({\"auths\":{}} for registries that ask for none)"
                .to_owned(),
        );
        return Vec::new();
    };
    let releases = release_images::parse(json).unwrap_or_else(|error| {
        error.problems.into_iter().for_each(|problem| problems.add(format!("RELEASE_IMAGES: {problem}")));
        Vec::new()
    });
    let credentials = &registry.credentials;
    warnings.extend(credentials.unusable_entries().map(|entry| entry.to_string()));
    for release in releases.iter().filter(|release| matches!(credentials.lookup(&release.pullspec), Ok(None)))
    {
        warnings.push(format!(
            "the pull secret has no entry for {}, which is asked anonymously",
            release.pullspec
        ));
    }
    releases
}

/// An address to listen on, IPv6 with or without brackets.
struct Address(Option<IpAddr>);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().map(|address| Self(Some(address))).map_err(|_| "expected an IPv4 or IPv6 address")
    }
}

/// A TCP port; 0 lets the system choose one.
struct Port(u16);

impl FromStr for Port {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "expected a port up to 65535")
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
