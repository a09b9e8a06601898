//! Answers of assisted-service that serve more than one request.

use std::time::Duration;

use futures_util::future::join_all;
use test_support::assisted_service::Reply;

use crate::site::{FULL_ISO, ID, Site};

const LONG: Duration = Duration::from_secs(1000);

#[tokio::test]
async fn an_iso_that_is_read_in_many_ranges_needs_one_answer() {
    let site = Site::reusing(LONG).await;
    let whole = site.get(FULL_ISO).await;
    assert_eq!(whole.status, 200);
    site.upstream.set_ignition(Reply::status(500));
    site.upstream.set_infra_env(Reply::status(500));
    let ranges = (0..64).map(|part| format!("bytes={}-{}", part * 4096, part * 4096 + 4095));
    let parts = join_all(ranges.map(async |range| site.get_with(FULL_ISO, &[("range", &range)]).await)).await;
    for part in &parts {
        assert_eq!((part.status.as_u16(), part.headers.get("etag")), (206, whole.headers.get("etag")));
    }
    assert!(parts.iter().flat_map(|part| &part.body).eq(&whole.body[..64 * 4096]));
    assert_eq!(site.head(&format!("/images/{ID}?version=4.18.52&type=full-iso")).await.status, 200);
    assert_eq!(site.upstream.asked().len(), 2);
}

#[tokio::test]
async fn other_credentials_are_always_asked_about() {
    let site = Site::reusing(LONG).await;
    assert_eq!(site.head(&format!("{FULL_ISO}?api_key=k")).await.status, 200);
    site.upstream.set_ignition(Reply::status(401));
    for path in [FULL_ISO, &format!("{FULL_ISO}?api_key=x"), &format!("{FULL_ISO}?image_token=k")] {
        site.get(path).await.assert_empty(401);
    }
    let authorization = [("authorization", "k")];
    site.get_with(FULL_ISO, &authorization).await.assert_empty(401);
    assert_eq!(site.head(&format!("{FULL_ISO}?api_key=k")).await.status, 200);
}

#[tokio::test]
async fn a_failure_is_never_used_again() {
    let site = Site::reusing(LONG).await;
    for (reply, status) in [(Reply::status(404), 404), (Reply::status(503), 502), (Reply::ok("{}"), 200)] {
        site.upstream.set_ignition(reply);
        assert_eq!(site.head(FULL_ISO).await.status, status);
    }
}

#[tokio::test]
async fn with_no_time_given_every_request_is_asked_about() {
    let site = Site::reusing(Duration::ZERO).await;
    for calls in [2, 4, 6] {
        assert_eq!(site.head(FULL_ISO).await.status, 200);
        assert_eq!(site.upstream.asked().len(), calls);
    }
}
