use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::header::{ACCEPT, AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coreos_names::Sha256;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use url::form_urlencoded;

use super::answer::{Answer, error, first_asked, header, json_body, redirect, refusal};
use super::fault::{Fault, Faults};
use super::log::Log;
use super::token::Links;
use super::{Certificate, TokenRegistryBuilder};
use crate::payload::Content;

/// What a [`TokenRegistry`](super::TokenRegistry) knows, and how it answers.
#[derive(Debug)]
pub(super) struct Service {
    options: TokenRegistryBuilder,
    address: String,
    cdn_address: Option<String>,
    /// By repository and tag or digest, with the media type.
    manifests: Mutex<HashMap<(String, String), (String, Content)>>,
    blobs: Mutex<HashMap<Sha256, Content>>,
    tokens: Mutex<HashMap<String, Grant>>,
    /// The queries of links to the CDN that have been given out and not been used.
    links: Mutex<HashSet<String>>,
    users: Mutex<Vec<User>>,
    /// The names of users, by identity token.
    identity_tokens: Mutex<HashMap<String, String>>,
    pub(super) faults: Faults,
    pub(super) log: Log,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
    /// The beginnings of repositories they may pull from.
    pub(super) repositories: Vec<String>,
}

/// What a token is good for.
#[derive(Clone, Debug)]
struct Grant {
    /// `None` if for nothing.
    repository: Option<String>,
    expires: Instant,
}

impl Service {
    const TOKEN_LIFETIME: Duration = Duration::from_mins(5);
    const SIGNATURE: &str = "X-Amz-Signature=presigned";

    pub(super) fn new(
        mut options: TokenRegistryBuilder,
        address: String,
        cdn_address: Option<String>,
    ) -> Self {
        Self {
            users: Mutex::new(std::mem::take(&mut options.users)),
            identity_tokens: Mutex::new(std::mem::take(&mut options.identity_tokens.users)),
            options,
            address,
            cdn_address,
            manifests: Mutex::default(),
            blobs: Mutex::default(),
            tokens: Mutex::default(),
            links: Mutex::default(),
            faults: Faults::default(),
            log: Log::default(),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn cdn_address(&self) -> Option<&str> {
        self.cdn_address.as_deref()
    }

    pub(super) const fn certificate(&self) -> Option<&Certificate> {
        self.options.certificate.as_ref()
    }

    pub(super) const fn client_ca(&self) -> Option<&CertificateDer<'static>> {
        self.options.client_ca.as_ref()
    }

    pub(super) fn store_manifest(&self, repository: &str, name: &str, media_type: &str, manifest: &Content) {
        let key = (repository.to_owned(), name.to_owned());
        self.manifests.lock().unwrap().insert(key, (media_type.to_owned(), manifest.clone()));
    }

    pub(super) fn store_blob(&self, blob: &Content) {
        self.blobs.lock().unwrap().insert(blob.sha256(), blob.clone());
    }

    pub(super) fn revoke_tokens(&self) {
        self.tokens.lock().unwrap().clear();
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        let tokens = self.tokens.lock().unwrap();
        let identity_tokens = self.identity_tokens.lock().unwrap();
        let users = self.users.lock().unwrap();
        let passwords = users.iter().map(|user| &user.password);
        let signature = Self::SIGNATURE.split_once('=').map(|(name, _)| name.to_owned());
        tokens.keys().chain(identity_tokens.keys()).chain(passwords).cloned().chain(signature).collect()
    }

    pub(super) fn change_password(&self, name: &str, password: &str) {
        let mut users = self.users.lock().unwrap();
        users
            .iter_mut()
            .filter(|user| user.name == name)
            .for_each(|user| password.clone_into(&mut user.password));
    }

    /// Answers what is asked of the registry.
    pub(super) fn registry(&self, request: &Request, form: &[u8]) -> Response {
        let served = self.log.note(request, false);
        let path = request.uri().path();
        let fault = match self.fault(path) {
            Ok(fault) => fault,
            Err(response) => return *response,
        };
        if path == "/token" && request.method() == Method::POST {
            return self.exchange(form);
        }
        if request.method() != Method::GET {
            return error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "only GET");
        }
        if path == "/token" {
            return self.token(request);
        }
        let grant = self.grant(request.headers());
        let Some((repository, kind, name)) = parts(path) else {
            let welcome = self.options.open_ping || grant.is_some();
            return if welcome { json_body(&json!({})) } else { self.challenge("") };
        };
        if grant.and_then(|grant| grant.repository).as_deref() != Some(repository) {
            let scope = format!(",scope=\"repository:{repository}:pull,push\",error=\"insufficient_scope\"");
            return self.challenge(&scope);
        }
        if kind == "tags" {
            return self.tags(repository);
        }
        let found = match kind {
            "manifests" => self.manifest(repository, name, request.headers()),
            _ => self.blob(name).map(|blob| ("application/octet-stream".to_owned(), blob)),
        };
        match (found, &self.cdn_address) {
            (None, _) => error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown"),
            (Some(_), Some(cdn)) if kind == "blobs" => {
                redirect(&self.url(cdn, &format!("/storage/{name}?{}", self.presigned())))
            }
            (Some((media_type, content)), _) => {
                let first = if kind == "blobs" { self.first_asked(request) } else { None };
                Answer { media_type: &media_type, content: &content, first, fault, served }.into_response()
            }
        }
    }

    /// Answers what is asked of the CDN.
    pub(super) fn storage(&self, request: &Request) -> Response {
        let served = self.log.note(request, true);
        let path = request.uri().path();
        let fault = match self.fault(path) {
            Ok(fault) => fault,
            Err(response) => return *response,
        };
        if request.headers().contains_key(AUTHORIZATION) {
            return error(StatusCode::BAD_REQUEST, "InvalidArgument", "only one auth mechanism allowed");
        }
        let blob = path.strip_prefix("/storage/").and_then(|digest| self.blob(digest));
        match blob.filter(|_| request.uri().query().is_some_and(|query| self.admits(query))) {
            Some(content) => {
                let (media_type, first) = ("application/octet-stream", self.first_asked(request));
                Answer { media_type, content: &content, first, fault, served }.into_response()
            }
            None => error(StatusCode::FORBIDDEN, "AccessDenied", "access denied"),
        }
    }

    /// The query of a link to the CDN.
    fn presigned(&self) -> String {
        if self.options.cdn != Some(Links::Expiring) {
            return Self::SIGNATURE.to_owned();
        }
        let query = format!("{}-{}", Self::SIGNATURE, uuid::Uuid::new_v4());
        self.links.lock().unwrap().insert(query.clone());
        query
    }

    /// Whether a link to the CDN is good, still.
    fn admits(&self, query: &str) -> bool {
        if self.options.cdn == Some(Links::Expiring) {
            self.links.lock().unwrap().remove(query)
        } else {
            query == Self::SIGNATURE
        }
    }

    fn first_asked(&self, request: &Request) -> Option<u64> {
        first_asked(request.headers()).filter(|_| !self.options.no_ranges)
    }

    /// What is to go wrong with the body, or what is to be answered instead of any.
    fn fault(&self, path: &str) -> Result<Option<Fault>, Box<Response>> {
        match self.faults.take(path) {
            Some(Fault::Status(status, headers)) => Err(Box::new(refusal(status, &headers))),
            Some(Fault::Redirect(target)) => Err(Box::new(redirect(&target))),
            other => Ok(other),
        }
    }

    fn challenge(&self, more: &str) -> Response {
        let realm = self.options.realm.clone().unwrap_or_else(|| self.url(&self.address, "/token"));
        let words = "access to the requested resource is not authorized";
        let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", words);
        let challenge = format!("Bearer realm=\"{realm}\",service=\"{}\"{more}", self.address);
        response.headers_mut().insert(WWW_AUTHENTICATE, header(&challenge));
        response
    }

    /// Gives out a token for what is asked, and one for nothing to those who may not have it.
    fn token(&self, request: &Request) -> Response {
        let query = request.uri().query().unwrap_or_default();
        let Ok(repository) = wanted(query.as_bytes()) else { return bad_scope() };
        let repository = repository.as_deref();
        let allowed = match basic(request.headers()) {
            None if repository.is_none() && !self.options.anonymous => {
                return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "who are you?");
            }
            None => self.options.anonymous,
            Some((name, password)) => {
                let users = self.users.lock().unwrap();
                let Some(user) = users.iter().find(|user| user.name == name && user.password == password)
                else {
                    return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Invalid Username or Password");
                };
                repository.is_some_and(|repository| user.may_pull(repository))
            }
        };
        let token = self.issue(repository.filter(|_| allowed));
        json_body(&json!({"token": token, "expires_in": Self::TOKEN_LIFETIME.as_secs()}))
    }

    /// Does the same by OAuth 2, for an identity token.
    fn exchange(&self, form: &[u8]) -> Response {
        let field = |wanted: &str| {
            form_urlencoded::parse(form)
                .find_map(|(name, value)| (name == wanted).then(|| value.into_owned()))
        };
        let invalid = |error: &str| {
            let mut response = json_body(&json!({"error": error}));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            response
        };
        if field("grant_type").as_deref() != Some("refresh_token") {
            return invalid("unsupported_grant_type");
        }
        if field("client_id").is_none_or(|id| id.is_empty())
            || field("service").as_ref() != Some(&self.address)
        {
            return invalid("invalid_request");
        }
        let Ok(repository) = wanted(form) else { return bad_scope() };
        let mut identity_tokens = self.identity_tokens.lock().unwrap();
        let found = field("refresh_token").and_then(|token| identity_tokens.remove_entry(&token));
        let Some((old, name)) = found else { return invalid("invalid_grant") };
        let users = self.users.lock().unwrap();
        let user = users.iter().find(|user| user.name == name).expect("identity tokens are given to users");
        let allowed = repository.filter(|repository| user.may_pull(repository));
        let mut answer = json!({"access_token": self.issue(allowed.as_deref()), "token_type": "Bearer"});
        if self.options.identity_tokens.change {
            let successor = uuid::Uuid::new_v4().to_string();
            answer["refresh_token"] = json!(successor);
            identity_tokens.insert(successor, name);
        } else {
            identity_tokens.insert(old, name);
        }
        json_body(&answer)
    }

    /// A new token for pulling from a repository, or for nothing.
    pub(super) fn issue(&self, repository: Option<&str>) -> String {
        let token = uuid::Uuid::new_v4().to_string();
        let repository = repository.map(str::to_owned);
        let grant = Grant { repository, expires: Instant::now() + Self::TOKEN_LIFETIME };
        self.tokens.lock().unwrap().insert(token.clone(), grant);
        token
    }

    /// What the request's token is good for. `None` if it has none that is valid.
    fn grant(&self, headers: &HeaderMap) -> Option<Grant> {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let grant = self.tokens.lock().unwrap().get(token)?.clone();
        (Instant::now() < grant.expires).then_some(grant)
    }

    /// Only for those who say that they can read it, as with real registries.
    fn manifest(&self, repository: &str, name: &str, headers: &HeaderMap) -> Option<(String, Content)> {
        let key = (repository.to_owned(), name.to_owned());
        let (media_type, manifest) = self.manifests.lock().unwrap().get(&key)?.clone();
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
        let accepted =
            accepted.flat_map(|accept| accept.split(',')).any(|accept| accept.trim() == media_type);
        accepted.then_some((media_type, manifest))
    }

    /// The tags and digests of a repository.
    fn tags(&self, repository: &str) -> Response {
        let manifests = self.manifests.lock().unwrap();
        let tags: Vec<_> = manifests.keys().filter(|key| key.0 == repository).map(|key| &key.1).collect();
        if tags.is_empty() {
            return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry");
        }
        json_body(&json!({"name": repository, "tags": tags}))
    }

    fn blob(&self, digest: &str) -> Option<Content> {
        let sha256: Sha256 = digest.strip_prefix("sha256:")?.parse().ok()?;
        self.blobs.lock().unwrap().get(&sha256).cloned()
    }

    fn url(&self, address: &str, path: &str) -> String {
        let scheme = if self.certificate().is_some() { "https" } else { "http" };
        format!("{scheme}://{address}{path}")
    }
}

impl User {
    fn may_pull(&self, repository: &str) -> bool {
        self.repositories.iter().any(|start| repository.starts_with(start))
    }
}

/// The repository that a token is asked for, if for any. An error if for something else.
fn wanted(question: &[u8]) -> Result<Option<String>, ()> {
    let scope = form_urlencoded::parse(question).find(|(name, _)| name == "scope");
    let Some((_, scope)) = scope else { return Ok(None) };
    let repository = scope.strip_prefix("repository:").and_then(|scope| scope.strip_suffix(":pull"));
    repository.map(|repository| Some(repository.to_owned())).ok_or(())
}

fn bad_scope() -> Response {
    error(StatusCode::BAD_REQUEST, "BAD_SCOPE", "one scope, and no more than pull")
}

/// Repository, `manifests`, `blobs` or `tags`, and tag, digest or `list`.
fn parts(path: &str) -> Option<(&str, &str, &str)> {
    let (rest, name) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
    let (repository, kind) = rest.rsplit_once('/')?;
    matches!(kind, "manifests" | "blobs" | "tags").then_some((repository, kind, name))
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}
