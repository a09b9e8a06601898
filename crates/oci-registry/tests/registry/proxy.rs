//! Sites that let nobody out directly.

use oci_registry::{Config, Error, Proxies, PullSecret, Registry};
use test_support::registry::{ForwardProxy, TokenRegistry};

use crate::support::{config, image_of, layer, read, reference, serve};

fn through(proxy: &ForwardProxy, no_proxy: &str, insecure: &[&str]) -> Config {
    let url = format!("http://user:hunter2@{}", proxy.address()).parse().unwrap();
    Config { proxies: Proxies::all(url, no_proxy), ..config(PullSecret::default(), insecure) }
}

#[tokio::test]
async fn a_registry_and_its_cdn_are_reached_through_a_proxy_that_alone_knows_where_they_are() {
    for tls in [true, false] {
        let builder = TokenRegistry::builder().anonymous().cdn();
        let (server, image) = serve(if tls { builder.tls() } else { builder }).await;
        // The token server and the CDN call themselves by their addresses, which are loopback: reached directly.
        let proxy = ForwardProxy::start(&[("mirror.test:5000", server.address())]).await;
        let hosts = ["mirror.test:5000", server.address(), server.cdn_address()];
        let client = Registry::new(through(&proxy, "other.test", &hosts)).unwrap();
        let reference = reference("mirror.test:5000");
        let manifest = image_of(client.manifest(&reference).await.unwrap().kind);
        let blob = client.blob(&reference, &manifest.layers[1]).await.unwrap();
        assert_eq!(manifest.layers[1].digest, layer(&image).digest);
        assert!(blob.bytes(u64::MAX).await.unwrap() == read(&image.layers[1].content));
        let requests = proxy.requests();
        let expected = if tls {
            "CONNECT mirror.test:5000 HTTP/1.1"
        } else {
            "GET http://mirror.test:5000/v2/ HTTP/1.1"
        };
        assert!(requests.iter().any(|line| line == expected), "{requests:?}");
        assert!(requests.iter().all(|line| line.contains("mirror.test:5000")), "{requests:?}");
    }
}

#[tokio::test]
async fn whoever_is_excepted_by_host_and_port_is_not_asked_for_at_the_proxy() {
    let (server, _) = serve(TokenRegistry::builder().anonymous().tls()).await;
    let proxy = ForwardProxy::start(&[("mirror.invalid:5000", server.address())]).await;
    let client = Registry::new(through(&proxy, "mirror.invalid:5000", &["mirror.invalid:5000"])).unwrap();
    let error = client.manifest(&reference("mirror.invalid:5000")).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "nobody has such a name: {error:?}");
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn a_proxy_that_does_not_know_a_host_is_a_failure_without_its_password() {
    let proxy = ForwardProxy::start(&[]).await;
    let client = Registry::new(through(&proxy, "", &[])).unwrap();
    let error = client.manifest(&reference("mirror.test:5000")).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }) && error.is_retryable(), "{error:?}");
    let shown = crate::support::shown(&error);
    assert!(shown.contains("mirror.test:5000") && !shown.contains("hunter2"), "{shown}");
}
