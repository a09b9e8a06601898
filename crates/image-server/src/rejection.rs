//! Everything that a client can be told instead of an image, in one place.
//!
//! The styles are the predecessor's: an empty body, a sentence, a sentence with a newline. What is our own trouble
//! (5xx) is told in general words with the request's id; under that id the log has the whole story.

use std::error::Error;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use coreos_names::Arch;
use image_store::{ImageReport, ImageState};
use live_iso::PlanError;

use crate::infra_env::{InfraEnvError, Part};
use crate::observe::{Failure, RequestId, Uncounted};
use crate::request::{InvalidToken, IsoType};

/// How soon it makes sense to ask again for an image that is on its way.
const RETRY_SOON: Duration = Duration::from_secs(10);

/// The longest that a failed image waits for its next attempt.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// How soon it makes sense to ask again for an image that only another configuration can bring.
const RETRY_LATE: Duration = Duration::from_mins(5);

/// Why a request gets no image.
#[derive(Debug)]
pub(crate) enum Rejection {
    /// The URL is none of ours.
    NoSuchRoute,
    /// Neither GET nor HEAD.
    MethodNotAllowed,
    /// The token in the path holds no id of an infra-env.
    InvalidToken(InvalidToken),
    /// No ISO is called so.
    UnknownFileName(String),
    /// A parameter of the query is missing.
    MissingParameter(&'static str),
    /// The parameter `type` names no ISO.
    InvalidType(String),
    /// The parameter `image_token` cannot be passed on.
    InvalidImageToken,
    /// An initrd is wanted, but of which version?
    MissingInitrdVersion,
    /// An initrd is wanted of an image that nobody configured.
    UnknownInitrdVersion { version: String, arch: String },
    /// A boot artifact is wanted, but of which version?
    MissingArtifactVersion,
    /// A boot artifact is wanted of an image that nobody configured.
    UnknownArtifactVersion { version: String, arch: String },
    /// No boot artifact is called so.
    UnknownArtifact { path: String },
    /// Only s390x boots from an ins-file.
    InsFileOfOtherArch(Arch),
    /// An ISO is wanted of an image that nobody configured.
    UnknownImage,
    /// Nobody knows yet whether the image is configured: the list of images was not read.
    ListAwaited,
    /// The image is configured, but is not to be had as this type of ISO; the log is told why if the image is at fault.
    IsoNotOffered { iso: IsoType, version: String, arch: Arch, reason: Option<PlanError> },
    /// The image is configured as an ISO that boot artifacts are not taken from.
    ArtifactsNotOffered { version: String, arch: Arch },
    /// The image is configured, but not there.
    NotReady { report: Box<ImageReport>, arch: Arch },
    /// A minimal ISO has to say where the rest of it is, and nobody told.
    NoBaseUrl,
    /// The image has to bring along a program that was not taken out of it yet.
    NoNmstatectl,
    /// The host would have to bring up its network with a program that nothing can bring along.
    NoPlaceForNmstatectl,
    /// The image has to bring along a program that cannot be taken out of it.
    NmstatectlUnavailable,
    /// As many requests as may be are being served, and none of them has ended in time.
    Busy,
    /// The infra-env cannot be had.
    InfraEnv(InfraEnvError),
    /// The same, for an initrd.
    InfraEnvOfInitrd(InfraEnvError),
    /// The image cannot be customised as the infra-env asks.
    Plan(PlanError),
    /// The same, of an image for which the predecessor had words of its own.
    KernelArgumentsOnS390x,
    /// The metrics cannot be written down.
    Metrics(prometheus::Error),
    /// A task of this program was cancelled or panicked.
    Task(tokio::task::JoinError),
}

/// What the client is told.
struct Answer {
    status: StatusCode,
    text: Option<String>,
    newline: bool,
    retry_after: Option<Duration>,
}

impl Answer {
    /// Not now; after so long, perhaps.
    fn unavailable(retry_after: Duration, text: impl Into<String>) -> Self {
        Self { retry_after: Some(retry_after), ..Self::line(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    fn empty(status: StatusCode) -> Self {
        Self { status, text: None, newline: false, retry_after: None }
    }

    fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::empty(status) }
    }

    fn line(status: StatusCode, text: impl Into<String>) -> Self {
        Self { newline: true, ..Self::text(status, text) }
    }
}

impl Rejection {
    pub(crate) fn not_ready(report: ImageReport, arch: Arch) -> Self {
        Self::NotReady { report: Box::new(report), arch }
    }

    pub(crate) fn unknown_initrd_version(version: String, arch: Arch) -> Self {
        Self::UnknownInitrdVersion { version, arch: arch.to_string() }
    }

    pub(crate) fn unknown_artifact_version(version: String, arch: Arch) -> Self {
        Self::UnknownArtifactVersion { version, arch: arch.to_string() }
    }

    /// Why a plan for an image of this architecture could not be made.
    pub(crate) fn of_plan(error: PlanError, arch: Arch) -> Self {
        match (error, arch) {
            (PlanError::NoKernelArgumentArea, Arch::S390x) => Self::KernelArgumentsOnS390x,
            (error, _) => Self::Plan(error),
        }
    }

    pub(crate) fn into_response(self, request: RequestId) -> Response {
        let Answer { status, text, newline, retry_after } = self.answer();
        let body = text.map(|text| {
            let id = if status.is_server_error() { format!(" (request {request})") } else { String::new() };
            format!("{text}{id}{}", if newline { "\n" } else { "" })
        });
        let has_text = body.is_some();
        let mut response = Response::new(body.map_or_else(Body::empty, Body::from));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if has_text {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        if newline {
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        if let Some(wait) = retry_after {
            headers.insert(RETRY_AFTER, wait.as_secs().into());
        }
        if matches!(self, Self::MethodNotAllowed) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if self.precedes_the_image() {
            response.extensions_mut().insert(Uncounted);
        }
        if let Some(failure) = self.failure() {
            response.extensions_mut().insert(Failure::new(failure));
        }
        response
    }

    fn answer(&self) -> Answer {
        match self {
            Self::NoSuchRoute | Self::UnknownImage => {
                Answer::line(StatusCode::NOT_FOUND, "404 page not found")
            }
            Self::MethodNotAllowed => Answer::empty(StatusCode::METHOD_NOT_ALLOWED),
            Self::InvalidToken(error) => Answer::text(StatusCode::NOT_FOUND, error.to_string()),
            Self::UnknownFileName(name) => {
                Answer::text(StatusCode::NOT_FOUND, format!("unrecognized file name {name}"))
            }
            Self::MissingParameter(name) => {
                Answer::text(StatusCode::BAD_REQUEST, format!("'{name}' parameter required"))
            }
            Self::InvalidType(value) => {
                Answer::text(StatusCode::BAD_REQUEST, format!("invalid value '{value}' for parameter 'type'"))
            }
            Self::InvalidImageToken => {
                Answer::text(StatusCode::BAD_REQUEST, "invalid value for parameter 'image_token'")
            }
            Self::MissingInitrdVersion => {
                Answer::line(StatusCode::BAD_REQUEST, "'version' parameter required for initrd download")
            }
            Self::UnknownInitrdVersion { version, arch } => {
                // The space at the end is the predecessor's.
                Answer::line(StatusCode::BAD_REQUEST, format!("version for {version} {arch}, not found "))
            }
            Self::MissingArtifactVersion => Answer::line(
                StatusCode::BAD_REQUEST,
                "Failed to parse query parameters: 'version' parameter required",
            ),
            Self::UnknownArtifactVersion { version, arch } => Answer::line(
                StatusCode::BAD_REQUEST,
                format!("Failed to parse query parameters: version for {version} {arch}, not found"),
            ),
            Self::UnknownArtifact { path } => Answer::line(
                StatusCode::NOT_FOUND,
                format!("Failed to parse artifact: malformed download path: {path}"),
            ),
            Self::InsFileOfOtherArch(arch) => Answer::line(
                StatusCode::NOT_FOUND,
                format!(
                    "Failed to parse artifact: ins-file is only available for the s390x architecture. \
                     Current arch: {arch}"
                ),
            ),
            Self::IsoNotOffered { iso, version, arch, .. } => Answer::line(
                StatusCode::NOT_FOUND,
                format!("the image for {version} {arch} is not available as a {} ISO", iso.name()),
            ),
            Self::ArtifactsNotOffered { version, arch } => Answer::line(
                StatusCode::NOT_FOUND,
                format!("there are no boot artifacts of the image for {version} {arch}"),
            ),
            Self::ListAwaited => Answer::unavailable(
                RETRY_SOON,
                format!(
                    "it is not known yet which images there are to be; try again in {} s",
                    RETRY_SOON.as_secs()
                ),
            ),
            Self::NotReady { report, arch } => not_ready(report, *arch),
            Self::NoBaseUrl => Answer::line(
                StatusCode::SERVICE_UNAVAILABLE,
                "there are no minimal ISOs as long as IMAGE_SERVICE_BASE_URL is not set",
            ),
            Self::NoNmstatectl => Answer::unavailable(
                RETRY_SOON,
                "nmstatectl, which hosts of this version need, has not been taken out of the image yet",
            ),
            Self::NoPlaceForNmstatectl => Answer::line(
                StatusCode::UNPROCESSABLE_ENTITY,
                "a minimal ISO for s390x has no place for nmstatectl, which hosts of this version need for their \
                 network configuration; use the full ISO",
            ),
            Self::NmstatectlUnavailable => Answer::unavailable(
                RETRY_LATE,
                "nmstatectl, which hosts of this version need, cannot be taken out of the image",
            ),
            Self::Busy => Answer::unavailable(
                RETRY_SOON,
                format!("too many requests at a time; try again in {} s", RETRY_SOON.as_secs()),
            ),
            Self::InfraEnv(error) => infra_env(error),
            Self::InfraEnvOfInitrd(error) => infra_env_of_initrd(error),
            Self::Plan(error) => plan(error),
            Self::KernelArgumentsOnS390x => {
                Answer::line(StatusCode::BAD_REQUEST, "kargs cannot be modified in s390x architecture ISOs")
            }
            Self::Metrics(_) | Self::Task(_) => {
                Answer::line(StatusCode::INTERNAL_SERVER_ERROR, "this service failed")
            }
        }
    }

    /// Whether the request never got so far as to ask for an image. Such requests are not counted, as in the
    /// predecessor.
    fn precedes_the_image(&self) -> bool {
        matches!(self, Self::NoSuchRoute | Self::MethodNotAllowed | Self::ListAwaited | Self::NotReady { .. })
    }

    /// What the log shall know. What the client got wrong is no part of that: it may hold a token in the wrong place.
    fn failure(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InfraEnv(error) | Self::InfraEnvOfInitrd(error) => Some(error),
            Self::Plan(error) | Self::IsoNotOffered { reason: Some(error), .. } => Some(error),
            Self::Metrics(error) => Some(error),
            Self::Task(error) => Some(error),
            _ => None,
        }
    }
}

fn not_ready(report: &ImageReport, arch: Arch) -> Answer {
    let wait = retry_after(&report.state);
    let version = &report.desired.openshift_version;
    let progress = progress(&report.state);
    let seconds = wait.as_secs();
    Answer {
        retry_after: Some(wait),
        ..Answer::line(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the image for OpenShift {version} {arch} {progress}; try again in {seconds} s"),
        )
    }
}

fn infra_env(error: &InfraEnvError) -> Answer {
    match error {
        InfraEnvError::Refused { status, .. } => Answer::empty(*status),
        InfraEnvError::UnexpectedStatus { .. } | InfraEnvError::Malformed { .. } => {
            Answer::line(StatusCode::BAD_GATEWAY, "the infra-env service gave an answer that makes no sense")
        }
        InfraEnvError::Unreachable { .. } => {
            Answer::line(StatusCode::BAD_GATEWAY, "the infra-env service cannot be reached")
        }
        InfraEnvError::TimedOut { .. } => {
            Answer::line(StatusCode::GATEWAY_TIMEOUT, "the infra-env service did not answer in time")
        }
        InfraEnvError::Unreadable { .. } => {
            Answer::line(StatusCode::INTERNAL_SERVER_ERROR, "the infra-env cannot be read")
        }
        InfraEnvError::TooLarge { .. } => Answer::line(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
        InfraEnvError::KernelArguments(error) => {
            Answer::line(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
    }
}

/// Who asks for an initrd is told which part was refused.
fn infra_env_of_initrd(error: &InfraEnvError) -> Answer {
    match error {
        InfraEnvError::Refused { part, status } => {
            let part = match part {
                Part::Ignition => "ignition",
                Part::Ramdisk => "ramdisk",
                Part::KernelArguments => "kernel argument",
            };
            let code = status.as_u16();
            Answer::line(*status, format!("error retrieving {part} content: request returned status {code}"))
        }
        other => infra_env(other),
    }
}

fn plan(error: &PlanError) -> Answer {
    let is_about_the_image = matches!(error, PlanError::NoIgnitionArea | PlanError::NoKernelArgumentArea);
    if error.is_callers_fault() || is_about_the_image {
        Answer::line(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
    } else if matches!(error, PlanError::NoSuchArtifact { .. }) {
        Answer::line(StatusCode::NOT_FOUND, error.to_string())
    } else {
        Answer::line(StatusCode::INTERNAL_SERVER_ERROR, "the image cannot be customised")
    }
}

/// Where an image is on its way, behind "the image". Why it is not further is for the log and `/health`.
fn progress(state: &ImageState) -> String {
    const MEGABYTE: u64 = 1_000_000;
    match state {
        ImageState::Waiting | ImageState::Ready(_) => "is waiting to be fetched".to_owned(),
        ImageState::Fetching { received, total: Some(total) } => {
            format!("is being fetched ({} of {} MB)", received / MEGABYTE, total / MEGABYTE)
        }
        ImageState::Fetching { received, total: None } => {
            format!("is being fetched ({} MB so far)", received / MEGABYTE)
        }
        ImageState::Failed { .. } => "could not be fetched yet".to_owned(),
        ImageState::Unsupported { .. } => "cannot be served from its source".to_owned(),
    }
}

fn retry_after(state: &ImageState) -> Duration {
    match state {
        ImageState::Waiting | ImageState::Fetching { .. } | ImageState::Ready(_) => RETRY_SOON,
        ImageState::Failed { retry_at, .. } => {
            // The clock may have been set since.
            retry_at.duration_since(SystemTime::now()).unwrap_or_default().min(LONGEST_WAIT) + RETRY_SOON
        }
        ImageState::Unsupported { .. } => RETRY_LATE,
    }
}

impl From<InvalidToken> for Rejection {
    fn from(error: InvalidToken) -> Self {
        Self::InvalidToken(error)
    }
}

impl From<InfraEnvError> for Rejection {
    fn from(error: InfraEnvError) -> Self {
        Self::InfraEnv(error)
    }
}

impl From<PlanError> for Rejection {
    fn from(error: PlanError) -> Self {
        Self::Plan(error)
    }
}

impl From<tokio::task::JoinError> for Rejection {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(error)
    }
}
