//! A web server that OS images come from, in the test's own process.
//!
//! It answers range requests by the book (RFC 9110) unless it is told to misbehave: a [`File`] says how it is served, a
//! [`Fault`] what goes wrong with some requests for it.

mod file;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::{Url, form_urlencoded};

pub use self::file::File;
use crate::registry::Certificate;
use crate::registry::answer::{redirect, refusal};
use crate::registry::fault::Faults;
use crate::registry::log::Log;
pub use crate::registry::{Fault, Gate, Request};

/// The server.
#[derive(Debug)]
pub struct OriginServer {
    url: Url,
    service: Arc<Service>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Service {
    files: Mutex<HashMap<String, File>>,
    required: Mutex<Required>,
    faults: Faults,
    log: Log,
}

/// Without these a request is answered 403.
#[derive(Debug, Default)]
struct Required {
    header: Option<(String, String)>,
    query_param: Option<(String, String)>,
}

impl OriginServer {
    /// Starts a server without files.
    pub async fn start() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        Self::run("http", tcp, |tcp, router| async { axum::serve(tcp, router).await.expect("it never ends") })
    }

    /// The same, speaking TLS.
    pub async fn start_tls(certificate: &Certificate) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let serve = |tcp, router| {
            let listener = certificate.listener(tcp);
            async { axum::serve(listener, router).await.expect("it never ends") }
        };
        Self::run("https", tcp, serve)
    }

    fn run<S: Future<Output = ()> + Send + 'static>(
        scheme: &str,
        tcp: TcpListener,
        serve: impl FnOnce(TcpListener, Router) -> S,
    ) -> Self {
        let address = tcp.local_addr().expect("it is bound");
        let url = format!("{scheme}://{address}").parse().expect("scheme and address make a URL");
        let service = Arc::<Service>::default();
        let router = Router::new()
            .fallback(async |State(service): State<Arc<Service>>, request: HttpRequest| {
                service.answer(&request)
            })
            .with_state(Arc::clone(&service));
        Self { url, service, server: tokio::spawn(serve(tcp, router)) }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        self.url.join(path).expect("a path").into()
    }

    /// Where it listens, `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
    }

    /// Has a file at `path` from now on. Returns its URL.
    pub fn publish(&self, path: &str, file: File) -> String {
        self.service.files.lock().unwrap().insert(path.to_owned(), file);
        self.url(path)
    }

    /// Answers 403 to requests without this header.
    pub fn require_header(&self, name: &str, value: &str) {
        self.service.required.lock().unwrap().header = Some((name.to_owned(), value.to_owned()));
    }

    /// Answers 403 to requests without this query parameter.
    pub fn require_query_param(&self, name: &str, value: &str) {
        self.service.required.lock().unwrap().query_param = Some((name.to_owned(), value.to_owned()));
    }

    /// From now on this goes wrong with every request for a path that ends so.
    pub fn inject(&self, path_end: &str, fault: Fault) {
        self.service.faults.inject(path_end, fault);
    }

    /// This goes wrong with one request for a path that ends so.
    pub fn inject_once(&self, path_end: &str, fault: Fault) {
        self.service.faults.inject_once(path_end, fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.service.faults.clear();
    }

    /// All requests in the order they came.
    pub fn requests(&self) -> Vec<Request> {
        self.service.log.requests()
    }

    /// The `Range` of every request in the order they came.
    pub fn ranges_asked(&self) -> Vec<Option<String>> {
        self.requests().iter().map(|request| request.header("range").map(str::to_owned)).collect()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.service.log.clear();
    }
}

impl Drop for OriginServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Service {
    fn answer(&self, request: &HttpRequest) -> Response {
        let served = self.log.note(request, false);
        let path = request.uri().path();
        let fault = match self.faults.take(path) {
            Some(Fault::Status(status, headers)) => return refusal(status, &headers),
            Some(Fault::Redirect(target)) => return redirect(&target),
            other => other,
        };
        if !self.required.lock().unwrap().met_by(request) {
            return StatusCode::FORBIDDEN.into_response();
        }
        let file = {
            let mut files = self.files.lock().unwrap();
            let Some(file) = files.get(path).cloned() else { return StatusCode::NOT_FOUND.into_response() };
            if let Some(successor) = file.successor() {
                files.insert(path.to_owned(), successor);
            }
            file
        };
        file.answer(request.headers(), fault.as_ref(), served)
    }
}

impl Required {
    fn met_by(&self, request: &HttpRequest) -> bool {
        let has_header = |(name, value): &(String, String)| {
            request.headers().get(name).is_some_and(|given| given == value)
        };
        let query = request.uri().query().unwrap_or_default();
        let has_param = |(name, value): &(String, String)| {
            form_urlencoded::parse(query.as_bytes()).any(|given| given == (name.into(), value.into()))
        };
        self.header.as_ref().is_none_or(has_header) && self.query_param.as_ref().is_none_or(has_param)
    }
}
