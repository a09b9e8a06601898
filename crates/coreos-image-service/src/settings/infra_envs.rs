//! Who knows what belongs into an infra-env's image.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::{Merged, Problems};

/// Exactly one of them.
#[derive(Debug)]
pub(crate) enum InfraEnvs {
    /// assisted-service, over REST.
    AssistedService {
        address: Url,
        trusted_ca_pem: Option<Vec<u8>>,
        /// How long an answer may be used again.
        reuse: Duration,
    },
    /// A directory, for use without assisted-service.
    Directory(PathBuf),
}

pub(super) fn read(merged: &Merged, problems: &mut Problems) -> Option<InfraEnvs> {
    match (merged.text("ASSISTED_SERVICE_HOST"), merged.path("INFRA_ENV_DIR")) {
        (Some(host), None) => assisted_service(merged, host, problems),
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

fn assisted_service(merged: &Merged, host: &str, problems: &mut Problems) -> Option<InfraEnvs> {
    let scheme = merged.text("ASSISTED_SERVICE_SCHEME").unwrap_or("http");
    if !matches!(scheme, "http" | "https") {
        problems.add(format!("ASSISTED_SERVICE_SCHEME={scheme}: expected http or https"));
    }
    // Operators of old give only the CA of the cluster's services.
    let trusted_ca_pem = ["ASSISTED_SERVICE_API_TRUSTED_CA_FILE", "HTTPS_CA_FILE"]
        .into_iter()
        .find(|variable| merged.text(variable).is_some())
        .and_then(|variable| merged.file(variable, problems))
        .map(String::into_bytes);
    let reuse = Duration::from_secs(merged.parsed("INFRA_ENV_REUSE_SECONDS", 1, problems));
    match Url::parse(&format!("{scheme}://{host}")) {
        Ok(address) => Some(InfraEnvs::AssistedService { address, trusted_ca_pem, reuse }),
        Err(error) => {
            problems.add(format!("ASSISTED_SERVICE_HOST={host}: {error}; expected host or host:port"));
            None
        }
    }
}
