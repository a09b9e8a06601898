use std::sync::Arc;

use coreos_names::Arch;
use image_server::Policy;
use image_store::{Catalog, ImageState};
use reqwest::Method;

use crate::site::{Answer, FULL_ISO, Setup, Site, add, catalog, wanted};

const CONSOLE: &str = "https://console.example.com";

const VARY_OF_PREFLIGHT: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

async fn site(catalog: Arc<Catalog>, allowed: &str) -> Site {
    let Ok(allowed_origins) = allowed.parse();
    let policy = Policy { allowed_origins, ..Policy::default() };
    Site::with_catalog_and(catalog, Setup { policy, ..Setup::default() }).await
}

async fn console() -> Site {
    site(catalog(), "https://other.example.com, https://console.example.com").await
}

async fn preflight(site: &Site, path: &str, headers: &[(&str, &str)]) -> Answer {
    site.request(Method::OPTIONS, path, headers).await
}

fn allow_headers(answer: &Answer) -> Vec<(&str, &str)> {
    let names = answer.headers.keys().map(reqwest::header::HeaderName::as_str);
    let names = names.filter(|name| name.starts_with("access-control-"));
    let mut headers: Vec<_> = names.map(|name| (name, answer.header(name).unwrap())).collect();
    headers.sort_unstable();
    headers
}

#[tokio::test]
async fn a_preflight_of_a_listed_page_is_granted_what_it_asks_for() {
    let site = console().await;
    for path in [FULL_ISO, "/images/x", "/bytoken/x/y", "/boot-artifacts/kernel?version=4.18"] {
        for (method, headers) in [
            ("GET", None),
            ("HEAD", Some("authorization")),
            ("GET", Some("authorization,content-type")),
            ("GET", Some("Content-Type, Authorization")),
        ] {
            let mut asked = vec![("origin", CONSOLE), ("access-control-request-method", method)];
            asked.extend(headers.map(|headers| ("access-control-request-headers", headers)));
            let answer = preflight(&site, path, &asked).await;
            answer.assert_empty(204);
            assert_eq!(answer.header("vary"), Some(VARY_OF_PREFLIGHT));
            let mut granted = vec![
                ("access-control-allow-methods", method),
                ("access-control-allow-origin", CONSOLE),
                ("access-control-max-age", "600"),
            ];
            granted.extend(headers.map(|headers| ("access-control-allow-headers", headers)));
            granted.sort_unstable();
            assert_eq!(allow_headers(&answer), granted);
        }
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn a_preflight_that_asks_for_more_is_granted_nothing() {
    let site = console().await;
    for (origin, method, headers) in [
        ("https://evil.example.com", "GET", ""),
        ("http://console.example.com", "GET", ""),
        ("null", "GET", ""),
        (CONSOLE, "POST", ""),
        (CONSOLE, "get", ""),
        (CONSOLE, "GET", "range"),
        (CONSOLE, "GET", "authorization,x-foo"),
    ] {
        let mut asked = vec![("origin", origin), ("access-control-request-method", method)];
        asked.extend((!headers.is_empty()).then_some(("access-control-request-headers", headers)));
        let answer = preflight(&site, FULL_ISO, &asked).await;
        answer.assert_empty(204);
        assert_eq!(answer.header("vary"), Some(VARY_OF_PREFLIGHT));
        assert_eq!(allow_headers(&answer), [], "{origin} {method} {headers}");
    }
    let answer = preflight(&site, FULL_ISO, &[("access-control-request-method", "GET")]).await;
    answer.assert_empty(204);
    assert_eq!(allow_headers(&answer), []);
}

#[tokio::test]
async fn every_answer_for_images_and_artifacts_says_that_it_varies_and_listed_pages_may_read_it() {
    let catalog = catalog();
    add(&catalog, wanted("4.19", Arch::X86_64), ImageState::Waiting);
    let site = site(catalog, CONSOLE).await;
    let kernel = "/boot-artifacts/kernel?version=4.18";
    for (method, path, status) in [
        ("GET", FULL_ISO, 200),
        ("HEAD", FULL_ISO, 200),
        ("GET", "/byid/x/4.18/x86_64/full.iso", 404),
        ("GET", "/images/x/y/z", 404),
        ("GET", "/images/0a5b1d7e-8f3c-4a52-9d36-2f1c64a8e001", 400),
        ("GET", "/boot-artifacts/kernel?version=4.19", 503),
        ("GET", kernel, 200),
        ("GET", "/boot-artifacts/x/y", 400),
        ("OPTIONS", kernel, 405),
        ("POST", kernel, 405),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for (origin, may_read) in [
            (Some(CONSOLE), method != Method::POST),
            (Some("https://evil.example.com"), false),
            (None, false),
        ] {
            let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
            let answer = site.request(method.clone(), path, &headers).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("vary"), Some("Origin"), "{method} {path}");
            let allowed: &[_] = if may_read { &[("access-control-allow-origin", CONSOLE)] } else { &[] };
            assert_eq!(allow_headers(&answer), allowed, "{method} {path} {origin:?}");
        }
    }
}

#[tokio::test]
async fn other_answers_are_not_for_pages() {
    let asked = [("origin", CONSOLE), ("access-control-request-method", "GET")];
    let site = console().await;
    for path in ["/health", "/live", "/metrics"] {
        let answer = site.get_with(path, &asked[..1]).await;
        assert_eq!((answer.header("vary"), allow_headers(&answer)), (None, vec![]), "{path}");
        preflight(&site, path, &asked).await.assert_empty(405);
    }
    preflight(&site, "/x", &asked).await.assert_not_found();

    let site = Site::start().await;
    let answer = site.get_with(FULL_ISO, &asked[..1]).await;
    assert_eq!((answer.header("vary"), allow_headers(&answer)), (None, vec![]));
    let answer = preflight(&site, FULL_ISO, &asked).await;
    answer.assert_empty(405);
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_not_allowed() {
    let site = console().await;
    for path in [FULL_ISO, "/boot-artifacts/kernel?version=4.18"] {
        let answer = preflight(&site, path, &[("origin", CONSOLE)]).await;
        answer.assert_empty(405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn a_star_stands_for_all_pages_or_for_a_part_of_their_origin() {
    for (allowed, origin, told) in [
        ("*", "https://any.example.org", Some("*")),
        ("https://*.example.com", CONSOLE, Some(CONSOLE)),
        ("https://*.example.com", "https://example.com", None),
    ] {
        let site = site(catalog(), allowed).await;
        let answer = site.request(Method::HEAD, FULL_ISO, &[("origin", origin)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), told, "{allowed}");
        let asked = [("origin", origin), ("access-control-request-method", "GET")];
        let answer = preflight(&site, FULL_ISO, &asked).await;
        assert_eq!(answer.header("access-control-allow-origin"), told, "{allowed}");
    }
}

#[tokio::test]
async fn preflights_are_not_counted() {
    let site = console().await;
    let asked = [("origin", CONSOLE), ("access-control-request-method", "GET")];
    preflight(&site, FULL_ISO, &asked).await.assert_empty(204);
    let metrics = site.get("/metrics").await;
    assert!(!metrics.text().contains("204") && !metrics.text().contains("OPTIONS"), "{}", metrics.text());
}
