use std::collections::BTreeSet;
use std::sync::Arc;

use coreos_names::{Arch, ImageKind};
use image_store::{Catalog, DesiredImage, ImageState};
use test_support::assisted_service::{FakeAssistedService, Reply};

use crate::site::{
    ARM64, FULL_ISO, ID, OS_BUILD, Published, S390X, Site, X86_64, add, fixture, ignition_config, wanted,
    with_renamed, within,
};

#[tokio::test]
async fn the_full_iso_is_the_images_own_with_the_ignition_config_in_its_area() {
    let site = Site::start().await;
    let iso = site.get(FULL_ISO).await;
    assert_eq!(iso.status, 200);

    let area = within(X86_64.lease.layout().ignition_area().unwrap().extent());
    assert!(iso.body[..area.start] == X86_64.iso[..area.start], "before the area");
    assert!(iso.body[area.end..] == X86_64.iso[area.end..], "behind the area");
    assert_eq!(ignition_config(&iso.body).unwrap(), r#"{"ignition":{"version":"3.4.0"}}"#);
}

#[tokio::test]
async fn a_full_iso_comes_with_these_headers_and_no_others() {
    let site = Site::start().await;
    let iso = site.get(FULL_ISO).await;
    let mut names: Vec<_> = iso.headers.keys().map(reqwest::header::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept-ranges",
            "content-disposition",
            "content-length",
            "content-type",
            "date",
            "etag",
            "last-modified",
        ]
    );
    assert_eq!(iso.header("accept-ranges"), Some("bytes"));
    assert_eq!(iso.header("content-disposition"), Some(&*format!("attachment; filename={ID}-discovery.iso")));
    assert_eq!(iso.header("content-length"), Some(&*X86_64.iso.len().to_string()));
    assert_eq!(iso.header("content-type"), Some("application/octet-stream"));
    assert_eq!(iso.header("last-modified"), Some(FakeAssistedService::LAST_MODIFIED));
}

#[tokio::test]
async fn head_is_answered_like_get_without_the_bytes() {
    let site = Site::start().await;
    let (got, head) = (site.get(FULL_ISO).await, site.head(FULL_ISO).await);
    assert_eq!(head.status, 200);
    assert!(head.body.is_empty());
    for (name, value) in &got.headers {
        assert!(name == "date" || head.headers.get(name) == Some(value), "{name}");
    }
    assert_eq!(site.upstream.asked().len(), 4, "the infra-env is asked for a HEAD, too");
}

#[tokio::test]
async fn a_head_reads_nothing_of_the_image() {
    let directory = tempfile::tempdir().unwrap();
    let image = Published::publish(directory.path(), fixture(Arch::X86_64), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
    let site = Site::with_catalog(catalog).await;
    std::fs::File::options().write(true).open(&image.path).unwrap().set_len(0).unwrap();
    let head = site.head(FULL_ISO).await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(&*image.iso.len().to_string()));
}

#[tokio::test]
async fn an_image_that_cannot_be_read_any_more_breaks_the_download_off() {
    let directory = tempfile::tempdir().unwrap();
    let image = Published::publish(directory.path(), fixture(Arch::X86_64), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
    let site = Site::with_catalog(catalog).await;
    std::fs::File::options().write(true).open(&image.path).unwrap().set_len(1_000_000).unwrap();
    let response = site.client.get(site.url(FULL_ISO)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "a client must see that the ISO is not whole");
}

#[tokio::test]
async fn an_image_that_is_removed_meanwhile_is_served_to_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let image = Published::publish(directory.path(), fixture(Arch::X86_64), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    let entry = add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
    let site = Site::with_catalog(catalog).await;
    let response = site.client.get(site.url(FULL_ISO)).send().await.unwrap();
    std::fs::remove_file(&image.path).unwrap();
    site.catalog.set_state(entry, ImageState::Waiting);
    assert_eq!(response.bytes().await.unwrap().len(), image.iso.len());
}

#[tokio::test]
async fn short_and_long_urls_lead_to_the_same_iso() {
    let site = Site::start().await;
    let short = site.get(FULL_ISO).await;
    for query in ["version=4.18&type=full-iso&arch=x86_64", "type=full-iso&version=4.18"] {
        let long = site.get(&format!("/images/{ID}?{query}")).await;
        assert_eq!(long.status, 200);
        assert!(long.body == short.body);
        assert_eq!(long.headers.get("etag"), short.headers.get("etag"));
        assert_eq!(long.headers.get("content-disposition"), short.headers.get("content-disposition"));
    }
}

#[tokio::test]
async fn an_image_answers_to_its_os_build_and_to_its_openshift_versions() {
    let site = Site::start().await;
    for version in [OS_BUILD, "4.18", "4.18-multi", "4.18.52", "4.18.52-multi"] {
        assert_eq!(
            site.head(&format!("/byid/{ID}/{version}/x86_64/full.iso")).await.status,
            200,
            "{version}"
        );
        let long = format!("/images/{ID}?version={version}&type=full-iso");
        assert_eq!(site.head(&long).await.status, 200, "{version}");
    }
}

#[tokio::test]
async fn amd64_is_x86_64() {
    let site = Site::start().await;
    assert_eq!(site.head(&format!("/byid/{ID}/4.18/amd64/full.iso")).await.status, 200);
    assert_eq!(site.head(&format!("/images/{ID}?version=4.18&type=full-iso&arch=amd64")).await.status, 200);
}

#[tokio::test]
async fn without_a_known_date_none_is_sent() {
    let site = Site::start().await;
    for reply in [Reply::ok("{}"), Reply::ok("{}").header("last-modified", "yesterday")] {
        site.upstream.set_ignition(reply);
        let iso = site.head(FULL_ISO).await;
        assert_eq!((iso.status.as_u16(), iso.header("last-modified")), (200, None));
    }
}

#[tokio::test]
async fn an_empty_ignition_config_is_an_empty_archive() {
    let site = Site::start().await;
    site.upstream.set_ignition(Reply::ok(""));
    let iso = site.get(FULL_ISO).await;
    assert_eq!(iso.status, 200);
    assert_eq!(ignition_config(&iso.body), None);
}

#[tokio::test]
async fn a_disconnected_iso_is_customised_like_a_full_one_and_named_after_its_architecture() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = Arc::new(Catalog::default());
    for (arch, image) in [(Arch::X86_64, &X86_64), (Arch::Arm64, &ARM64)] {
        let kind = ImageKind::Disconnected;
        let image = Published::publish_as(directory.path(), image.iso.clone(), arch, kind);
        let wanted = DesiredImage { kind, ..wanted("4.19", arch) };
        add(&catalog, wanted, ImageState::Ready(image.lease));
    }
    let site = Site::with_catalog(catalog).await;
    for (arch, name) in [("x86_64", "x86_64"), ("amd64", "x86_64"), ("arm64", "arm64"), ("aarch64", "arm64")]
    {
        let short = site.head(&format!("/byid/{ID}/4.19/{arch}/disconnected.iso")).await;
        let long = site.head(&format!("/images/{ID}?version=4.19&arch={arch}&type=disconnected-iso")).await;
        for iso in [short, long] {
            assert_eq!(iso.status, 200);
            let disposition = format!("attachment; filename=agent-ove.{name}.iso");
            assert_eq!(iso.header("content-disposition"), Some(&*disposition));
        }
    }
    let iso = site.get(&format!("/byid/{ID}/4.19/x86_64/disconnected.iso")).await;
    assert_eq!(ignition_config(&iso.body).unwrap(), r#"{"ignition":{"version":"3.4.0"}}"#);
    let types =
        site.upstream.asked().into_iter().filter_map(|mut asked| asked.query.remove("discovery_iso_type"));
    assert_eq!(types.collect::<BTreeSet<_>>(), ["disconnected-iso".to_owned()].into());
}

#[tokio::test]
async fn kernel_arguments_are_written_wherever_a_boot_loader_reads_them() {
    let site = Site::start().await;
    site.upstream.set_kernel_arguments(
        r#"[{"operation":"append","value":"p1"},{"operation":"append","value":"p2=x"}]"#,
    );
    let iso = site.get(FULL_ISO).await;
    assert_eq!(iso.status, 200);
    let areas = X86_64.lease.layout().kernel_argument_areas().unwrap().areas();
    assert_eq!(areas.len(), 2, "GRUB's and ISOLINUX's");
    for area in areas {
        let text = String::from_utf8_lossy(&iso.body[within(area.extent())]);
        assert!(text.contains("ignition.platform.id=metal p1 p2=x\n#"), "{text}");
    }
}

#[tokio::test]
async fn without_kernel_arguments_the_images_own_are_untouched() {
    let site = Site::start().await;
    let area = X86_64.lease.layout().kernel_argument_areas().unwrap().areas()[0].extent();
    let range = format!("bytes={}-{}", area.offset, area.end().unwrap() - 1);
    for infra_env in [r#"{"kernel_arguments":null}"#, "{}", r#"{"id":"x","name":"y"}"#] {
        site.upstream.set_infra_env(Reply::ok(infra_env));
        let part = site.get_with(FULL_ISO, &[("range", &range)]).await;
        assert_eq!(part.status, 206);
        assert_eq!(part.body, X86_64.iso[within(area)], "{infra_env}");
    }
    for empty in ["[]", "null"] {
        site.upstream.set_kernel_arguments(empty);
        assert_eq!(site.head(FULL_ISO).await.status, 200, "an empty list is no error: {empty}");
    }
}

#[tokio::test]
async fn kernel_arguments_work_on_s390x_where_the_image_has_room_for_them() {
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::S390x), ImageState::Ready(S390X.lease.clone()));
    let site = Site::with_catalog(catalog).await;
    let path = format!("/byid/{ID}/4.18/s390x/full.iso");
    assert_eq!(site.head(&path).await.status, 200);
    site.upstream.set_kernel_arguments(r#"[{"operation":"append","value":"p1"}]"#);
    let iso = site.get(&path).await;
    assert_eq!(iso.status, 200);
    let area = S390X.lease.layout().kernel_argument_areas().unwrap().areas()[0].extent();
    let text = String::from_utf8_lossy(&iso.body[within(area)]);
    assert!(text.contains("ignition.platform.id=metal p1\0"), "{text}");
}

#[tokio::test]
async fn kernel_arguments_are_refused_on_s390x_where_the_image_has_no_room_for_them() {
    // As images were before 2023: nothing tells where the arguments are.
    let iso = with_renamed(&S390X.iso, "KARGS.JSO", "kargs.json");
    let directory = tempfile::tempdir().unwrap();
    let old = Published::publish(directory.path(), iso, Arch::S390x);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::S390x), ImageState::Ready(old.lease));
    let site = Site::with_catalog(catalog).await;
    let path = format!("/byid/{ID}/4.18/s390x/full.iso");
    assert_eq!(site.head(&path).await.status, 200);
    site.upstream.set_kernel_arguments("[]");
    site.get(&path).await.assert_line(400, "kargs cannot be modified in s390x architecture ISOs");
}
