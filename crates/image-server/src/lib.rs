//! The outbound wing: HTTP requests become byte streams.
//!
//! A request is understood (`request`), its image is found in the catalog, its infra-env is asked (`infra_env`), a
//! plan is made of both, and the plan is answered (`respond`) and streamed (`stream`): each once and in one place;
//! `download` tells the story. Nothing here opens or parses an ISO, and the lease on an image lives inside the body
//! that reads it.

mod base_url;
mod clean_path;
mod cors;
mod download;
mod guarded_body;
mod health;
mod ignition_archives;
mod infra_env;
mod metrics;
mod minimal_isos;
mod observe;
mod path_prefix;
mod policy;
mod recent;
mod rejection;
mod request;
mod request_limit;
mod respond;
mod router;
mod serve;
mod stream;
mod surface;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use image_store::Catalog;
use prometheus::Registry;

use ignition_archives::IgnitionArchives;
use metrics::{ImageMetrics, Metrics};
use minimal_isos::MinimalIsos;
use request_limit::RequestLimit;

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use cors::AllowedOrigins;
pub use infra_env::{
    AssistedService, Credentials, InfraEnv, InfraEnvDirectory, InfraEnvError, InfraEnvId, InfraEnvSource,
    InvalidAssistedService, InvalidInfraEnvId, InvalidKernelArguments, Part, Purpose, Reusing, SecretHeader,
    UnexpectedJson,
};
pub use policy::Policy;
pub use serve::{CipherSuites, InvalidTls, InvalidTlsVersion, Tls, TlsPolicy, TlsVersion, serve};
#[doc(hidden)]
pub use serve::{Patience, serve_with};
pub use surface::Surface;

/// What requests are answered with.
#[derive(Debug)]
pub struct ImageServer {
    catalog: Arc<Catalog>,
    infra_envs: Arc<dyn InfraEnvSource>,
    base_url: Option<BaseUrl>,
    ignition_archives: IgnitionArchives,
    minimal_isos: MinimalIsos,
    registry: Registry,
    metrics: Metrics,
    started: Instant,
    allowed_origins: AllowedOrigins,
    image_limit: RequestLimit,
    boot_artifact_limit: RequestLimit,
}

impl ImageServer {
    /// Serves the images of `catalog` as `infra_envs` want them customised.
    ///
    /// The metrics of requests and images join whatever else is in `registry`, and `/metrics` shows all of it. `started` is when
    /// the program began: a service that is still empty long after that counts as healthy.
    pub fn new(
        catalog: Arc<Catalog>,
        infra_envs: Arc<dyn InfraEnvSource>,
        registry: Registry,
        started: Instant,
        policy: Policy,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::register(&registry)?;
        ImageMetrics::register(&registry, Arc::clone(&catalog), started)?;
        let limit = || RequestLimit::new(policy.max_concurrent_requests, policy.queue_time);
        Ok(Self {
            catalog,
            infra_envs,
            base_url: policy.base_url,
            ignition_archives: IgnitionArchives::default(),
            minimal_isos: MinimalIsos::default(),
            registry,
            metrics,
            started,
            image_limit: limit(),
            boot_artifact_limit: limit(),
            allowed_origins: policy.allowed_origins,
        })
    }

    /// The routes of a listener. All listeners of a server share its limits and metrics.
    pub fn router(self: &Arc<Self>, surface: Surface) -> Router {
        router::router(Arc::clone(self), surface)
    }
}
