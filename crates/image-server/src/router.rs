//! The table of contents: every route, who calls it, what is limited, and what is counted.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Extension, Router, middleware};

use crate::ImageServer;
use crate::clean_path::{ROUTES, clean_path};
use crate::cors::{Cors, cors};
use crate::health;
use crate::metrics;
use crate::observe::{RequestId, observe};
use crate::path_prefix::{self, PathPrefix};
use crate::rejection::Rejection;
use crate::request::{BootArtifact, ImageRequest};
use crate::request_limit::limit;
use crate::surface::Surface;

const BY_ID: &str = "/byid/{infra_env}/{version}/{arch}/{file}";
const BY_TOKEN: &str = "/bytoken/{token}/{version}/{arch}/{file}";
const BY_API_KEY: &str = "/byapikey/{token}/{version}/{arch}/{file}";
const LONG: &str = "/images/{infra_env}";

const INITRD: &str = "/images/{infra_env}/pxe-initrd";
const INITRD_ADDR_SIZE: &str = "/images/{infra_env}/s390x-initrd-addrsize";

const KERNEL: &str = "/boot-artifacts/kernel";
const ROOTFS: &str = "/boot-artifacts/rootfs";
const INS_FILE: &str = "/boot-artifacts/ins-file";
const NO_ARTIFACT: &str = "/boot-artifacts/";
const OTHER_ARTIFACT: &str = "/boot-artifacts/{*artifact}";

const HEALTH: &str = "/health";
const LIVE: &str = "/live";
const METRICS: &str = "/metrics";

pub(crate) fn router(server: Arc<ImageServer>, surface: Surface) -> Router {
    let image_limit = middleware::from_fn_with_state(server.image_limit.clone(), limit);
    let boot_artifact_limit = middleware::from_fn_with_state(server.boot_artifact_limit.clone(), limit);
    let cors =
        middleware::from_fn_with_state(Cors { allowed: server.allowed_origins.clone(), surface }, cors);
    let observer = middleware::from_fn_with_state(server.metrics.clone(), observe);
    let images = match surface {
        Surface::Everything => discovery_isos().merge(initrds()),
        Surface::NetworkBoot => initrds(),
    };
    let prefix = server.base_url.as_ref().map(|base| base.prefix().to_owned()).unwrap_or_default();
    let router = Router::new()
        .merge(images.layer(image_limit))
        .merge(boot_artifacts().layer(boot_artifact_limit))
        .merge(operations())
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(cors)
        .layer(observer)
        .with_state(server);
    if prefix.is_empty() { router } else { path_prefix::accept(&prefix, router) }
}

/// Whether a path that begins so can lead somewhere.
pub(crate) fn is_first_segment(segment: &str) -> bool {
    ROUTES.contains(&segment)
}

/// Browsers, BMCs with virtual media, Ironic; and for the address file, whoever prepares an s390x machine by hand.
fn discovery_isos() -> Router<Arc<ImageServer>> {
    Router::new()
        .route(BY_ID, download(ImageRequest::by_id))
        .route(BY_TOKEN, download(ImageRequest::by_token))
        .route(BY_API_KEY, download(ImageRequest::by_api_key))
        .route(LONG, download(ImageRequest::long))
        .route(INITRD_ADDR_SIZE, download(ImageRequest::initrd_addr_size))
}

/// What hosts that boot over the network get of an infra-env.
fn initrds() -> Router<Arc<ImageServer>> {
    Router::new().route(INITRD, download(ImageRequest::initrd))
}

/// Hosts that boot over the network, or have booted a minimal ISO.
fn boot_artifacts() -> Router<Arc<ImageServer>> {
    Router::new()
        .route(KERNEL, download(|request| ImageRequest::boot_artifact(request, BootArtifact::Kernel)))
        .route(ROOTFS, download(|request| ImageRequest::boot_artifact(request, BootArtifact::Rootfs)))
        .route(INS_FILE, download(|request| ImageRequest::boot_artifact(request, BootArtifact::InsFile)))
        .route(NO_ARTIFACT, download(ImageRequest::unknown_artifact))
        .route(OTHER_ARTIFACT, download(ImageRequest::unknown_artifact).layer(middleware::from_fn(clean)))
}

/// Probes, deployment scripts, Prometheus.
fn operations() -> Router<Arc<ImageServer>> {
    Router::new()
        .route(HEALTH, get(health::health))
        .route(LIVE, get(health::live))
        .route(METRICS, get(metrics::metrics))
}

/// The `handler` label of a route, in the predecessor's spelling. A route without one is not counted.
pub(crate) fn metrics_label(route: &str) -> Option<&'static str> {
    match route {
        BY_ID => Some("/byid/:token"),
        BY_TOKEN => Some("/bytoken/:token"),
        BY_API_KEY => Some("/byapikey/:token"),
        LONG => Some("/images/:imageID"),
        INITRD => Some("/images/:imageID/pxe-initrd"),
        INITRD_ADDR_SIZE => Some("/images/:imageID/s390x-initrd-addrsize"),
        KERNEL => Some(KERNEL),
        ROOTFS => Some(ROOTFS),
        INS_FILE => Some(INS_FILE),
        NO_ARTIFACT | OTHER_ARTIFACT => Some("/boot-artifacts/:artifact"),
        _ => None,
    }
}

/// Whether a route is called all the time and its requests are of little interest.
pub(crate) fn is_operational(route: &str) -> bool {
    matches!(route, HEALTH | LIVE | METRICS)
}

type Understand = fn(&Parts) -> Result<ImageRequest, Rejection>;

/// The one handler of everything that is downloaded; the routes differ in how they say what.
fn download(understand: Understand) -> MethodRouter<Arc<ImageServer>> {
    get(async move |server: State<Arc<ImageServer>>, id: Extension<RequestId>, request: Request| {
        let (request, _) = request.into_parts();
        let answer = match understand(&request) {
            Ok(wanted) => server.download(wanted, &request).await,
            Err(rejection) => Err(rejection),
        };
        answer.unwrap_or_else(|rejection| rejection.into_response(*id))
    })
}

async fn no_such_route(
    uri: Uri,
    prefix: Option<Extension<PathPrefix>>,
    Extension(id): Extension<RequestId>,
) -> Response {
    redirect(&uri, prefix.as_ref()).unwrap_or_else(|| Rejection::NoSuchRoute.into_response(id))
}

/// The layer around a route that takes unclean paths, too.
async fn clean(uri: Uri, prefix: Option<Extension<PathPrefix>>, request: Request, next: Next) -> Response {
    match redirect(&uri, prefix.as_ref()) {
        Some(redirect) => redirect,
        None => next.run(request).await,
    }
}

/// Leads to the clean path, if this one is not.
fn redirect(uri: &Uri, prefix: Option<&Extension<PathPrefix>>) -> Option<Response> {
    let prefix = prefix.map_or("", |prefix| prefix.as_str());
    let path = clean_path(uri.path())?;
    let location = match uri.query() {
        Some(query) => format!("{prefix}{path}?{query}"),
        None => format!("{prefix}{path}"),
    };
    let location = HeaderValue::try_from(location).ok()?;
    Some((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response())
}

async fn method_not_allowed(Extension(id): Extension<RequestId>) -> Response {
    Rejection::MethodNotAllowed.into_response(id)
}
