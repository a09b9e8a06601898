//! What probes and people ask: whether the service lives, whether it serves, and how far each image is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use coreos_names::{Arch, ImageKind, OpenshiftVersion, OsBuild};
use image_store::{ImageReport, ImageState, NmstateTrouble};
use jiff::Timestamp;
use serde::Serialize;

use crate::ImageServer;

/// How long a service without any image is given before it counts as healthy all the same. It serves what it can by
/// then, and restarting it would not help.
const PATIENCE: Duration = Duration::from_mins(10);

/// `/live`
pub(crate) async fn live() -> StatusCode {
    StatusCode::OK
}

/// `/health`: a latch. All that opens it stays true, so a later failure or a new configuration never closes it.
pub(crate) async fn health(State(server): State<Arc<ImageServer>>) -> Response {
    let is_healthy = server.catalog.is_settled() || server.started.elapsed() >= PATIENCE;
    let status = if is_healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let images = server.catalog.report().into_iter().map(Image::from).collect();
    let list_problem = server.catalog.list().problem.map(|problem| without_places(&problem));
    let body = serde_json::to_string(&Health { images, list_problem })
        .expect("text keys and plain values become JSON");
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

#[derive(Serialize)]
struct Health {
    images: Vec<Image>,
    /// Why the newest list of images is not in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    list_problem: Option<String>,
}

#[derive(Serialize)]
struct Image {
    openshift_version: OpenshiftVersion,
    release_version: Option<OpenshiftVersion>,
    arch: Option<Arch>,
    #[serde(rename = "type")]
    kind: ImageKind,
    os_build: Option<OsBuild>,
    state: &'static str,
    #[serde(flatten)]
    details: Details,
}

/// What there is to say about a state beyond its name.
#[derive(Serialize)]
#[serde(untagged)]
enum Details {
    None {},
    Fetching {
        received_bytes: u64,
        total_bytes: Option<u64>,
    },
    Ready {
        sha256: String,
        proof: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        nmstate: Option<Nmstate>,
    },
    Failed {
        reason: String,
        retry_at: Option<Timestamp>,
    },
    Unsupported {
        reason: String,
    },
}

/// What keeps an image from being served with nmstatectl, and so as minimal ISO.
#[derive(Serialize)]
struct Nmstate {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<NmstateTrouble> for Nmstate {
    fn from(trouble: NmstateTrouble) -> Self {
        Self { state: trouble.name(), reason: trouble.reason().map(without_places) }
    }
}

impl From<ImageReport> for Image {
    fn from(ImageReport { desired, os_build, state }: ImageReport) -> Self {
        Self {
            openshift_version: desired.openshift_version,
            release_version: desired.release_version,
            arch: desired.arch,
            kind: desired.kind,
            os_build,
            state: state.name(),
            details: state.into(),
        }
    }
}

impl From<ImageState> for Details {
    fn from(state: ImageState) -> Self {
        match state {
            ImageState::Waiting => Self::None {},
            ImageState::Fetching { received, total } => {
                Self::Fetching { received_bytes: received, total_bytes: total }
            }
            ImageState::Ready(lease) => Self::Ready {
                sha256: lease.sha256().to_string(),
                proof: lease.proof().name(),
                nmstate: lease.nmstate_trouble().map(Nmstate::from),
            },
            ImageState::Failed { reason, retry_at } => {
                Self::Failed { reason: without_places(&reason), retry_at: to_the_second(retry_at) }
            }
            ImageState::Unsupported { reason } => Self::Unsupported { reason: without_places(&reason) },
        }
    }
}

/// A reason without the paths, URLs and hosts in it: anybody may ask here, and they are for the log.
fn without_places(reason: &str) -> String {
    let words = reason.split(' ').map(|word| {
        let name = word.trim_matches(|end: char| !end.is_alphanumeric() && end != '/');
        if names_a_place(name) { word.replace(name, "…") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Rather too often than too rarely: file names look like hosts.
fn names_a_place(name: &str) -> bool {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let (host, has_port) = match name.rsplit_once(':') {
        Some((host, port)) if is_port(port) => (host, true),
        _ => (name, false),
    };
    let is_domain = host
        .rsplit_once('.')
        .is_some_and(|(_, top)| top.len() > 1 && top.bytes().all(|letter| letter.is_ascii_alphabetic()));
    name.contains(['/', '\\', '@', ']'])
        || name.parse::<IpAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
        || is_domain
        || (has_port && host.contains(|letter: char| letter.is_ascii_alphabetic()))
}

fn to_the_second(time: SystemTime) -> Option<Timestamp> {
    let timestamp = Timestamp::try_from(time).ok()?;
    Timestamp::from_second(timestamp.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use image_store::NmstateTrouble;

    use super::{Nmstate, without_places};

    #[test]
    fn trouble_with_nmstatectl_names_no_place() {
        let trouble = NmstateTrouble::Failed { reason: "cannot write /data/nmstate/a: disk full".to_owned() };
        let shown = Nmstate::from(trouble).reason.unwrap();
        assert_eq!(shown, "cannot write …: disk full");
    }

    #[test]
    fn a_reason_names_no_place() {
        for (reason, shown) in [
            ("http://10.0.0.1:80/missing.iso answers 404 Not Found", "… answers 404 Not Found"),
            (
                "cannot store the download: not enough space in /data/a: 5 of 10 bytes",
                "cannot store the download: not enough space in …: 5 of 10 bytes",
            ),
            ("cannot connect to registry.site.example:5000", "cannot connect to …"),
            (
                "quay.io: tcp connect error: 10.1.2.3:443 (\"fd00::7\", [fd00::7]:443)",
                "…: tcp connect error: … (\"…\", […)",
            ),
            ("localhost:5000 closed; user@host too, and /", "… closed; … too, and …"),
            (
                "release 4.17.1 has no image for x86_64; it has arm64",
                "release 4.17.1 has no image for x86_64; it has arm64",
            ),
            (
                "the ISO's SHA-256 is 12ab, of build 418.94.202511191518-0",
                "the ISO's SHA-256 is 12ab, of build 418.94.202511191518-0",
            ),
        ] {
            assert_eq!(without_places(reason), shown);
        }
    }
}
