//! Requests become answers.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query as Parameters, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::Call;
use super::fault::{Faults, Trouble};
use super::kind::Kind;
use super::reply::Refusal;
use super::route::{Query, Route, Selection};
use super::store::{Store, Target, Write};
use super::watch::watch;

/// The store, and what goes wrong.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) calls: Mutex<Vec<Call>>,
}

pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new().fallback(answer).with_state(service)
}

async fn answer(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    Parameters(query): Parameters<Query>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let watches = query.get("watch").is_some_and(|watch| ["true", "1"].contains(&watch.as_str()));
    let verb = if watches { "WATCH" } else { method.as_str() };
    service.calls.lock().unwrap().push(Call {
        method: verb.to_owned(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
    });
    match service.faults.take(verb, uri.path()) {
        Some(Trouble::Status(code)) => {
            return Refusal::new(code, reason(code), "this server was told to refuse").into_response();
        }
        Some(Trouble::Hang) => return std::future::pending().await,
        Some(Trouble::LoseAnswer) => {
            let _ = Service::serve(&service, &method, &uri, &query, &headers, &body, watches);
            let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("the answer is lost"))]);
            return Body::from_stream(broken).into_response();
        }
        None => {}
    }
    Service::serve(&service, &method, &uri, &query, &headers, &body, watches)
}

const fn reason(code: u16) -> &'static str {
    match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    }
}

impl Service {
    fn serve(
        self: &Arc<Self>,
        method: &Method,
        uri: &Uri,
        query: &Query,
        headers: &HeaderMap,
        body: &Bytes,
        watches: bool,
    ) -> Response {
        let found = Route::parse(uri.path()).and_then(|route| Some((self.store.kind(&route)?, route)));
        let Some((kind, route)) = found else {
            return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
        };
        let Route { namespace, name, subresource, .. } = &route;
        let to_status = match subresource.as_deref() {
            None => false,
            Some("status") if kind.has_status => true,
            Some(_) => return (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
        };
        let Some(name) = name else {
            return match *method {
                Method::GET => match Selection::new(namespace.as_deref(), query) {
                    Ok(selection) if watches => watch(self, kind, selection, query),
                    Ok(selection) => self.list(&kind, &selection, query),
                    Err(problem) => Refusal::bad_request(problem).into_response(),
                },
                Method::POST => respond(self.create(&kind, namespace.as_deref(), query, body)),
                _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            };
        };
        let within = namespace.as_deref().unwrap_or_default();
        let target = Target { kind: &kind, namespace: within, name, manager: manager(query), to_status };
        match *method {
            Method::GET => match self.store.find(&kind.plural, within, name) {
                Some(object) => Json(object).into_response(),
                None => Refusal::not_found(&kind.plural, name).into_response(),
            },
            Method::PUT => {
                respond(parse(body).and_then(|object| self.store.write(&target, object, &Write::Replace)))
            }
            Method::PATCH => respond(self.patch(&target, query, headers, body)),
            Method::DELETE => {
                if self.store.remove(&kind.plural, within, name) {
                    Json(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
                        .into_response()
                } else {
                    Refusal::not_found(&kind.plural, name).into_response()
                }
            }
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    }

    fn list(&self, kind: &Kind, selection: &Selection, query: &Query) -> Response {
        let limit = query.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
        let after = match query.get("continue").filter(|token| !token.is_empty()) {
            None => None,
            Some(token) => match token.splitn(3, '|').collect::<Vec<_>>()[..] {
                [version, namespace, name] => {
                    let version = version.parse().unwrap_or_default();
                    if !self.store.remembers(version) {
                        return Refusal::expired(version).into_response();
                    }
                    Some((namespace.to_owned(), name.to_owned()))
                }
                _ => return Refusal::bad_request("continue key is not valid").into_response(),
            },
        };
        let (items, version, next) =
            self.store.page(&kind.plural, selection, after.as_ref(), limit.unwrap_or(usize::MAX));
        let token = next.map(|(namespace, name)| format!("{version}|{namespace}|{name}"));
        Json(json!({
            "kind": format!("{}List", kind.kind),
            "apiVersion": kind.api_version(),
            "metadata": { "resourceVersion": version.to_string(), "continue": token.unwrap_or_default() },
            "items": items,
        }))
        .into_response()
    }

    fn create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        query: &Query,
        body: &Bytes,
    ) -> Result<(Value, bool), Refusal> {
        let object = parse(body)?;
        let Some(name) = object["metadata"]["name"].as_str().map(str::to_owned) else {
            return Err(Refusal::invalid("metadata.name: Required value: name is required"));
        };
        let namespace = namespace.unwrap_or_default();
        let target = Target { kind, namespace, name: &name, manager: manager(query), to_status: false };
        self.store.write(&target, object, &Write::Create)
    }

    fn patch(
        &self,
        target: &Target<'_>,
        query: &Query,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(Value, bool), Refusal> {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let how = match content_type {
            "application/apply-patch+yaml" => {
                if !query.contains_key("fieldManager") {
                    return Err(Refusal::bad_request("fieldManager is required for apply patch"));
                }
                Write::Apply { force: query.get("force").is_some_and(|force| force == "true") }
            }
            "application/merge-patch+json" => Write::Merge,
            other => {
                return Err(Refusal::new(
                    415,
                    "UnsupportedMediaType",
                    format!("{other} is beyond this server"),
                ));
            }
        };
        let object = parse(body)?;
        if object["metadata"]["managedFields"].is_array() {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        self.store.write(target, object, &how)
    }
}

fn manager(query: &Query) -> &str {
    query.get("fieldManager").map_or("unknown", String::as_str)
}

fn parse(body: &Bytes) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn respond(result: Result<(Value, bool), Refusal>) -> Response {
    match result {
        Ok((object, true)) => (StatusCode::CREATED, Json(object)).into_response(),
        Ok((object, false)) => Json(object).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
