//! Redirects: followed, but with nothing secret, nowhere unencrypted, and not for ever.

use oci_registry::{Config, Error, Registry};
use test_support::registry::{Fault, TokenRegistry};

use crate::support::{
    PASSWORD, USER, builder, client, config, count, layer, pull_secret, read, reference, serve, shown,
};

fn config_for(server: &TokenRegistry, insecure: &[&str]) -> Config {
    config(pull_secret(server.address(), USER, PASSWORD), insecure)
}

#[tokio::test]
async fn a_cdn_gets_the_request_but_not_the_authorization() {
    let (server, image) = serve(builder().cdn()).await;
    let both = [server.address(), server.cdn_address()];
    let client = Registry::new(config_for(&server, &both)).unwrap();
    let layer = layer(&image);
    let blob = client.blob(&reference(server.address()), &layer).await.unwrap();
    assert!(blob.bytes(layer.size).await.unwrap() == read(&image.layers[1].content));

    let requests = server.requests();
    let at_cdn: Vec<_> = requests.iter().filter(|request| request.cdn).collect();
    assert_eq!(at_cdn.len(), 1);
    assert_eq!(at_cdn[0].header("authorization"), None);
    assert_eq!(at_cdn[0].header("referer"), None);
    assert_eq!(at_cdn[0].header("accept-encoding"), Some("identity"));
    assert_eq!(at_cdn[0].bytes_served(), layer.size);
}

#[tokio::test]
async fn within_a_registry_the_authorization_is_kept() {
    let (server, image) = serve(builder()).await;
    let target = format!("/v2/openshift/release/manifests/{}", image.manifest.digest());
    server.inject("4.18.52-x86_64", Fault::Redirect(target));
    let manifest = client(&server).manifest(&reference(server.address())).await.unwrap();
    assert_eq!(manifest.digest, image.manifest.sha256().into());
}

#[tokio::test]
async fn once_gone_the_authorization_does_not_come_back() {
    let (server, image) = serve(builder()).await;
    let detour = builder().start().await;
    let home =
        format!("http://{}/v2/openshift/release/manifests/{}", server.address(), image.manifest.digest());
    server.inject("4.18.52-x86_64", Fault::Redirect(format!("http://{}/detour", detour.address())));
    detour.inject("/detour", Fault::Redirect(home));
    let client = Registry::new(config_for(&server, &[server.address(), detour.address()])).unwrap();
    client.manifest(&reference(server.address())).await.unwrap_err();
    let last = server.requests().pop().unwrap();
    assert!(last.path.ends_with(&image.manifest.digest()));
    assert_eq!(last.header("authorization"), None);
}

#[tokio::test]
async fn the_failure_of_a_cdn_is_reported_as_its_own_and_without_its_query() {
    let (server, image) = serve(builder().cdn()).await;
    let client = Registry::new(config_for(&server, &[server.address(), server.cdn_address()])).unwrap();
    let digest = layer(&image).digest;
    for status in [401, 403, 404] {
        server.inject_once(&format!("/storage/{digest}"), Fault::status(status));
        let error = client.blob(&reference(server.address()), &layer(&image)).await.unwrap_err();
        assert!(matches!(error, Error::Status { .. }), "not about our credentials: {error:?}");
        let shown = shown(&error);
        assert!(
            shown.contains(&format!("http://{}/storage/{digest} answers {status}", server.cdn_address())),
            "{shown}"
        );
        assert!(!shown.contains("X-Amz"), "{shown}");
    }
    server.inject(&format!("/storage/{digest}"), Fault::CutAfter(9));
    let blob = client.blob(&reference(server.address()), &layer(&image)).await.unwrap();
    let error = blob.bytes(u64::MAX).await.unwrap_err();
    assert!(error.to_string().contains(server.cdn_address()), "{error}");
    assert!(!shown(&error).contains("X-Amz"));
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused_unless_the_target_is_listed() {
    let (server, image) = serve(builder().tls()).await;
    let (plain, _) = serve(builder().cdn()).await;
    let digest = layer(&image).digest;
    let target = format!("http://{}/storage/{digest}?X-Amz-Signature=presigned", plain.cdn_address());
    server.inject(&format!("/blobs/{digest}"), Fault::Redirect(target));
    let trusting = |insecure: &[&str]| {
        let trusted_ca_pem = Some(server.ca_pem().into());
        Registry::new(Config { trusted_ca_pem, ..config_for(&server, insecure) }).unwrap()
    };

    let error = trusting(&[]).blob(&reference(server.address()), &layer(&image)).await.unwrap_err();
    assert!(matches!(error, Error::PlainHttp { .. }), "{error:?}");
    assert!(error.to_string().contains(plain.cdn_address()) && !shown(&error).contains("X-Amz"), "{error}");
    assert_eq!(plain.requests().len(), 0);

    let listed = trusting(&[plain.cdn_address()]);
    listed.blob(&reference(server.address()), &layer(&image)).await.unwrap().bytes(u64::MAX).await.unwrap();
}

#[tokio::test]
async fn that_a_registry_is_insecure_says_nothing_of_where_it_redirects_to() {
    let (server, image) = serve(builder().tls().cdn()).await;
    let client = Registry::new(config_for(&server, &[server.address()])).unwrap();
    let error = client.blob(&reference(server.address()), &layer(&image)).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains(server.cdn_address()), "{error}");
}

#[tokio::test]
async fn redirects_end_after_ten() {
    let (server, _) = serve(builder()).await;
    server.inject(
        "4.18.52-x86_64",
        Fault::Redirect("/v2/openshift/release/manifests/4.18.52-x86_64".to_owned()),
    );
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::TooManyRedirects { limit: 10, .. }), "{error:?}");
    assert_eq!(count(&server, "4.18.52-x86_64"), 11);
}

#[tokio::test]
async fn redirects_to_nowhere_are_refused() {
    let (server, _) = serve(builder()).await;
    for target in ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://", "https://[::1"] {
        server.heal();
        server.inject("4.18.52-x86_64", Fault::Redirect(target.to_owned()));
        let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
        assert!(matches!(error, Error::BadRedirect { .. }), "{target}: {error:?}");
    }
}
