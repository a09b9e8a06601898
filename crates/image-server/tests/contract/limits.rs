use std::num::NonZeroU32;
use std::time::Duration;

use image_server::Policy;
use reqwest::{Method, Response};

use crate::site::{FULL_ISO, ID, Setup, Site, X86_64};

const BY_ID: &str = "/byid/:token";
const KERNEL: &str = "/boot-artifacts/kernel?version=4.18";
const ROOTFS: &str = "/boot-artifacts/rootfs?version=4.18";

/// A service with one slot for images and one for artifacts.
async fn one_slot(queue_time: Duration) -> Site {
    let max_concurrent_requests = NonZeroU32::MIN;
    let policy = Policy { max_concurrent_requests, queue_time, ..Policy::default() };
    Site::with(Setup { policy, ..Setup::default() }).await
}

/// One that turns away at once.
async fn impatient() -> Site {
    one_slot(Duration::from_millis(50)).await
}

/// A download that stays where it is: its ISO is larger than all buffers.
async fn hold(site: &Site, path: &str) -> Response {
    let response = site.client.get(site.url(path)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

async fn assert_turned_away(site: &Site, method: Method, path: &str) {
    let answer = site.request(method.clone(), path, &[]).await;
    assert_eq!(answer.header("retry-after"), Some("10"), "{method} {path}");
    if method == Method::HEAD {
        assert_eq!(answer.status, 503);
    } else {
        answer.assert_trouble(503, "too many requests at a time; try again in 10 s");
    }
}

#[tokio::test]
async fn a_request_beyond_the_limit_waits_until_a_download_has_ended() {
    let site = one_slot(Duration::from_hours(1)).await;
    let running = hold(&site, FULL_ISO).await;
    let waiting = tokio::spawn(site.client.get(site.url(FULL_ISO)).send());
    site.until_in_flight(BY_ID, 2).await;
    let asked = site.upstream.asked().len();
    assert_eq!(running.bytes().await.unwrap().len(), X86_64.iso.len());
    let response = waiting.await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(site.upstream.asked().len(), 2 * asked, "assisted-service is asked when there is a slot");
    assert_eq!(response.bytes().await.unwrap().len(), X86_64.iso.len());
}

#[tokio::test]
async fn a_request_that_waits_in_vain_is_turned_away() {
    let site = impatient().await;
    let running = hold(&site, FULL_ISO).await;
    assert_turned_away(&site, Method::GET, FULL_ISO).await;
    assert_turned_away(&site, Method::HEAD, FULL_ISO).await;
    let long = format!("/images/{ID}?version=4.18&type=full-iso");
    assert_turned_away(&site, Method::GET, &long).await;
    // Requests that will be refused need a slot, too.
    assert_turned_away(&site, Method::GET, "/bytoken/x/4.18/x86_64/full.iso").await;
    drop(running);
    site.until_in_flight(BY_ID, 0).await;
    assert_eq!(site.head(FULL_ISO).await.status, 200);
}

#[tokio::test]
async fn boot_artifacts_have_as_many_slots_of_their_own() {
    let site = impatient().await;
    let iso = hold(&site, FULL_ISO).await;
    assert_eq!(site.head(KERNEL).await.status, 200);
    let rootfs = hold(&site, ROOTFS).await;
    assert_turned_away(&site, Method::GET, KERNEL).await;
    drop(iso);
    site.until_in_flight(BY_ID, 0).await;
    assert_eq!(site.head(FULL_ISO).await.status, 200);
    assert_turned_away(&site, Method::GET, KERNEL).await;
    drop(rootfs);
}

#[tokio::test]
async fn probes_and_what_is_not_allowed_need_no_slot() {
    let site = impatient().await;
    let (_iso, _rootfs) = (hold(&site, FULL_ISO).await, hold(&site, ROOTFS).await);
    for path in ["/health", "/live", "/metrics"] {
        assert_eq!(site.get(path).await.status, 200);
    }
    site.request(Method::POST, FULL_ISO, &[]).await.assert_empty(405);
    site.get("/x").await.assert_not_found();
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_takes_no_slot() {
    let site = one_slot(Duration::from_hours(1)).await;
    let running = hold(&site, FULL_ISO).await;
    let waiting = tokio::spawn(site.client.get(site.url(FULL_ISO)).send());
    site.until_in_flight(BY_ID, 2).await;
    waiting.abort();
    site.until_in_flight(BY_ID, 1).await;
    drop(running);
    assert_eq!(site.get(FULL_ISO).await.body.len(), X86_64.iso.len());
}

#[tokio::test]
async fn requests_that_are_turned_away_are_counted() {
    let site = impatient().await;
    let running = hold(&site, FULL_ISO).await;
    assert_turned_away(&site, Method::GET, FULL_ISO).await;
    site.until_in_flight(BY_ID, 1).await;
    let metrics = site.get("/metrics").await;
    let counted = r#"_count{code="503",handler="/byid/:token",method="GET",service=""} 1"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    drop(running);
}
