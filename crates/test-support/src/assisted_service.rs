//! An assisted-service as far as an image service sees it: one infra-env's Ignition config, its ramdisk and the infra-env
//! itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use url::Url;

use crate::registry::Certificate;

const IGNITION: &str = "/api/assisted-install/v2/infra-envs/{id}/downloads/files";
const RAMDISK: &str = "/api/assisted-install/v2/infra-envs/{id}/downloads/minimal-initrd";
const INFRA_ENV: &str = "/api/assisted-install/v2/infra-envs/{id}";

/// A service in the test's own process. It has every infra-env that it is asked for, and all are alike.
#[derive(Debug)]
pub struct FakeAssistedService {
    url: Url,
    service: Arc<Service>,
    server: JoinHandle<()>,
}

/// What one of the endpoints answers.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    rest: Rest,
}

/// What follows the bytes of an answer.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// Its end.
    Nothing,
    /// Not even the head is sent.
    Hangs,
    /// Nothing more, but no end either.
    Stalls,
    /// Now and then the same bytes once more.
    Trickles,
    /// The same bytes, for ever.
    Repeats,
    /// The end of the connection.
    BreaksOff,
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The path without the query.
    pub path: String,
    /// The parameters of the query.
    pub query: HashMap<String, String>,
    /// Everything that was sent along.
    pub headers: HeaderMap,
}

#[derive(Debug)]
struct Service {
    ignition: Mutex<Reply>,
    ramdisk: Mutex<Reply>,
    infra_env: Mutex<Reply>,
    together: Mutex<Option<Arc<Barrier>>>,
    asked: Mutex<Vec<Asked>>,
}

impl FakeAssistedService {
    /// When its Ignition config was changed, unless the test says otherwise.
    pub const LAST_MODIFIED: &str = "Tue, 21 Oct 2025 07:28:00 GMT";

    /// Starts a service with a small Ignition config, no ramdisk and no kernel arguments.
    pub async fn start() -> Self {
        let (tcp, address) = listen().await;
        Self::run(&format!("http://{address}"), |router| async { axum::serve(tcp, router).await.unwrap() })
    }

    /// The same, speaking TLS.
    pub async fn start_tls(certificate: &Certificate) -> Self {
        let (tcp, address) = listen().await;
        let listener = certificate.listener(tcp);
        Self::run(&format!("https://{address}"), |router| async {
            axum::serve(listener, router).await.unwrap();
        })
    }

    fn run<S: Future<Output = ()> + Send + 'static>(url: &str, serve: impl FnOnce(Router) -> S) -> Self {
        let service = Arc::new(Service {
            ignition: Mutex::new(
                Reply::ok(r#"{"ignition":{"version":"3.4.0"}}"#).header("last-modified", Self::LAST_MODIFIED),
            ),
            ramdisk: Mutex::new(Reply::status(204)),
            infra_env: Mutex::new(Reply::ok(json!({ "kernel_arguments": null }).to_string())),
            together: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route(IGNITION, get(ignition))
            .route(RAMDISK, get(ramdisk))
            .route(INFRA_ENV, get(infra_env))
            .with_state(Arc::clone(&service));
        Self { url: Url::parse(url).unwrap(), service, server: tokio::spawn(serve(router)) }
    }

    /// Where it listens.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Changes the answer for the Ignition config.
    pub fn set_ignition(&self, reply: Reply) {
        *self.service.ignition.lock().unwrap() = reply;
    }

    /// Changes the answer for the ramdisk.
    pub fn set_ramdisk(&self, reply: Reply) {
        *self.service.ramdisk.lock().unwrap() = reply;
    }

    /// Changes the answer for the infra-env.
    pub fn set_infra_env(&self, reply: Reply) {
        *self.service.infra_env.lock().unwrap() = reply;
    }

    /// Gives the infra-env kernel arguments, which are JSON in a string.
    pub fn set_kernel_arguments(&self, json: &str) {
        self.set_infra_env(Reply::ok(json!({ "kernel_arguments": json }).to_string()));
    }

    /// Answers from now on only when so many endpoints were asked.
    pub fn answer_together(&self, calls: usize) {
        *self.service.together.lock().unwrap() = Some(Arc::new(Barrier::new(calls)));
    }

    /// All requests in the order they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.service.asked.lock().unwrap().clone()
    }
}

impl Drop for FakeAssistedService {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Reply {
    /// A body, all is well.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into(), rest: Rest::Nothing }
    }

    /// A bare status.
    pub fn status(status: u16) -> Self {
        Self { status: StatusCode::from_u16(status).unwrap(), ..Self::ok("") }
    }

    /// Nothing, ever.
    pub fn hangs() -> Self {
        Self { rest: Rest::Hangs, ..Self::ok("") }
    }

    /// The head of an answer and a first byte, and then nothing more.
    pub fn stalls() -> Self {
        Self { rest: Rest::Stalls, ..Self::ok("{") }
    }

    /// An answer of which a byte comes now and then, for ever.
    pub fn trickles() -> Self {
        Self { rest: Rest::Trickles, ..Self::ok(" ") }
    }

    /// An answer that never ends, as fast as it is taken.
    pub fn endless() -> Self {
        Self { rest: Rest::Repeats, ..Self::ok(vec![b' '; 64 * 1024]) }
    }

    /// An answer that is shorter than its `Content-Length` says.
    pub fn breaks_off() -> Self {
        Self { rest: Rest::BreaksOff, ..Self::ok("{}") }.header("content-length", "1000")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    async fn respond(self) -> Response {
        let bytes = stream::iter([Ok::<_, Infallible>(self.body.clone())]);
        let body = match self.rest {
            Rest::Nothing => Body::from(self.body),
            Rest::Hangs => std::future::pending().await,
            Rest::Stalls => Body::from_stream(bytes.chain(stream::pending())),
            Rest::Trickles => Body::from_stream(bytes.chain(stream::repeat(self.body).then(async |bytes| {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(bytes)
            }))),
            Rest::Repeats => Body::from_stream(bytes.chain(stream::repeat(self.body).map(Ok))),
            Rest::BreaksOff => Body::from_stream(bytes),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl Service {
    async fn note(&self, uri: &Uri, headers: HeaderMap) {
        let query = uri.query().unwrap_or_default();
        self.asked.lock().unwrap().push(Asked {
            path: uri.path().to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers,
        });
        let together = self.together.lock().unwrap().clone();
        if let Some(barrier) = together {
            barrier.wait().await;
        }
    }
}

async fn ignition(State(service): State<Arc<Service>>, uri: Uri, headers: HeaderMap) -> Response {
    service.note(&uri, headers).await;
    let reply = service.ignition.lock().unwrap().clone();
    reply.respond().await
}

async fn ramdisk(State(service): State<Arc<Service>>, uri: Uri, headers: HeaderMap) -> Response {
    service.note(&uri, headers).await;
    let reply = service.ramdisk.lock().unwrap().clone();
    reply.respond().await
}

async fn infra_env(State(service): State<Arc<Service>>, uri: Uri, headers: HeaderMap) -> Response {
    service.note(&uri, headers).await;
    let reply = service.infra_env.lock().unwrap().clone();
    reply.respond().await
}

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    (tcp, address)
}
