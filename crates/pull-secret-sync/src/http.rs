//! JSON over HTTP, bounded in time and size, with errors that repeat nothing secret.

use std::time::Duration;

use oci_registry::{Excerpt, RedactedUrl};
use outbound_http::{ClientRecipe, NamedCas, Proxies, Trust};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use crate::{Error, Service};

/// A pull secret has some KiB.
const MAX_ANSWER: usize = 1 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the whole answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client that trusts the system's CAs, and these if there are any. Redirects are not followed: credentials are meant
/// for the host that the admin named.
pub(crate) fn client(trusted_ca_pem: Option<&[u8]>) -> Result<Client, Error> {
    let recipe = ClientRecipe {
        user_agent: concat!("coreos-image-service/", env!("CARGO_PKG_VERSION")),
        connect_timeout: CONNECT_TIMEOUT,
        proxies: Proxies::from_env(),
        trust: match trusted_ca_pem {
            Some(pem) => Trust::Beside(NamedCas::from_pem(pem)?),
            None => Trust::System,
        },
        http1_only: false,
    };
    recipe.builder().timeout(TIMEOUT).build().map_err(Error::Client)
}

/// What a service answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    pub(crate) url: RedactedUrl,
    pub(crate) service: Service,
}

/// Asks, and takes whatever comes.
pub(crate) async fn ask(service: Service, url: &Url, request: RequestBuilder) -> Result<Answer, Error> {
    let unreachable = |source: reqwest::Error| Error::Unreachable {
        service,
        url: url.into(),
        source: source.without_url(),
    };
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::Answer { service, url: url.into(), problem: "it is larger than 1 MiB" });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body, url: url.into(), service })
}

impl Answer {
    /// The JSON of a good answer.
    pub(crate) fn json(self) -> Result<Value, Error> {
        if !self.status.is_success() {
            return Err(self.into_error());
        }
        serde_json::from_slice(&self.body).map_err(|_| self.none("it is not JSON"))
    }

    /// The error that an answer without what was asked for is.
    pub(crate) fn none(&self, problem: &'static str) -> Error {
        Error::Answer { service: self.service, url: self.url.clone(), problem }
    }

    /// The error that a bad answer is.
    pub(crate) fn into_error(self) -> Error {
        let answer = Excerpt::of(&reason(&self.body));
        let Self { status, url, service, .. } = self;
        match status.as_u16() {
            status @ (400 | 401 | 403) => Error::Refused { service, url, status, answer },
            status => Error::Failed { service, url, status, answer },
        }
    }
}

/// What the services call the reason: OAuth's `error_description` or `error`, the account service's `reason`, Vault's
/// `errors`. Nothing else of an answer is fit to be repeated.
fn reason(body: &[u8]) -> String {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return "no reason is given".to_owned();
    };
    let text = |name: &str| answer.get(name)?.as_str().map(str::to_owned);
    let errors = || {
        let errors: Vec<_> = answer.get("errors")?.as_array()?.iter().filter_map(Value::as_str).collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    };
    let reason = ["error_description", "error", "reason"].into_iter().find_map(text).or_else(errors);
    reason.unwrap_or_else(|| "no reason is given".to_owned())
}
