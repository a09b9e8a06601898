use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::body::Body;
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RANGE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::Fault;
use super::body::body;
use crate::payload::Content;

/// An answer with a manifest or blob in it.
pub(super) struct Answer<'a> {
    pub(super) media_type: &'a str,
    pub(super) content: &'a Content,
    /// The first byte that is wanted, if a part is.
    pub(super) first: Option<u64>,
    pub(super) fault: Option<Fault>,
    /// Counts what is sent.
    pub(super) served: Arc<AtomicU64>,
}

impl Answer<'_> {
    pub(super) fn into_response(self) -> Response {
        let Self { media_type, content, first, fault, served } = self;
        let replacement = match fault {
            Some(Fault::Replace(bytes)) => Some(Content::from_bytes(bytes)),
            _ => None,
        };
        let content_sent = replacement.as_ref().unwrap_or(content);
        let size = content_sent.size();
        if first.is_some_and(|first| first >= size) {
            return unsatisfiable(size);
        }
        let part = first.unwrap_or_default()..size;
        let content_range = match fault {
            Some(Fault::ContentRange(label)) => label.to_owned(),
            _ => format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1)),
        };
        let (body, length) = body(content_sent, part, fault.as_ref(), served);
        let mut response = Response::new(body);
        if first.is_some() {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(CONTENT_RANGE, header(&content_range));
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, header(media_type));
        headers.insert("docker-content-digest", header(&content.digest()));
        let length = match fault {
            Some(Fault::StatedLength(length)) => Some(length),
            _ => length,
        };
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        response
    }
}

/// The first byte asked for, if a request is for all from there on. No other part is ever asked for.
pub(crate) fn first_asked(asked: &HeaderMap) -> Option<u64> {
    asked.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The refusal of a part behind the end.
pub(crate) fn unsatisfiable(size: u64) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    response.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes */{size}")));
    response
}

pub(super) fn json_body(document: &Value) -> Response {
    let mut response = Response::new(Body::from(document.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, header("application/json"));
    response
}

pub(crate) fn redirect(target: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, header(target));
    response
}

/// An injected status.
pub(crate) fn refusal(status: u16, headers: &[(&'static str, String)]) -> Response {
    let status = StatusCode::from_u16(status).expect("a fault's status is one");
    let mut response = error(status, "FAULT", "injected");
    for (name, value) in headers {
        response.headers_mut().insert(HeaderName::from_static(name), header(value));
    }
    response
}

/// A refusal in the words of the distribution specification.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let mut response = json_body(&json!({"errors": [{"code": code, "message": message, "detail": {}}]}));
    *response.status_mut() = status;
    response
}

pub(crate) fn header(value: &str) -> HeaderValue {
    value.parse().expect("fit for a header")
}
