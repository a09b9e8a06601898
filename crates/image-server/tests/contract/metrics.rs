use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coreos_names::Arch;
use image_store::{Catalog, ImageState};
use reqwest::Method;

use crate::site::{FULL_ISO, ID, Site, add, wanted};

async fn metrics(site: &Site) -> String {
    site.get("/metrics").await.text().to_owned()
}

/// The metrics, once they have a line: a request is counted when the connection has let go of its body.
async fn metrics_with(site: &Site, line: &str) -> String {
    for _ in 0..100 {
        let text = metrics(site).await;
        if text.lines().any(|found| found == line) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no {line} in\n{}", metrics(site).await)
}

fn count(handler: &str, code: u16, method: &str, count: u64) -> String {
    let labels = format!(r#"code="{code}",handler="{handler}",method="{method}",service="""#);
    format!("assisted_image_service_http_request_duration_seconds_count{{{labels}}} {count}")
}

#[tokio::test]
async fn no_request_is_counted_until_an_image_is_asked_for() {
    let site = Site::start().await;
    for path in ["/health", "/live", "/metrics", "/", "/images/x", "/byid/x/4.18/x86_64/full.iso"] {
        site.get(path).await;
    }
    site.request(Method::POST, FULL_ISO, &[]).await;
    let answer = site.get("/metrics").await;
    assert_eq!(answer.status, 200);
    let format = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert_eq!(answer.header("content-type"), Some(format));
    let mut samples = answer.text().lines().filter(|line| line.starts_with("assisted_image_service_"));
    assert!(samples.all(|line| line.contains("_inflight{") && line.ends_with(" 0")), "{}", answer.text());
}

#[tokio::test]
async fn requests_are_counted_by_handler_method_and_code() {
    let site = Site::start().await;
    let len = site.get(FULL_ISO).await.body.len();
    site.head(FULL_ISO).await;
    site.get(&format!("/images/{ID}?version=4.18")).await;
    site.get("/bytoken/x/4.18/x86_64/full.iso").await;
    site.get("/byapikey/x/4.18/x86_64/full.iso").await;
    site.get("/boot-artifacts/kernel?version=4.18").await;
    site.get("/boot-artifacts/rootfs?version=9.9").await;
    site.get("/boot-artifacts/ins-file?version=4.18").await;
    site.get("/boot-artifacts/zzz-random?version=4.18").await;
    site.get(&format!("/images/{ID}/pxe-initrd?version=4.18")).await;
    site.get(&format!("/images/{ID}/s390x-initrd-addrsize?version=4.18")).await;
    for line in [
        count("/byid/:token", 200, "GET", 1),
        count("/byid/:token", 200, "HEAD", 1),
        count("/images/:imageID", 400, "GET", 1),
        count("/bytoken/:token", 404, "GET", 1),
        count("/byapikey/:token", 404, "GET", 1),
        count("/boot-artifacts/kernel", 200, "GET", 1),
        count("/boot-artifacts/rootfs", 400, "GET", 1),
        count("/boot-artifacts/ins-file", 404, "GET", 1),
        count("/boot-artifacts/:artifact", 404, "GET", 1),
        count("/images/:imageID/pxe-initrd", 200, "GET", 1),
        count("/images/:imageID/s390x-initrd-addrsize", 400, "GET", 1),
    ] {
        metrics_with(&site, &line).await;
    }
    let labels = r#"code="200",handler="/byid/:token",method="GET",service="""#;
    let text = metrics_with(
        &site,
        &format!("assisted_image_service_http_response_size_bytes_sum{{{labels}}} {len}"),
    )
    .await;
    let gauge = r#"assisted_image_service_http_requests_inflight{handler="/byid/:token",service=""} 0"#;
    assert!(text.lines().any(|line| line == gauge), "{text}");
}

#[tokio::test]
async fn the_families_and_buckets_are_the_predecessors() {
    let site = Site::start().await;
    site.head(FULL_ISO).await;
    let text = metrics_with(&site, &count("/byid/:token", 200, "HEAD", 1)).await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let (own, predecessors): (BTreeSet<_>, BTreeSet<_>) =
        types.partition(|family| family.starts_with("coreos_image_service_"));
    assert!(!own.is_empty());
    assert_eq!(
        predecessors,
        BTreeSet::from([
            "assisted_image_service_http_request_duration_seconds histogram",
            "assisted_image_service_http_requests_inflight gauge",
            "assisted_image_service_http_response_size_bytes histogram",
        ])
    );
    let buckets = |family: &str| -> Vec<String> {
        let family = format!("assisted_image_service_{family}_bucket{{");
        text.lines()
            .filter(|line| line.starts_with(&family))
            .map(|line| line.split("le=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            .collect()
    };
    let durations = ["0.1", "1", "10", "50", "100", "300", "600", "+Inf"];
    assert_eq!(buckets("http_request_duration_seconds"), durations);
    let sizes: Vec<f64> =
        buckets("http_response_size_bytes").iter().map(|bound| bound.parse().unwrap()).collect();
    assert_eq!(sizes, [1e2, 1e6, 5e8, 1e9, 1e10, f64::INFINITY]);
}

#[tokio::test]
async fn no_client_can_make_new_series() {
    let site = Site::start().await;
    for path in ["/byid/", "/bytoken/", "/byapikey/"] {
        site.get(&format!("{path}x/4.18/x86_64/full.iso")).await;
    }
    site.get("/boot-artifacts/first?version=4.18").await;
    site.get("/boot-artifacts/first").await;
    let before =
        metrics_with(&site, &count("/boot-artifacts/:artifact", 400, "GET", 1)).await.lines().count();
    for number in 0..1000 {
        let path = match number % 5 {
            0 => format!("/boot-artifacts/{number}?version=4.18"),
            1 => format!("/boot-artifacts/{number}/x/y"),
            2 => format!("/bytoken/{number}/{number}/{number}/{number}"),
            3 => format!("/byid/{number}/{number}/{number}/{number}"),
            _ => format!("/{number}"),
        };
        site.get(&path).await;
        let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        site.request(method, &format!("/boot-artifacts/{number}"), &[]).await;
    }
    let after = metrics_with(&site, &count("/boot-artifacts/:artifact", 400, "GET", 201)).await;
    assert_eq!(after.lines().count(), before, "{after}");
}

#[tokio::test]
async fn requests_for_images_that_are_not_ready_are_not_counted() {
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Waiting);
    let site = Site::with_catalog(catalog).await;
    assert_eq!(site.get(FULL_ISO).await.status, 503);
    let text = metrics(&site).await;
    assert!(!text.contains("503"), "{text}");
}

#[tokio::test]
async fn a_running_download_is_in_flight() {
    let site = Site::start().await;
    let running = site.client.get(site.url(FULL_ISO)).send().await.unwrap();
    let gauge = |value| {
        format!(
            r#"assisted_image_service_http_requests_inflight{{handler="/byid/:token",service=""}} {value}"#
        )
    };
    metrics_with(&site, &gauge(1)).await;
    drop(running);
    metrics_with(&site, &gauge(0)).await;
}
