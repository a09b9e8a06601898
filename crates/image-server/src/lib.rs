//! The outbound wing: HTTP requests become byte streams.
//!
//! A request is understood (`request`), its image is found in the catalog, its infra-env is asked (`infra_env`), a
//! plan is made of both, and the plan is answered (`respond`) and streamed (`stream`): each once and in one place;
//! `download` tells the story. Nothing here opens or parses an ISO, and the lease on an image lives inside the body
//! that reads it.

mod base_url;
mod clean_path;
mod download;
mod health;
mod ignition_archives;
mod infra_env;
mod metrics;
mod minimal_isos;
mod observe;
mod path_prefix;
mod recent;
mod rejection;
mod request;
mod respond;
mod router;
mod serve;
mod stream;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use image_store::Catalog;
use prometheus::Registry;

use ignition_archives::IgnitionArchives;
use metrics::Metrics;
use minimal_isos::MinimalIsos;

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use infra_env::{
    AssistedService, Credentials, InfraEnv, InfraEnvDirectory, InfraEnvError, InfraEnvId, InfraEnvSource,
    InvalidAssistedService, InvalidInfraEnvId, InvalidKernelArguments, Part, Purpose, Reusing, SecretHeader,
    UnexpectedJson,
};
pub use serve::serve;

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
}

impl ImageServer {
    /// Serves the images of `catalog` as `infra_envs` want them customised.
    ///
    /// The metrics of requests join whatever else is in `registry`, and `/metrics` shows all of it. `started` is when
    /// the program began: a service that is still empty long after that counts as healthy.
    pub fn new(
        catalog: Arc<Catalog>,
        infra_envs: Arc<dyn InfraEnvSource>,
        registry: Registry,
        started: Instant,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::register(&registry)?;
        Ok(Self {
            catalog,
            infra_envs,
            base_url: None,
            ignition_archives: IgnitionArchives::default(),
            minimal_isos: MinimalIsos::default(),
            registry,
            metrics,
            started,
        })
    }

    /// Says under which URL hosts reach this service. Without one there are no minimal ISOs.
    #[must_use]
    pub fn with_base_url(self, base_url: BaseUrl) -> Self {
        Self { base_url: Some(base_url), ..self }
    }

    /// All routes.
    pub fn into_router(self) -> Router {
        router::router(self)
    }
}
