//! Infra-envs as assisted-service keeps them, asked over REST.
//!
//! Redirects are not followed: credentials are meant for the host that the admin named. No URL is part of an error,
//! since an API key travels in the query.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderName, LAST_MODIFIED};
use bytes::{Bytes, BytesMut};
use outbound_http::{ClientRecipe, InvalidCas, NamedCas, Proxies, Trust};
use reqwest::{Client, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::{
    Credentials, InfraEnv, InfraEnvError, InfraEnvId, InfraEnvSource, MAX_IGNITION, MAX_RAMDISK, Part,
    Purpose, UnexpectedJson, kernel_arguments, only_if,
};

const IMAGE_TOKEN: HeaderName = HeaderName::from_static("image-token");
const USER_AGENT: &str = concat!("coreos-image-service/", env!("CARGO_PKG_VERSION"));

/// Static network configuration of many hosts makes an infra-env large, but not that large.
const MAX_INFRA_ENV: u64 = 16 * 1024 * 1024;

/// An assisted-service, as seen by its client.
#[derive(Debug)]
pub struct AssistedService {
    client: Client,
    infra_envs: Url,
}

/// Why no client of assisted-service can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAssistedService {
    /// The address cannot be one of a web service.
    #[error("{0:?} is not the address of a web service")]
    Address(String),
    /// The trusted CAs cannot be used.
    #[error("the CA certificates for assisted-service cannot be used")]
    TrustedCas(#[from] InvalidCas),
    /// The HTTP client cannot be made.
    #[error("cannot make the HTTP client for assisted-service")]
    Client(#[source] reqwest::Error),
}

impl AssistedService {
    /// A client of the assisted-service at `address`, such as `https://assisted-service:8090`.
    ///
    /// With `trusted_ca`, certificates in PEM format, these are trusted instead of the system's and no proxy is used:
    /// what has a CA of its own is near. Neither is one used for this machine itself; for all else `HTTP_PROXY`,
    /// `HTTPS_PROXY` and `NO_PROXY` count. `timeout` bounds each call from its first to its last byte.
    pub fn new(
        address: &Url,
        trusted_ca: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Self, InvalidAssistedService> {
        let invalid_address = || InvalidAssistedService::Address(address.to_string());
        if !matches!(address.scheme(), "http" | "https") || !address.has_host() {
            return Err(invalid_address());
        }
        let infra_envs =
            address.join("/api/assisted-install/v2/infra-envs").map_err(|_| invalid_address())?;
        let (trust, proxies) = match trusted_ca {
            Some(pem) => (Trust::Alone(NamedCas::from_pem(pem)?), Proxies::default()),
            None => (Trust::System, Proxies::from_env()),
        };
        let recipe = ClientRecipe {
            user_agent: USER_AGENT,
            connect_timeout: timeout,
            proxies,
            trust,
            http1_only: false,
        };
        let client = recipe.builder().timeout(timeout).build();
        Ok(Self { client: client.map_err(InvalidAssistedService::Client)?, infra_envs })
    }

    /// Downloads `/infra-envs/<path>` and checks the status.
    async fn get(
        &self,
        part: Part,
        path: &[&str],
        query: &[(&str, &str)],
        credentials: &Credentials,
    ) -> Result<Response, InfraEnvError> {
        let mut url = self.infra_envs.clone();
        url.path_segments_mut().expect("an http URL has a path").extend(path);
        let mut headers = HeaderMap::new();
        match credentials {
            Credentials::Anonymous => {}
            Credentials::ApiKey(key) => {
                url.query_pairs_mut().append_pair("api_key", key.expose_secret());
            }
            Credentials::ImageToken(token) => {
                headers.insert(IMAGE_TOKEN, token.expose().clone());
            }
            Credentials::Authorization(value) => {
                headers.insert(AUTHORIZATION, value.expose().clone());
            }
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let what = name(part);
        let answer = self.client.get(url).headers(headers).send().await.map_err(failed(what))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            // No infra-env lacks the other parts.
            StatusCode::NO_CONTENT if part == Part::Ramdisk => Ok(answer),
            status if status.is_client_error() => Err(InfraEnvError::Refused { part, status }),
            status => Err(InfraEnvError::UnexpectedStatus { what, status }),
        }
    }

    async fn ignition(
        &self,
        id: &str,
        purpose: Purpose,
        credentials: &Credentials,
    ) -> Result<(Bytes, Option<SystemTime>), InfraEnvError> {
        let iso_type = purpose.discovery_iso_type().map(|iso_type| ("discovery_iso_type", iso_type));
        let query: Vec<_> = iso_type.into_iter().chain([("file_name", "discovery.ign")]).collect();
        let answer = self.get(Part::Ignition, &[id, "downloads", "files"], &query, credentials).await?;
        let last_modified = answer.headers().get(LAST_MODIFIED).and_then(|date| date.to_str().ok());
        let last_modified = last_modified.and_then(|date| httpdate::parse_http_date(date).ok());
        Ok((body(name(Part::Ignition), answer, MAX_IGNITION).await?, last_modified))
    }

    async fn ramdisk(&self, id: &str, credentials: &Credentials) -> Result<Option<Bytes>, InfraEnvError> {
        let answer = self.get(Part::Ramdisk, &[id, "downloads", "minimal-initrd"], &[], credentials).await?;
        let archive = body(name(Part::Ramdisk), answer, MAX_RAMDISK).await?;
        Ok(Some(archive).filter(|archive| !archive.is_empty()))
    }

    async fn kernel_arguments(
        &self,
        id: &str,
        credentials: &Credentials,
    ) -> Result<Option<Vec<String>>, InfraEnvError> {
        /// The one field of interest: JSON as a string within JSON.
        #[derive(Deserialize)]
        struct InfraEnv {
            kernel_arguments: Option<String>,
        }

        let what = name(Part::KernelArguments);
        let answer = self.get(Part::KernelArguments, &[id], &[], credentials).await?;
        let json = body(what, answer, MAX_INFRA_ENV).await?;
        let infra_env: InfraEnv = serde_json::from_slice(&json).map_err(|error| {
            InfraEnvError::Malformed { what, source: Arc::new(UnexpectedJson::from(error)) }
        })?;
        Ok(infra_env.kernel_arguments.map(|json| kernel_arguments::parse(json.as_bytes())).transpose()?)
    }
}

#[async_trait]
impl InfraEnvSource for AssistedService {
    async fn infra_env(
        &self,
        id: InfraEnvId,
        purpose: Purpose,
        credentials: &Credentials,
    ) -> Result<InfraEnv, InfraEnvError> {
        let id = id.to_string();
        let ((ignition, last_modified), kernel_arguments, ramdisk) = tokio::try_join!(
            self.ignition(&id, purpose, credentials),
            only_if(purpose.takes_kernel_arguments(), self.kernel_arguments(&id, credentials)),
            only_if(purpose.takes_ramdisk(), self.ramdisk(&id, credentials)),
        )?;
        Ok(InfraEnv { ignition, last_modified, kernel_arguments, ramdisk })
    }
}

/// What a call asks for. Kernel arguments are part of a larger answer.
const fn name(part: Part) -> &'static str {
    match part {
        Part::Ignition => "Ignition config",
        Part::Ramdisk => "network configuration",
        Part::KernelArguments => "infra-env",
    }
}

/// Reads a body of at most `max` bytes, counted after decompression.
async fn body(what: &'static str, mut answer: Response, max: u64) -> Result<Bytes, InfraEnvError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed(what))? {
        if (body.len() + chunk.len()) as u64 > max {
            return Err(InfraEnvError::TooLarge { what, max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn failed(what: &'static str) -> impl Fn(reqwest::Error) -> InfraEnvError {
    move |error| {
        let error = error.without_url();
        if error.is_timeout() {
            return InfraEnvError::TimedOut { what };
        }
        let malformed = error.is_decode();
        let source: Arc<dyn Error + Send + Sync> = Arc::new(error);
        if malformed {
            InfraEnvError::Malformed { what, source }
        } else {
            InfraEnvError::Unreachable { what, source }
        }
    }
}
