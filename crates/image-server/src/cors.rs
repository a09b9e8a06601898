//! Which web pages may read what is served: Cross-Origin Resource Sharing as the predecessor does it.
//!
//! By hand rather than with tower-http's `CorsLayer`, because that one answers every OPTIONS request, with 200 and the
//! same lists whatever was asked; here only a real preflight is answered, with 204 and what was asked for, or with
//! nothing but `Vary` where any part of it is refused. Pages learn from it just what the Fetch standard lets them.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::observe::Uncounted;
use crate::surface::Surface;

/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

const VARY_OF_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");

/// Beyond what pages may always send.
const ALLOWED_HEADERS: [&str; 2] = ["authorization", "content-type"];

/// The origins (`https://console.example.com`) of the web pages that may read answers.
///
/// Parsed from a list with commas, in which spaces mean nothing. `*` stands for every origin, and one `*` within an
/// origin for any number of characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    any: bool,
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Wildcard { prefix: String, suffix: String },
}

impl FromStr for AllowedOrigins {
    type Err = Infallible;

    fn from_str(list: &str) -> Result<Self, Infallible> {
        let list = list.replace(' ', "").to_ascii_lowercase();
        let mut allowed = Self::default();
        for origin in list.split(',').filter(|origin| !origin.is_empty()) {
            match origin.split_once('*') {
                Some(("", "")) => allowed.any = true,
                Some((prefix, suffix)) => allowed
                    .patterns
                    .push(Pattern::Wildcard { prefix: prefix.to_owned(), suffix: suffix.to_owned() }),
                None => allowed.patterns.push(Pattern::Exact(origin.to_owned())),
            }
        }
        Ok(allowed)
    }
}

impl AllowedOrigins {
    /// Whether no page of another origin may read anything.
    pub fn is_empty(&self) -> bool {
        !self.any && self.patterns.is_empty()
    }

    /// What a page of this origin is told, if it may read.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.any {
            return Some(HeaderValue::from_static("*"));
        }
        let lower = origin.to_str().ok()?.to_ascii_lowercase();
        self.patterns.iter().any(|pattern| pattern.matches(&lower)).then(|| origin.clone())
    }
}

impl Pattern {
    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => origin == exact,
            Self::Wildcard { prefix, suffix } => {
                origin.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.ends_with(suffix.as_str()))
            }
        }
    }
}

/// What the layer needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Cors {
    pub(crate) allowed: AllowedOrigins,
    pub(crate) surface: Surface,
}

/// The layer around all routes. It minds those that serve images and boot artifacts, and only if any page may read.
pub(crate) async fn cors(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    if cors.allowed.is_empty() || !cors.surface.serves(request.uri().path()) {
        return next.run(request).await;
    }
    let is_options = request.method() == Method::OPTIONS;
    if is_options && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return (
            StatusCode::NO_CONTENT,
            preflight(&cors.allowed, request.headers()),
            axum::Extension(Uncounted),
        )
            .into_response();
    }
    let is_allowed = is_options || is_read(request.method());
    let allow =
        request.headers().get(ORIGIN).filter(|_| is_allowed).and_then(|origin| cors.allowed.allow(origin));
    let mut response = next.run(request).await;
    response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(allow) = allow {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, allow);
    }
    response
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// The headers of the answer: all that is asked for is granted, or nothing.
fn preflight(allowed: &AllowedOrigins, request: &HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::from_iter([(VARY, VARY_OF_PREFLIGHT)]);
    let origin = request.get(ORIGIN).and_then(|origin| allowed.allow(origin));
    let method = request
        .get(ACCESS_CONTROL_REQUEST_METHOD)
        .filter(|method| Method::from_bytes(method.as_bytes()).is_ok_and(|method| is_read(&method)));
    let headers = request.get(ACCESS_CONTROL_REQUEST_HEADERS);
    if let (Some(origin), Some(method), true) = (origin, method, headers.is_none_or(are_allowed)) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(headers) = headers.filter(|headers| !headers.is_empty()) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    answer
}

fn are_allowed(headers: &HeaderValue) -> bool {
    headers.to_str().is_ok_and(|headers| {
        let mut names = headers.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.all(|name| ALLOWED_HEADERS.iter().any(|allowed| name.eq_ignore_ascii_case(allowed)))
    })
}

#[cfg(test)]
mod tests {
    use super::{AllowedOrigins, HeaderValue};

    fn allows(list: &str, origin: &'static str) -> Option<HeaderValue> {
        let Ok(allowed) = list.parse::<AllowedOrigins>();
        allowed.allow(&HeaderValue::from_static(origin))
    }

    #[test]
    fn an_origin_matches_itself_in_any_case_and_wildcards() {
        for (list, origin, is_allowed) in [
            ("https://a.example", "https://a.example", true),
            (" https://A.example , https://b.example,", "https://a.EXAMPLE", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://a.example.org", false),
            ("a.example", "https://a.example", false),
            ("https://*.example", "https://a.b.example", true),
            ("https://*.example", "https://example", false),
            // What stands before and behind the star must not overlap.
            ("https://a*a", "https://a", false),
            ("", "https://a.example", false),
        ] {
            let allow = allows(list, origin);
            assert_eq!(allow.is_some(), is_allowed, "{list} {origin}");
            assert!(allow.is_none_or(|allow| allow == origin), "{list} {origin}");
        }
        assert_eq!(allows("https://a.example,*", "null").unwrap(), "*");
    }

    #[test]
    fn a_list_of_nothing_is_empty() {
        for list in ["", " , ,"] {
            let Ok(allowed) = list.parse::<AllowedOrigins>();
            assert!(allowed.is_empty(), "{list:?}");
        }
    }
}
