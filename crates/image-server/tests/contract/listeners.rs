use std::num::NonZeroU32;
use std::time::Duration;

use image_server::{Policy, Surface};
use reqwest::StatusCode;
use tokio::net::TcpListener;

use crate::site::{FULL_ISO, ID, Setup, Site, X86_64};

/// What a second listener of the service answers.
struct NetworkBoot {
    url: String,
    client: reqwest::Client,
}

impl NetworkBoot {
    async fn of(site: &Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = site.server.router(Surface::NetworkBoot);
        tokio::spawn(image_server::serve(listener, router, None, std::future::pending()));
        Self { url, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let response = self.client.get(format!("{}{path}", self.url)).send().await.unwrap();
        (response.status(), response.bytes().await.unwrap().to_vec())
    }
}

#[tokio::test]
async fn a_listener_for_network_boot_shows_no_discovery_iso() {
    let site = Site::start().await;
    let plain = NetworkBoot::of(&site).await;
    for path in [
        FULL_ISO,
        &format!("/images/{ID}?version=4.18&type=full-iso"),
        &format!("/images/{ID}/s390x-initrd-addrsize?version=4.18"),
        "/bytoken/x/4.18/x86_64/full.iso",
        "/byapikey/x/4.18/x86_64/full.iso",
    ] {
        let not_found = (StatusCode::NOT_FOUND, b"404 page not found\n".to_vec());
        assert_eq!(plain.get(path).await, not_found, "{path}");
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn a_listener_for_network_boot_shows_initrds_boot_artifacts_and_operational_routes() {
    let site = Site::start().await;
    let plain = NetworkBoot::of(&site).await;
    let initrd = format!("/images/{ID}/pxe-initrd?version=4.18");
    for path in
        ["/boot-artifacts/kernel?version=4.18", "/boot-artifacts/x?version=4.18", &initrd, "/health", "/live"]
    {
        let answer = site.get(path).await;
        assert_eq!(plain.get(path).await, (answer.status, answer.body.to_vec()), "{path}");
    }
    let (status, rootfs) = plain.get("/boot-artifacts/rootfs?version=4.18").await;
    assert_eq!(status, 200);
    assert!(
        rootfs.len() < X86_64.iso.len()
            && rootfs == site.get("/boot-artifacts/rootfs?version=4.18").await.body
    );
    let (status, metrics) = plain.get("/metrics").await;
    assert_eq!(status, 200);
    let counted = r#"_count{code="200",handler="/boot-artifacts/kernel",method="GET",service=""} 2"#;
    assert!(String::from_utf8(metrics).unwrap().contains(counted), "the listeners share their metrics");
}

#[tokio::test]
async fn listeners_share_their_slots() {
    let max_concurrent_requests = NonZeroU32::MIN;
    let policy =
        Policy { max_concurrent_requests, queue_time: Duration::from_millis(50), ..Policy::default() };
    let site = Site::with(Setup { policy, ..Setup::default() }).await;
    let plain = NetworkBoot::of(&site).await;
    let rootfs = site.client.get(site.url("/boot-artifacts/rootfs?version=4.18")).send().await.unwrap();
    assert_eq!(plain.get("/boot-artifacts/kernel?version=4.18").await.0, 503);
    drop(rootfs);
    site.until_in_flight("/boot-artifacts/rootfs", 0).await;
    assert_eq!(plain.get("/boot-artifacts/kernel?version=4.18").await.0, 200);
}
