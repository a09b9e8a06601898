//! An API server with one ConfigMap and one Secret, over HTTP: list, watch, and what can go wrong with either.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const NAMESPACE: &str = "assisted-installer";

pub(crate) struct ApiServer {
    pub(crate) url: String,
    state: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    /// Objects by the plural name of their kind.
    objects: Vec<(String, Value)>,
    /// What watches are told: version, plural name and event.
    events: Vec<(u64, String, Value)>,
    /// What every request is answered.
    refusal: Option<u16>,
    /// How many watches are to be told that they began too early.
    outdated: usize,
    /// Watches that began before this many interruptions end.
    interruptions: u64,
    requests: Vec<String>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Shared>::default();
        let path = "/api/v1/namespaces/{namespace}/{plural}";
        let router = Router::new().route(path, get(answer)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::try_from(kube::Config::new(self.url.parse().unwrap())).unwrap()
    }

    /// Creates an object, or replaces it.
    pub(crate) fn apply(&self, plural: &str, data: &Value) {
        let mut inner = self.state.inner.lock().unwrap();
        inner.version += 1;
        let version = inner.version;
        let (kind, name) =
            (if plural == "secrets" { "Secret" } else { "ConfigMap" }, "coreos-image-service-feed");
        let metadata = json!({"name": name, "namespace": NAMESPACE, "resourceVersion": version.to_string(), "uid": plural});
        let object = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data});
        let is_new = inner.objects.iter().all(|(other, _)| other != plural);
        inner.objects.retain(|(other, _)| other != plural);
        inner.objects.push((plural.to_owned(), object.clone()));
        let event = json!({"type": if is_new { "ADDED" } else { "MODIFIED" }, "object": object});
        inner.events.push((version, plural.to_owned(), event));
        self.state.changes.send_replace(version);
    }

    pub(crate) fn delete(&self, plural: &str) {
        let mut inner = self.state.inner.lock().unwrap();
        inner.version += 1;
        let version = inner.version;
        let index = inner.objects.iter().position(|(other, _)| other == plural).unwrap();
        let (_, mut object) = inner.objects.remove(index);
        object["metadata"]["resourceVersion"] = version.to_string().into();
        inner.events.push((version, plural.to_owned(), json!({"type": "DELETED", "object": object})));
        self.state.changes.send_replace(version);
    }

    /// Answers every request with this status, or properly.
    pub(crate) fn refuse(&self, status: Option<u16>) {
        self.state.inner.lock().unwrap().refusal = status;
    }

    /// Ends all watches, in mid sentence.
    pub(crate) fn interrupt(&self) {
        self.state.inner.lock().unwrap().interruptions += 1;
        self.state.changes.send_modify(|_| {});
    }

    /// Forgets what has happened: ends all watches, and tells the next ones that they begin too early.
    pub(crate) fn forget(&self) {
        let mut inner = self.state.inner.lock().unwrap();
        inner.outdated = 2;
        inner.interruptions += 1;
        self.state.changes.send_modify(|_| {});
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.inner.lock().unwrap().requests.clone()
    }

    /// How many lists of this kind were asked for.
    pub(crate) fn lists(&self, plural: &str) -> usize {
        let requests = self.requests();
        requests
            .iter()
            .filter(|request| request.starts_with(plural) && !request.contains("watch=true"))
            .count()
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Path((namespace, plural)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    assert_eq!(namespace, NAMESPACE);
    let query = query.unwrap_or_default();
    let mut inner = shared.inner.lock().unwrap();
    inner.requests.push(format!("{plural}?{query}"));
    if let Some(code) = inner.refusal {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "No", "message": "no"});
        return (StatusCode::from_u16(code).unwrap(), status.to_string()).into_response();
    }
    if !query.contains("watch=true") {
        let items: Vec<_> =
            inner.objects.iter().filter(|(other, _)| *other == plural).map(|(_, object)| object).collect();
        let metadata = json!({"resourceVersion": inner.version.to_string()});
        return json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})
            .to_string()
            .into_response();
    }
    let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap();
    let since: u64 = since.parse().unwrap();
    if inner.outdated > 0 {
        inner.outdated -= 1;
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
        return json!({"type": "ERROR", "object": status}).to_string().into_response();
    }
    let begun = inner.interruptions;
    drop(inner);
    Body::from_stream(stream::unfold((since, shared, plural), move |(since, shared, plural)| async move {
        let mut changes = shared.changes.subscribe();
        loop {
            {
                let inner = shared.inner.lock().unwrap();
                if inner.interruptions > begun {
                    return None;
                }
                let next = inner.events.iter().find(|(version, kind, _)| *version > since && *kind == plural);
                if let Some((version, _, event)) = next {
                    let (version, line) = (*version, Bytes::from(format!("{event}\n")));
                    drop(inner);
                    return Some((Ok::<_, Infallible>(line), (version, shared, plural)));
                }
            }
            changes.changed().await.ok()?;
        }
    }))
    .into_response()
}
