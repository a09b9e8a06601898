//! Manifests: what is believed, what is refused, and when a second try is made.

use std::time::Duration;

use oci_registry::{Digest, Error, InvalidManifest, Manifest};
use test_support::registry::Fault;

use crate::support::{REPOSITORY, builder, client, count, reference, serve};

const TAG: &str = "4.18.52-x86_64";
const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused_whatever_its_header_says() {
    let (server, image) = serve(builder()).await;
    let digest = image.manifest.digest();
    server.inject(&digest, Fault::Replace(b"{}"));
    let reference = reference(server.address()).with_digest(digest.parse().unwrap());
    let error = client(&server).manifest(&reference).await.unwrap_err();
    let Error::DigestMismatch { expected, actual, .. } = &error else { panic!("{error:?}") };
    assert_eq!((expected.to_string(), *actual), (digest, Digest::of(b"{}")));
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn with_tag_and_digest_the_digest_counts() {
    let (server, image) = serve(builder()).await;
    let text = format!("{}/{REPOSITORY}:moved@{}", server.address(), image.manifest.digest());
    let manifest = client(&server).manifest(&text.parse().unwrap()).await.unwrap();
    assert_eq!(manifest.digest, image.manifest.sha256().into());
    assert_eq!(count(&server, "/moved"), 0);
}

#[tokio::test]
async fn a_manifest_is_no_larger_than_4_mib() {
    let (server, _) = serve(builder()).await;
    let limit = usize::try_from(Manifest::MAX_SIZE).unwrap();
    for (fault, size) in [(None, limit + 1), (Some(Fault::EndAfter(u64::MAX)), limit + 1)] {
        server.publish_manifest(REPOSITORY, TAG, DOCKER_IMAGE, &vec![b' '; size]);
        if let Some(fault) = fault {
            server.inject(TAG, fault);
        }
        let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: Manifest::MAX_SIZE, .. }), "{error:?}");
    }
    server.heal();
    server.publish_manifest(REPOSITORY, TAG, DOCKER_IMAGE, &vec![b' '; limit]);
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { .. }), "read, though of no use: {error:?}");
}

#[tokio::test]
async fn what_is_no_manifest_is_not_taken_for_one() {
    let (server, _) = serve(builder()).await;
    let schema1 = br#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[]}"#;
    server.publish_manifest(REPOSITORY, TAG, DOCKER_IMAGE, schema1);
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Manifest { source: InvalidManifest::Schema1, .. }), "{error:?}");
}

#[tokio::test]
async fn hiccups_are_waited_out() {
    let (server, _) = serve(builder()).await;
    for fault in [Fault::status(500), Fault::status(503), Fault::status(429), Fault::CutAfter(10)] {
        server.inject_once(TAG, fault.clone());
        server.inject_once(TAG, fault.clone());
        server.clear_requests();
        client(&server)
            .manifest(&reference(server.address()))
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(count(&server, TAG), 3, "{fault:?}");
    }
}

#[tokio::test]
async fn lasting_trouble_is_reported_after_three_tries() {
    let (server, _) = serve(builder()).await;
    server.inject(TAG, Fault::status(503));
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Status { .. }) && error.is_retryable(), "{error:?}");
    assert!(
        error.to_string().contains("503 Service Unavailable")
            && error.to_string().contains("(FAULT: injected)")
    );
    assert_eq!(count(&server, TAG), 3);
}

#[tokio::test]
async fn what_will_not_get_better_is_asked_once() {
    let (server, _) = serve(builder()).await;
    for status in [400, 404, 410, 418, 206] {
        server.inject_once(TAG, Fault::status(status));
        server.clear_requests();
        let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
        assert!(!error.is_retryable() && error.is_not_found() == (status == 404), "{error:?}");
        assert_eq!(count(&server, TAG), 1, "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_honoured_or_left_to_the_caller() {
    let (server, _) = serve(builder()).await;
    let limited = |seconds: &str| Fault::Status(429, vec![("retry-after", seconds.to_owned())]);
    server.inject_once(TAG, limited("0"));
    client(&server).manifest(&reference(server.address())).await.unwrap();

    server.inject_once(TAG, limited("3600"));
    server.clear_requests();
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }) && error.is_retryable(), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert_eq!(count(&server, TAG), 1, "too long to wait for, and not asked again sooner");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_a_retryable_error_that_names_it() {
    let (server, _) = serve(builder()).await;
    let client = client(&server);
    let reference = reference(server.address());
    let address = server.address().to_owned();
    drop(server);
    let error = client.manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Transport { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}
