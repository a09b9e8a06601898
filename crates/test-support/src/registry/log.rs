use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::Request as HttpRequest;
use axum::http::HeaderMap;

/// A request that was made, and what came of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether it went to the CDN and not to the registry itself.
    pub cdn: bool,
    /// The method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
    /// Everything that was sent along.
    pub headers: HeaderMap,
    served: Arc<AtomicU64>,
}

impl Request {
    /// A header that was sent along.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// How many bytes of a body have been handed to the connection.
    pub fn bytes_served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

/// All requests in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Vec<Request>>);

impl Log {
    /// Notes a request. What is served of its body is to be counted in what comes back.
    pub(crate) fn note(&self, request: &HttpRequest, cdn: bool) -> Arc<AtomicU64> {
        let served = Arc::default();
        self.0.lock().unwrap().push(Request {
            cdn,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
            served: Arc::clone(&served),
        });
        served
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}
