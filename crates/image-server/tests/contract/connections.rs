use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{FULL_ISO, ID, Site, X86_64};

const REQUEST: &[u8] = b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n";

/// How long the service keeps a connection on which nothing more is sent, at most 10 seconds.
async fn closed_after(stream: &mut TcpStream) -> Duration {
    let before = Instant::now();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    before.elapsed()
}

async fn answer(stream: &mut TcpStream) {
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = BytesMut::new();
    while !answer.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_request_must_begin_and_its_head_must_be_complete_within_3_seconds() {
    let site = Site::start().await;
    let kept = async |begun: &[u8]| {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        closed_after(&mut stream).await
    };
    let (nothing, letter, line) = tokio::join!(kept(b""), kept(b"P"), kept(b"GET /live HTTP/1.1\r\nhost"));
    for kept in [nothing, letter, line] {
        assert!(kept >= Duration::from_secs(2) && kept < Duration::from_secs(6), "{kept:?}");
    }
}

#[tokio::test]
async fn a_connection_is_kept_between_requests_and_then_the_head_must_be_quick_again() {
    let site = Site::start().await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    answer(&mut stream).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    answer(&mut stream).await;
    stream.write_all(b"GET").await.unwrap();
    let kept = closed_after(&mut stream).await;
    assert!(kept >= Duration::from_secs(2) && kept < Duration::from_secs(6), "{kept:?}");
}

#[tokio::test]
async fn http_2_is_spoken_with_clients_that_begin_so() {
    let site = Site::start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let response = client.get(site.url(FULL_ISO)).send().await.unwrap();
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.bytes().await.unwrap().len(), X86_64.iso.len());
}

/// The status of what comes back, and nothing else.
async fn status(site: &Site, request: &str) -> String {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    // The service may close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[tokio::test]
async fn heads_may_be_long_but_not_endless() {
    let site = Site::start().await;
    let claims = format!(r#"{{"sub":"{ID}","x":"{}"}}"#, "x".repeat(7_000));
    let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
    assert!(token.len() > 9_000);
    let path = format!("/bytoken/{token}/4.18/x86_64/full.iso?api_key={token}");
    let headers = [("image-token", &*token), ("authorization", &token)];
    assert_eq!(site.request(reqwest::Method::HEAD, &path, &headers).await.status, 200);
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    let ask = async |path: &str, header: &str| {
        http_2.head(site.url(path)).header("authorization", header).send().await.unwrap().status()
    };
    assert_eq!(ask(&path, &token).await, 200);

    let long = |len| "x".repeat(len);
    assert_eq!(status(&site, &format!("GET /{} HTTP/1.1\r\n\r\n", long(70_000))).await, "HTTP/1.1 414");
    assert_eq!(status(&site, &format!("GET /{}", long(1_000_000))).await, "HTTP/1.1 431");
    assert_eq!(status(&site, &format!("GET / HTTP/1.1\r\nx: {}", long(1_000_000))).await, "HTTP/1.1 431");
    let many = "x: y\r\n".repeat(101);
    assert_eq!(status(&site, &format!("GET / HTTP/1.1\r\n{many}\r\n")).await, "HTTP/1.1 431");
    assert_eq!(ask("/live", &long(150_000)).await, 431);
}

#[tokio::test]
async fn a_stopping_service_takes_no_new_connections_and_completes_running_downloads() {
    let site = Site::start().await;
    let address = site.address;
    let mut idle = TcpStream::connect(address).await.unwrap();
    answer(&mut idle).await;
    let mut running = site.client.get(site.url(FULL_ISO)).send().await.unwrap();
    let first = running.chunk().await.unwrap().unwrap().len();

    let mut stopped = site.stop();
    assert!(closed_after(&mut idle).await < Duration::from_secs(5), "idle connections are closed");
    assert!(TcpStream::connect(address).await.is_err());
    assert!(
        tokio::time::timeout(Duration::from_secs(1), &mut stopped).await.is_err(),
        "a download is running"
    );
    let rest = running.bytes().await.unwrap().len();
    assert_eq!(first + rest, X86_64.iso.len());
    tokio::time::timeout(Duration::from_secs(10), stopped).await.unwrap().unwrap();
}
