//! Proxies in front of this service keep the path in its base URL or take it off. Both are understood.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::map_request;
use tower_layer::Layer;

use crate::router::is_first_segment;

/// What was taken off a request's path.
#[derive(Clone, Debug)]
pub(crate) struct PathPrefix(Arc<str>);

impl PathPrefix {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The routes with and without `prefix` in front of them.
pub(crate) fn accept(prefix: &str, router: Router) -> Router {
    let prefix = PathPrefix(prefix.into());
    let strip = map_request(move |mut request: Request| {
        if let Some(uri) = without(prefix.as_str(), request.uri()) {
            *request.uri_mut() = uri;
            request.extensions_mut().insert(prefix.clone());
        }
        std::future::ready(request)
    });
    // A layer of the router itself would run when the route is already chosen.
    Router::new().fallback_service(strip.layer(router))
}

/// The URI without the prefix, if it has it and leads somewhere without.
fn without(prefix: &str, uri: &Uri) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().strip_prefix(prefix)?;
    let path = uri.path().strip_prefix(prefix).filter(|path| path.starts_with('/'))?;
    let first = path.split('/').find(|segment| !segment.is_empty())?;
    if !is_first_segment(first) {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn a_prefix_is_taken_off_where_a_route_follows() {
        for (prefix, uri, expected) in [
            ("/a/b", "/a/b/images/x?y=/a/b", Some("/images/x?y=/a/b")),
            ("/a/b", "/a/b/health", Some("/health")),
            ("/a/b", "/a/b//images/x", Some("//images/x")),
            ("/a/b", "http://host/a/b/images/x", Some("http://host/images/x")),
            ("/a/b", "/images/x", None),
            ("/a/b", "/a/b", None),
            ("/a/b", "/a/b/", None),
            ("/a/b", "/a/bimages/x", None),
            ("/a/b", "/a/b/x/images", None),
            ("/a/b", "/A/b/images/x", None),
            ("/images", "/images/x", None),
            ("/images", "/images/images/x", Some("/images/x")),
        ] {
            let stripped = without(prefix, &uri.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(stripped.as_deref(), expected, "{uri} without {prefix}");
        }
    }
}
