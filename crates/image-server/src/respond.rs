//! From a plan to a response: validators, preconditions, ranges and headers, the same for everything that is served.

mod entity_tag;
mod preconditions;
mod range;

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use httpdate::HttpDate;
use image_store::{Lease, NmstateArchive};
use live_iso::Plan;

use crate::serve::Outbox;
use crate::stream::PlanBody;
use entity_tag::EntityTag;
pub(crate) use entity_tag::KnownDigests;
use preconditions::{Validators, Verdict};
use range::Requested;

/// The last second that a date in HTTP can name, in the year 9999.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// Bytes that only programs understand.
pub(crate) const BINARY: &str = "application/octet-stream";

/// Text, from us and from an image.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Something that is served.
#[derive(Debug)]
pub(crate) struct Representation {
    pub(crate) lease: Lease,
    pub(crate) plan: Plan,
    /// What does not have to be hashed for the entity tag.
    pub(crate) known: KnownDigests,
    /// The name under which a browser keeps it; plain ASCII.
    pub(crate) file_name: String,
    pub(crate) content_type: &'static str,
    pub(crate) last_modified: Option<SystemTime>,
}

impl Representation {
    /// Answers with all of it, some of it, or none because the client has it or wants another version.
    pub(crate) fn respond(self, request: &Parts) -> Response {
        let Self { lease, plan, known, file_name, content_type, last_modified } = self;
        let nmstate = lease.nmstate().map(NmstateArchive::sha256);
        let validators = Validators {
            entity_tag: EntityTag::of(lease.sha256(), nmstate, &plan, &known),
            last_modified: last_modified.and_then(http_date),
        };
        let outbox = request.extensions.get::<Outbox>().cloned();
        let mut response = match preconditions::judge(&request.headers, &validators) {
            Verdict::Failed => status(StatusCode::PRECONDITION_FAILED, Body::empty()),
            Verdict::NotModified => not_modified(&validators),
            Verdict::Met => {
                let range = if preconditions::range_applies(&request.headers, &validators) {
                    range::requested(&request.headers, plan.len())
                } else {
                    Requested::Whole
                };
                match range {
                    Requested::Whole => {
                        let body = PlanBody::new(lease, plan, outbox);
                        content(StatusCode::OK, content_type, body, &validators)
                    }
                    Requested::Part(part) => {
                        let content_range = format!("bytes {}-{}/{}", part.start, part.end - 1, plan.len());
                        let body = PlanBody::new(lease, plan.slice(part), outbox);
                        let code = StatusCode::PARTIAL_CONTENT;
                        let mut response = content(code, content_type, body, &validators);
                        response.headers_mut().insert(CONTENT_RANGE, ascii(&content_range));
                        response
                    }
                    Requested::Unsatisfiable => unsatisfiable(plan.len()),
                }
            }
        };
        let disposition = format!("attachment; filename={file_name}");
        response.headers_mut().insert(CONTENT_DISPOSITION, ascii(&disposition));
        response
    }
}

fn content(
    code: StatusCode,
    content_type: &'static str,
    body: PlanBody,
    validators: &Validators,
) -> Response {
    let len = body.len();
    let mut response = status(code, Body::new(body));
    let headers = response.headers_mut();
    validators.write(headers);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, len.into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn not_modified(validators: &Validators) -> Response {
    // An empty body would be announced as `Content-Length: 0`, but here that header is about what is not sent.
    let nothing = stream::empty::<Result<Bytes, std::convert::Infallible>>();
    let mut response = status(StatusCode::NOT_MODIFIED, Body::from_stream(nothing));
    validators.write(response.headers_mut());
    response
}

fn unsatisfiable(len: u64) -> Response {
    let mut response = status(StatusCode::RANGE_NOT_SATISFIABLE, "invalid range: failed to overlap\n".into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_RANGE, ascii(&format!("bytes */{len}")));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn status(code: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

impl Validators {
    fn write(&self, headers: &mut HeaderMap) {
        headers.insert(ETAG, ascii(self.entity_tag.as_str()));
        if let Some(date) = &self.last_modified {
            headers.insert(LAST_MODIFIED, ascii(&date.to_string()));
        }
    }
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("what is written here is plain ASCII")
}

/// The date as HTTP tells it, in whole seconds, if it can.
fn http_date(time: SystemTime) -> Option<HttpDate> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since_epoch <= LAST_SECOND).then(|| time.into())
}
