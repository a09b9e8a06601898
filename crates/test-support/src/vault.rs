//! HashiCorp Vault as far as one secret goes: the logins that machines use, and the key-value store, version 2.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::registry::Certificate;

/// A Vault in the test's own process, which speaks TLS.
#[derive(Debug)]
pub struct FakeVault {
    url: String,
    state: Arc<Mutex<Held>>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Held {
    /// By mount and path, every version from 1; deleted ones are `None`.
    secrets: HashMap<String, Vec<Option<Map<String, Value>>>>,
    tokens: HashSet<String>,
    /// The JWTs of service accounts, by role.
    kubernetes: HashMap<String, String>,
    /// Role id and secret id.
    app_roles: HashSet<(String, String)>,
    /// Writes by others, before as many of the next ones.
    rivals: Vec<Value>,
    logins: usize,
    namespace: Option<String>,
    sealed: bool,
}

impl FakeVault {
    /// Starts an empty one.
    pub async fn start(certificate: &Certificate) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", tcp.local_addr().unwrap());
        let listener = certificate.listener(tcp);
        let state = Arc::new(Mutex::new(Held::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, state, server }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets a token in.
    pub fn add_token(&self, token: &str) {
        self.held().tokens.insert(token.to_owned());
    }

    /// Lets a service account in whose token is this.
    pub fn add_kubernetes_role(&self, role: &str, jwt: &str) {
        self.held().kubernetes.insert(role.to_owned(), jwt.to_owned());
    }

    /// Lets an application in.
    pub fn add_app_role(&self, role_id: &str, secret_id: &str) {
        self.held().app_roles.insert((role_id.to_owned(), secret_id.to_owned()));
    }

    /// Wants this in the namespace header of every request, as the Enterprise edition does.
    pub fn require_namespace(&self, namespace: &str) {
        self.held().namespace = Some(namespace.to_owned());
    }

    /// Every token has expired; logins go on to work.
    pub fn expire_tokens(&self) {
        self.held().tokens.clear();
    }

    /// Answers nothing but that it is sealed.
    pub fn seal(&self) {
        self.held().sealed = true;
    }

    /// How often somebody has logged in.
    pub fn logins(&self) -> usize {
        self.held().logins
    }

    /// Writes a version.
    pub fn put(&self, mount_and_path: &str, fields: Value) {
        let Value::Object(fields) = fields else { panic!("a secret has fields") };
        self.held().secrets.entry(mount_and_path.to_owned()).or_default().push(Some(fields));
    }

    /// Deletes the latest version, which leaves its number.
    pub fn delete(&self, mount_and_path: &str) {
        *self.held().secrets.get_mut(mount_and_path).unwrap().last_mut().unwrap() = None;
    }

    /// Before each of the next writes somebody else writes one of these.
    pub fn add_rivals(&self, fields: impl IntoIterator<Item = Value>) {
        self.held().rivals.extend(fields);
    }

    /// Every version of a secret, from the first.
    pub fn versions(&self, mount_and_path: &str) -> Vec<Option<Value>> {
        let held = self.held();
        let versions = held.secrets.get(mount_and_path).cloned().unwrap_or_default();
        versions.into_iter().map(|version| version.map(Value::Object)).collect()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.state.lock().unwrap()
    }
}

impl Drop for FakeVault {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(state): State<Arc<Mutex<Held>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let header =
        |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut held = state.lock().unwrap();
    if held.sealed {
        return errors(StatusCode::SERVICE_UNAVAILABLE, &["Vault is sealed"]);
    }
    if header("X-Vault-Request").as_deref() != Some("true") {
        return errors(StatusCode::PRECONDITION_FAILED, &["required request header not present"]);
    }
    if header("X-Vault-Namespace") != held.namespace {
        return errors(StatusCode::NOT_FOUND, &["no handler for route in this namespace"]);
    }
    let Some(path) = parts.uri.path().strip_prefix("/v1/") else {
        return errors(StatusCode::NOT_FOUND, &[]);
    };
    if let Some(mount) = path.strip_prefix("auth/").and_then(|path| path.strip_suffix("/login")) {
        return held.log_in(mount, &body);
    }
    if !header("X-Vault-Token").is_some_and(|token| held.tokens.contains(&token)) {
        return errors(StatusCode::FORBIDDEN, &["permission denied"]);
    }
    let Some((mount, path)) = path.split_once("/data/") else { return errors(StatusCode::NOT_FOUND, &[]) };
    let name = format!("{mount}/{path}");
    match parts.method {
        Method::GET => held.read(&name),
        Method::POST | Method::PUT => held.write(name, &body),
        _ => errors(StatusCode::METHOD_NOT_ALLOWED, &["unsupported operation"]),
    }
}

impl Held {
    fn log_in(&mut self, mount: &str, body: &Bytes) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let is_known = match mount {
            "kubernetes" => self.kubernetes.get(&text("role")).is_some_and(|jwt| *jwt == text("jwt")),
            "approle" => self.app_roles.contains(&(text("role_id"), text("secret_id"))),
            _ => return errors(StatusCode::NOT_FOUND, &["no handler for route"]),
        };
        if !is_known {
            return match mount {
                "approle" => errors(StatusCode::BAD_REQUEST, &["invalid role or secret ID"]),
                _ => errors(StatusCode::FORBIDDEN, &["permission denied"]),
            };
        }
        self.logins += 1;
        let token = format!("hvs.token-{}", self.logins);
        self.tokens.insert(token.clone());
        let auth = json!({ "client_token": token, "lease_duration": 3600, "renewable": true });
        axum::Json(json!({ "auth": auth, "data": null })).into_response()
    }

    fn read(&self, name: &str) -> Response {
        let Some(versions) = self.secrets.get(name) else { return errors(StatusCode::NOT_FOUND, &[]) };
        let latest = versions.last().cloned().flatten();
        let status = if latest.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let deletion_time = if latest.is_some() { "" } else { "2026-01-01T00:00:00Z" };
        let metadata =
            json!({ "version": versions.len(), "destroyed": false, "deletion_time": deletion_time });
        (status, axum::Json(json!({ "data": { "data": latest, "metadata": metadata } }))).into_response()
    }

    fn write(&mut self, name: String, body: &Bytes) -> Response {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(fields) = body["data"].as_object().cloned() else {
            return errors(StatusCode::BAD_REQUEST, &["no data provided"]);
        };
        let versions = self.secrets.entry(name).or_default();
        if !self.rivals.is_empty() {
            versions.push(self.rivals.remove(0).as_object().cloned());
        }
        if body["options"]["cas"].as_u64().is_some_and(|cas| cas != versions.len() as u64) {
            let text = "check-and-set parameter did not match the current version";
            return errors(StatusCode::BAD_REQUEST, &[text]);
        }
        versions.push(Some(fields));
        axum::Json(json!({ "data": { "version": versions.len(), "destroyed": false } })).into_response()
    }
}

fn errors(status: StatusCode, errors: &[&str]) -> Response {
    (status, axum::Json(json!({ "errors": errors }))).into_response()
}
