use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use coreos_names::{Arch, ImageKind};
use image_store::{Catalog, DesiredImage, Expected, ImageState};
use serde_json::{Value, json};

use crate::site::{OS_BUILD, Published, Site, X86_64, add, wanted};

async fn health(site: &Site) -> (u16, Value) {
    let answer = site.get("/health").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).unwrap())
}

#[tokio::test]
async fn the_service_always_lives() {
    let site = Site::with_catalog(Arc::new(Catalog::default())).await;
    site.get("/live").await.assert_empty(200);
    site.head("/live").await.assert_empty(200);
}

#[tokio::test]
async fn the_service_is_healthy_once_an_image_is_ready_and_stays_so() {
    let catalog = Arc::new(Catalog::default());
    let first = add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Waiting);
    add(&catalog, wanted("4.19", Arch::X86_64), ImageState::Waiting);
    let site = Site::with_catalog(catalog).await;
    assert_eq!(health(&site).await.0, 503);
    assert_eq!(site.head("/health").await.status, 503);
    site.catalog.set_state(first, ImageState::Ready(X86_64.lease.clone()));
    assert_eq!(health(&site).await.0, 200);
    assert_eq!(site.head("/health").await.status, 200);
    site.catalog.set_state(first, ImageState::Waiting);
    site.catalog.add(wanted("4.20", Arch::X86_64));
    assert_eq!(health(&site).await.0, 200);
}

#[tokio::test]
async fn the_service_is_healthy_once_every_first_attempt_has_ended() {
    let catalog = Arc::new(Catalog::default());
    let failed = || ImageState::Failed { reason: "no route to host".to_owned(), retry_at: SystemTime::now() };
    let first = add(&catalog, wanted("4.18", Arch::X86_64), failed());
    let second = add(&catalog, wanted("4.19", Arch::X86_64), ImageState::Waiting);
    let site = Site::with_catalog(catalog).await;
    site.catalog.set_state(first, ImageState::Waiting);
    assert_eq!(health(&site).await.0, 200, "the first one was alone at the time");
    site.catalog.set_state(second, failed());
    assert_eq!(health(&site).await.0, 200);
}

#[tokio::test]
async fn the_service_is_healthy_ten_minutes_after_its_start() {
    let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
    for (seconds, status) in [(590, 503), (600, 200)] {
        let catalog = Arc::new(Catalog::default());
        add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Waiting);
        let site = Site::started_at(catalog, ago(seconds)).await;
        assert_eq!(health(&site).await.0, status, "{seconds}");
    }
}

#[tokio::test]
async fn an_image_that_is_ready_is_listed_with_how_it_was_proven() {
    let sha256 = X86_64.lease.sha256();
    let directory = tempfile::tempdir().unwrap();
    for (number, (expected, proof)) in [
        (Expected::Release(sha256), "digest"),
        (Expected::Admin(sha256), "admin-sha256"),
        (Expected::Structure, "structure-only"),
    ]
    .into_iter()
    .enumerate()
    {
        let data_dir = directory.path().join(number.to_string());
        let (iso, kind) = (X86_64.iso.clone(), ImageKind::Full);
        let image = Published::publish_proven(&data_dir, iso, Arch::X86_64, kind, expected);
        let catalog = Arc::new(Catalog::default());
        add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
        let site = Site::with_catalog(catalog).await;
        assert_eq!(health(&site).await.1["images"][0]["proof"], proof);
    }
}

#[tokio::test]
async fn every_image_is_listed_with_its_state() {
    let catalog = Arc::new(Catalog::default());
    add(&catalog, DesiredImage { arch: None, ..wanted("4.17", Arch::X86_64) }, ImageState::Waiting);
    let fetching = ImageState::Fetching { received: 5, total: Some(10) };
    add(&catalog, DesiredImage { release_version: None, ..wanted("4.18", Arch::Arm64) }, fetching);
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(X86_64.lease.clone()));
    let retry_at = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 999_999_999);
    let failed =
        ImageState::Failed { reason: "http://mirror.site/x.iso: no route to host".to_owned(), retry_at };
    add(&catalog, wanted("4.19", Arch::S390x), failed);
    let unsupported = ImageState::Unsupported { reason: "no ISO in 4.10 at /data".to_owned() };
    add(&catalog, wanted("4.10", Arch::X86_64), unsupported);
    let site = Site::with_catalog(catalog).await;

    let image =
        |version: &str, release: Option<&str>, arch: Option<&str>, build: Option<&str>, state: &str| {
            json!({
                "openshift_version": version, "release_version": release, "arch": arch, "type": "full-iso",
                "os_build": build, "state": state,
            })
        };
    let with = |mut image: Value, more: &Value| {
        image.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        image
    };
    let release = Some("4.18.52");
    let expected = json!({ "images": [
        image("4.17", release, None, None, "waiting"),
        with(
            image("4.18", None, Some("arm64"), None, "fetching"),
            &json!({ "received_bytes": 5, "total_bytes": 10 }),
        ),
        with(
            image("4.18", release, Some("x86_64"), Some(OS_BUILD), "ready"),
            &json!({ "sha256": X86_64.lease.sha256().to_string(), "proof": "digest" }),
        ),
        with(
            image("4.19", release, Some("s390x"), None, "failed"),
            &json!({ "reason": "…: no route to host", "retry_at": "2001-09-09T01:46:40Z" }),
        ),
        with(
            image("4.10", release, Some("x86_64"), None, "unsupported"),
            &json!({ "reason": "no ISO in 4.10 at …" }),
        ),
    ] });
    assert_eq!(health(&site).await, (200, expected));
}
