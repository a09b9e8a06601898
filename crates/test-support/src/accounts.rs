//! Single sign-on and the account service of the hosted product, which gives an account its pull secret.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::form_urlencoded;

use crate::registry::Certificate;

/// Both in the test's own process, behind one address, speaking TLS.
#[derive(Debug)]
pub struct FakeAccounts {
    url: String,
    state: Arc<Mutex<Held>>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Held {
    pull_secret: Value,
    tokens: Vec<String>,
    trouble: Option<u16>,
}

impl FakeAccounts {
    /// A service account's id.
    pub const CLIENT_ID: &str = "image-service";
    /// Its secret.
    pub const CLIENT_SECRET: &str = "client-secret-of-the-account";
    /// A person's offline token, given to the client `cloud-services`.
    pub const REFRESH_TOKEN: &str = "offline-token-of-the-account";

    /// Starts them for one account.
    pub async fn start(certificate: &Certificate, pull_secret: Value) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", tcp.local_addr().unwrap());
        let listener = certificate.listener(tcp);
        let state = Arc::new(Mutex::new(Held { pull_secret, tokens: Vec::new(), trouble: None }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, server }
    }

    /// The address of the account service.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token endpoint of single sign-on.
    pub fn token_url(&self) -> String {
        format!("{}/auth/realms/redhat-external/protocol/openid-connect/token", self.url)
    }

    /// The account has another pull secret from now on.
    pub fn rotate(&self, pull_secret: Value) {
        self.state.lock().unwrap().pull_secret = pull_secret;
    }

    /// The account service answers with this status from now on.
    pub fn fail_with(&self, status: u16) {
        self.state.lock().unwrap().trouble = Some(status);
    }

    /// It is well again.
    pub fn recover(&self) {
        self.state.lock().unwrap().trouble = None;
    }

    /// The access tokens that were given out.
    pub fn tokens(&self) -> Vec<String> {
        self.state.lock().unwrap().tokens.clone()
    }
}

impl Drop for FakeAccounts {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(state): State<Arc<Mutex<Held>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut held = state.lock().unwrap();
    match (parts.method, parts.uri.path()) {
        (Method::POST, "/auth/realms/redhat-external/protocol/openid-connect/token") => {
            if header(CONTENT_TYPE) != "application/x-www-form-urlencoded" {
                return oauth_error("invalid_request", "Missing form parameter: grant_type");
            }
            let field = |name: &str| {
                let field = form_urlencoded::parse(&body).find(|(key, _)| key == name);
                field.map(|(_, value)| value.into_owned()).unwrap_or_default()
            };
            let basic = format!("{}:{}", FakeAccounts::CLIENT_ID, FakeAccounts::CLIENT_SECRET);
            let basic = format!("Basic {}", BASE64_STANDARD.encode(basic));
            let is_known = match field("grant_type").as_str() {
                "client_credentials" => header(AUTHORIZATION) == basic && field("scope") == "openid",
                "refresh_token" => {
                    field("client_id") == "cloud-services"
                        && field("refresh_token") == FakeAccounts::REFRESH_TOKEN
                }
                _ => return oauth_error("unsupported_grant_type", "Unsupported grant_type"),
            };
            if !is_known {
                return oauth_error("unauthorized_client", "Invalid client or Invalid client credentials");
            }
            let token = format!("access-token-{}", held.tokens.len() + 1);
            held.tokens.push(token.clone());
            let answer = json!({ "access_token": token, "expires_in": 900, "token_type": "Bearer" });
            axum::Json(answer).into_response()
        }
        (Method::POST, "/api/accounts_mgmt/v1/access_token") => {
            if let Some(status) = held.trouble {
                return api_error(StatusCode::from_u16(status).unwrap(), "The service is in trouble");
            }
            let token = header(AUTHORIZATION).strip_prefix("Bearer ").unwrap_or_default();
            if !held.tokens.iter().any(|known| known == token) {
                return api_error(StatusCode::UNAUTHORIZED, "Account has no valid token");
            }
            (StatusCode::CREATED, axum::Json(held.pull_secret.clone())).into_response()
        }
        _ => api_error(StatusCode::NOT_FOUND, "Not found"),
    }
}

fn oauth_error(error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
}

fn api_error(status: StatusCode, reason: &str) -> Response {
    let code = status.as_u16();
    let code = format!("ACCT-MGMT-{code}");
    (status, axum::Json(json!({ "kind": "Error", "id": "1", "code": code, "reason": reason })))
        .into_response()
}
