use std::sync::Arc;

use coreos_names::Arch;
use image_store::{Catalog, ImageState};
use reqwest::Method;
use test_support::assisted_service::{FakeAssistedService, Reply};

use crate::site::{Answer, FULL_ISO, Published, Site, add, fixture, wanted};

const SAME: &str = FakeAssistedService::LAST_MODIFIED;
const EARLIER: &str = "Tue, 21 Oct 2025 07:27:59 GMT";
const LATER: &str = "Tue, 21 Oct 2025 07:28:01 GMT";

async fn tag(site: &Site) -> String {
    site.head(FULL_ISO).await.header("etag").unwrap().to_owned()
}

fn assert_not_modified(answer: &Answer) {
    answer.assert_empty(304);
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.header("last-modified"), Some(SAME));
    assert!(answer.headers.contains_key("etag") && answer.headers.contains_key("content-disposition"));
}

#[tokio::test]
async fn the_entity_tag_is_strong_and_the_same_on_every_replica() {
    let catalog = || {
        let directory = tempfile::tempdir().unwrap();
        let image = Published::publish(directory.path(), fixture(Arch::X86_64), Arch::X86_64);
        let catalog = Arc::new(Catalog::default());
        add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
        catalog
    };
    let (one, other) = (Site::with_catalog(catalog()).await, Site::with_catalog(catalog()).await);
    for path in [FULL_ISO, "/boot-artifacts/kernel?version=4.18", "/boot-artifacts/rootfs?version=4.18"] {
        let (one, other) = (one.head(path).await, other.head(path).await);
        assert_eq!(one.headers.get("etag"), other.headers.get("etag"));
        assert_eq!(one.headers.get("last-modified"), other.headers.get("last-modified"));
        let tag = one.header("etag").unwrap();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    }
}

#[tokio::test]
async fn another_customisation_has_another_entity_tag() {
    let site = Site::start().await;
    let mut tags = vec![tag(&site).await];
    site.upstream.set_kernel_arguments("[]");
    tags.push(tag(&site).await);
    site.upstream.set_kernel_arguments(r#"[{"operation":"append","value":"p1"}]"#);
    tags.push(tag(&site).await);
    site.upstream.set_ignition(Reply::ok(r#"{"ignition":{"version":"3.1.0"}}"#));
    tags.push(tag(&site).await);
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
}

#[tokio::test]
async fn a_client_that_has_this_version_is_told_so() {
    let site = Site::start().await;
    let tag = tag(&site).await;
    let list = format!("\"x\", W/{tag}");
    for headers in [
        [("if-none-match", &*tag)],
        [("if-none-match", &*list)],
        [("if-none-match", "*")],
        [("if-modified-since", SAME)],
        [("if-modified-since", LATER)],
    ] {
        assert_not_modified(&site.get_with(FULL_ISO, &headers).await);
        assert_not_modified(&site.request(Method::HEAD, FULL_ISO, &headers).await);
    }
}

#[tokio::test]
async fn a_client_that_has_another_version_gets_this_one() {
    let site = Site::start().await;
    for headers in [
        &[("if-none-match", "\"x\"")][..],
        &[("if-none-match", "\"x\""), ("if-modified-since", LATER)],
        &[("if-modified-since", EARLIER)],
        &[("if-modified-since", "yesterday")],
        &[("if-match", "*")],
        &[("if-unmodified-since", SAME)],
        &[("if-unmodified-since", "yesterday")],
    ] {
        assert_eq!(site.request(Method::HEAD, FULL_ISO, headers).await.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn a_client_that_wants_another_version_gets_none() {
    let site = Site::start().await;
    let weak = format!("W/{}", tag(&site).await);
    for headers in [
        &[("if-match", "\"x\"")][..],
        &[("if-match", &weak)],
        &[("if-unmodified-since", EARLIER)],
        &[("if-match", "\"x\""), ("if-none-match", "*")],
    ] {
        site.get_with(FULL_ISO, headers).await.assert_empty(412);
    }
}

#[tokio::test]
async fn an_entity_tag_goes_before_a_date() {
    let site = Site::start().await;
    let tag = tag(&site).await;
    let headers = [("if-match", &*tag), ("if-unmodified-since", EARLIER)];
    assert_eq!(site.request(Method::HEAD, FULL_ISO, &headers).await.status, 200);
}

#[tokio::test]
async fn a_download_is_continued_only_in_the_same_version() {
    let site = Site::start().await;
    let tag = tag(&site).await;
    let weak = format!("W/{tag}");
    for (if_range, status) in [
        (&*tag, 206),
        (SAME, 206),
        (&weak, 200),
        ("\"x\"", 200),
        (EARLIER, 200),
        (LATER, 200),
        ("nonsense", 200),
    ] {
        let headers = [("if-range", if_range), ("range", "bytes=5-9")];
        let answer = site.request(Method::HEAD, FULL_ISO, &headers).await;
        assert_eq!(answer.status, status, "{if_range}");
    }
    let beyond = [("if-range", "\"x\""), ("range", "bytes=99999999999-")];
    assert_eq!(site.request(Method::HEAD, FULL_ISO, &beyond).await.status, 200);
}

#[tokio::test]
async fn without_a_known_date_preconditions_on_dates_mean_nothing() {
    let site = Site::start().await;
    site.upstream.set_ignition(Reply::ok("{}"));
    for headers in [
        &[("if-modified-since", LATER)][..],
        &[("if-unmodified-since", EARLIER)],
        &[("if-range", SAME), ("range", "bytes=5-9")],
    ] {
        assert_eq!(site.request(Method::HEAD, FULL_ISO, headers).await.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn an_infra_env_is_asked_for_even_if_the_client_has_its_iso() {
    let site = Site::start().await;
    assert_not_modified(&site.get_with(FULL_ISO, &[("if-none-match", "*")]).await);
    assert_eq!(site.upstream.asked().len(), 2);
    site.upstream.set_ignition(Reply::status(403));
    site.get_with(FULL_ISO, &[("if-none-match", "*")]).await.assert_empty(403);
}
