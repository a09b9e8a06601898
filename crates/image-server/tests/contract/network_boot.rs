//! What a host that boots over the network gets from its infra-env.

use std::sync::Arc;

use bytes::Bytes;
use coreos_names::{Arch, ImageKind};
use image_store::{Catalog, DesiredImage, ImageState};
use live_iso::IgnitionArchive;
use test_support::assisted_service::{FakeAssistedService, Reply};

use crate::site::{ARM64, ID, OS_BUILD, Published, S390X, Site, X86_64, add, wanted, with_renamed, within};

const IGNITION: &str = r#"{"ignition":{"version":"3.4.0"}}"#;

fn all() -> [(Arch, &'static Published); 3] {
    [(Arch::X86_64, &X86_64), (Arch::Arm64, &ARM64), (Arch::S390x, &S390X)]
}

/// Serves 4.17, which has no nmstatectl of its own, for all architectures.
async fn site() -> Site {
    let catalog = Arc::new(Catalog::default());
    for (arch, image) in all() {
        let wanted = DesiredImage { release_version: None, ..wanted("4.17", arch) };
        add(&catalog, wanted, ImageState::Ready(image.lease.clone()));
    }
    Site::with_catalog(catalog).await
}

fn initrd(version: &str, arch: Arch) -> String {
    format!("/images/{ID}/pxe-initrd?arch={arch}&version={version}")
}

fn addr_size(version: &str) -> String {
    format!("/images/{ID}/s390x-initrd-addrsize?version={version}")
}

/// Archives, each at a multiple of four bytes.
fn joined(archives: &[&[u8]]) -> Vec<u8> {
    let mut joined = Vec::new();
    for archive in archives {
        joined.extend_from_slice(archive);
        joined.resize(joined.len().next_multiple_of(4), 0);
    }
    joined
}

#[tokio::test]
async fn the_initrd_is_the_images_own_followed_by_the_archives_of_the_infra_env() {
    let site = site().await;
    // Neither its size nor its end fits the next archive.
    let ramdisk = Bytes::from(vec![0x5a; 10_023]);
    let ignition = IgnitionArchive::new(IGNITION.as_bytes()).unwrap();
    for (arch, image) in all() {
        let own = &image.iso[within(image.lease.layout().initrd())];
        for version in ["4.17", OS_BUILD] {
            site.upstream.set_ramdisk(Reply::ok(ramdisk.clone()));
            let with = site.get(&initrd(version, arch)).await;
            assert_eq!(with.status, 200);
            assert!(with.body == joined(&[own, ignition.as_bytes(), &ramdisk]), "{arch}");
            for nothing in [Reply::status(204), Reply::ok("")] {
                site.upstream.set_ramdisk(nothing);
                let without = site.get(&initrd(version, arch)).await;
                assert!(without.body == joined(&[own, ignition.as_bytes()]), "{arch}");
                assert_ne!(without.headers.get("etag"), with.headers.get("etag"));
            }
        }
    }
}

#[tokio::test]
async fn nmstatectl_follows_the_ramdisk_of_hosts_that_need_it() {
    let catalog = Arc::new(Catalog::default());
    for (arch, image) in all() {
        add(&catalog, wanted("4.18", arch), ImageState::Ready(image.lease.clone()));
    }
    let site = Site::with_catalog(catalog).await;
    for (arch, image) in all() {
        for version in ["4.18", OS_BUILD] {
            let path = initrd(version, arch);
            site.upstream.set_ramdisk(Reply::status(204));
            let without = site.get(&path).await.body;
            site.upstream.set_ramdisk(Reply::ok("network"));
            let with = site.get(&path).await;
            assert_eq!(with.status, 200);
            let (before, behind) = with.body.split_at(without.len());
            assert!(before == without);
            let behind = behind.strip_prefix(b"network\0").unwrap();
            let files = live_iso::unpack(behind).unwrap();
            let [file] = &files[..] else { panic!("{} files", files.len()) };
            assert_eq!(file.name.trim_start_matches('/'), "usr/bin/nmstatectl");
            assert!(file.content == image.nmstatectl(), "{arch}");

            let start = with.body.len() - behind.len() - 100;
            let range = format!("bytes={start}-{}", start + 299);
            let part = site.get_with(&path, &[("range", &range)]).await;
            assert_eq!(part.body, with.body[start..start + 300]);
        }
    }
}

#[tokio::test]
async fn as_long_as_nmstatectl_is_not_at_hand_those_who_need_it_wait() {
    let directory = tempfile::tempdir().unwrap();
    let image = Published::publish(directory.path(), X86_64.iso.clone(), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
    let site = Site::with_base_url("http://images.example.com", catalog).await;
    let (initrd, short) = (initrd("4.18", Arch::X86_64), format!("/byid/{ID}/4.18/x86_64"));
    for path in [&initrd, &format!("{short}/full.iso")] {
        assert_eq!(site.head(path).await.status, 200, "{path}: there is nothing for nmstatectl to do");
    }
    site.upstream.set_ramdisk(Reply::ok("network"));
    for path in [&initrd, &format!("{short}/minimal.iso")] {
        let answer = site.get(path).await;
        let text = "nmstatectl, which hosts of this version need, has not been taken out of the image yet";
        answer.assert_trouble(503, text);
        assert_eq!(answer.header("retry-after"), Some("10"));
    }
}

#[tokio::test]
async fn an_image_that_has_no_nmstatectl_says_so_to_those_who_need_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut iso = X86_64.iso.to_vec();
    let rootfs = within(X86_64.lease.layout().rootfs());
    iso[rootfs][..4096].fill(0);
    let image = Published::publish(directory.path(), iso.into(), Arch::X86_64);
    let catalog = Arc::new(Catalog::default());
    image.prepare_nmstate().unwrap_err();
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(image.lease));
    let site = Site::with_base_url("http://images.example.com", catalog).await;
    let short = format!("/byid/{ID}/4.18/x86_64");
    assert_eq!(site.head(&format!("{short}/full.iso")).await.status, 200);
    site.upstream.set_ramdisk(Reply::ok("network"));
    for path in [initrd("4.18", Arch::X86_64), format!("{short}/minimal.iso")] {
        let answer = site.get(&path).await;
        let text = "nmstatectl, which hosts of this version need, cannot be taken out of the image";
        answer.assert_trouble(503, text);
        assert_eq!(answer.header("retry-after"), Some("300"));
    }
    let health: serde_json::Value = serde_json::from_slice(&site.get("/health").await.body).unwrap();
    let nmstate = &health["images"][0]["nmstate"];
    assert_eq!(nmstate["state"], "unavailable");
    assert!(nmstate["reason"].as_str().unwrap().contains("has no usable nmstatectl"), "{nmstate}");
}

#[tokio::test]
async fn an_initrd_comes_with_the_headers_of_an_iso_and_a_name_of_its_own() {
    let site = site().await;
    let path = initrd("4.17", Arch::X86_64);
    let (got, head) = (site.get(&path).await, site.head(&path).await);
    for answer in [&got, &head] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), Some(&*got.body.len().to_string()));
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        assert_eq!(answer.header("last-modified"), Some(FakeAssistedService::LAST_MODIFIED));
        let disposition = format!("attachment; filename={ID}-initrd.img");
        assert_eq!(answer.header("content-disposition"), Some(&*disposition));
    }
    let own = usize::try_from(X86_64.lease.layout().initrd().len).unwrap();
    let range = format!("bytes={}-{}", own - 100, own + 99);
    let part = site.get_with(&path, &[("range", &range)]).await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, got.body[own - 100..own + 100]);
    let etag = got.header("etag").unwrap();
    site.get_with(&path, &[("if-none-match", etag)]).await.assert_empty(304);
}

#[tokio::test]
async fn the_architecture_of_an_initrd_is_x86_64_unless_told_and_has_several_names() {
    let site = site().await;
    let etag = async |query: &str| {
        let answer = site.head(&format!("/images/{ID}/pxe-initrd?version=4.17{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        answer.header("etag").unwrap().to_owned()
    };
    let (x86_64, arm64) = (etag("").await, etag("&arch=arm64").await);
    assert_ne!(x86_64, arm64);
    assert_eq!(etag("&arch=amd64").await, x86_64);
    assert_eq!(etag("&arch=aarch64").await, arm64);
}

#[tokio::test]
async fn the_addrsize_file_keeps_the_address_and_tells_the_size_of_the_initrd() {
    let site = site().await;
    site.upstream.set_ramdisk(Reply::ok(vec![0x5a; 10_023]));
    let own =
        S390X.iso.windows(16).find(|bytes| bytes[8..] == S390X.lease.layout().initrd().len.to_be_bytes());
    let of_initrd =
        site.head(&initrd("4.17", Arch::S390x)).await.header("content-length").unwrap().to_owned();
    for arch in ["", "&arch=s390x", "&arch=x86_64", "&arch=sparc"] {
        let file = site.get(&format!("{}{arch}", addr_size("4.17"))).await;
        assert_eq!(file.status, 200, "{arch}");
        assert_eq!(file.body.len(), 16);
        assert_eq!(file.body[..8], own.unwrap()[..8]);
        assert_eq!(u64::from_be_bytes(file.body[8..].try_into().unwrap()).to_string(), of_initrd);
        let disposition = format!("attachment; filename={ID}-initrd.addrsize");
        assert_eq!(file.header("content-disposition"), Some(&*disposition));
        assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    }
}

#[tokio::test]
async fn an_initrd_needs_the_ignition_config_and_the_ramdisk_at_the_same_time() {
    for path in [initrd("4.17", Arch::X86_64), addr_size("4.17")] {
        let site = site().await;
        site.upstream.answer_together(2);
        assert_eq!(site.head(&format!("{path}&api_key=k")).await.status, 200);
        let mut asked = site.upstream.asked();
        asked.sort_by_key(|asked| asked.path.len());
        let [ignition, ramdisk] = &asked[..] else { panic!("{asked:?}") };
        let path = format!("/api/assisted-install/v2/infra-envs/{ID}/downloads");
        assert_eq!(
            (&*ignition.path, &*ramdisk.path),
            (&*format!("{path}/files"), &*format!("{path}/minimal-initrd"))
        );
        let key = ("api_key".to_owned(), "k".to_owned());
        let file = ("file_name".to_owned(), "discovery.ign".to_owned());
        assert_eq!(ignition.query, [key.clone(), file].into());
        assert_eq!(ramdisk.query, [key].into());
    }
}

#[tokio::test]
async fn an_initrd_needs_a_version() {
    let site = site().await;
    for route in ["pxe-initrd", "s390x-initrd-addrsize"] {
        for query in ["", "?version=", "?version=%zz", "?arch=sparc"] {
            let answer = site.get(&format!("/images/{ID}/{route}{query}")).await;
            answer.assert_line(400, "'version' parameter required for initrd download");
        }
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn an_unknown_version_or_architecture_of_an_initrd_is_a_bad_request() {
    let site = site().await;
    for (version, arch) in [("9.9", "x86_64"), ("4.17", "ppc64le"), ("4.17", "sparc")] {
        let answer = site.get(&format!("/images/{ID}/pxe-initrd?version={version}&arch={arch}")).await;
        answer.assert_line(400, &format!("version for {version} {arch}, not found "));
    }
    site.get(&addr_size("9.9")).await.assert_line(400, "version for 9.9 s390x, not found ");
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn an_initrd_of_an_infra_env_id_that_is_none_is_not_found() {
    let site = site().await;
    for id in ["x", "..%2f..%2fx", "a%0d%0ab", &ID.to_uppercase(), &"a".repeat(10_000)] {
        for route in ["pxe-initrd", "s390x-initrd-addrsize", "other"] {
            site.get(&format!("/images/{id}/{route}?version=4.17")).await.assert_not_found();
        }
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn an_initrd_of_an_image_that_has_none_is_not_found_before_anybody_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let old = with_renamed(&S390X.iso, "INITRD.ADD", "initrd.addrsize");
    let old = Published::publish(directory.path(), old, Arch::S390x);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.17", Arch::S390x), ImageState::Ready(old.lease));
    let disconnected = DesiredImage { kind: ImageKind::Disconnected, ..wanted("4.19", Arch::X86_64) };
    add(&catalog, disconnected, ImageState::Waiting);
    let site = Site::with_catalog(catalog).await;
    site.get(&addr_size("4.17")).await.assert_line(404, "this image has no initrd.addrsize");
    let answer = site.get(&initrd("4.19", Arch::X86_64)).await;
    answer.assert_line(404, "there are no boot artifacts of the image for 4.19 x86_64");
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn who_is_refused_an_initrd_is_told_which_part() {
    let site = site().await;
    for status in [401, 403, 404, 409] {
        site.upstream.set_ignition(Reply::status(status));
        site.upstream.set_ramdisk(Reply::status(204));
        let text = format!("error retrieving ignition content: request returned status {status}");
        site.get(&initrd("4.17", Arch::X86_64)).await.assert_line(status, &text);
        site.upstream.set_ignition(Reply::ok("{}"));
        site.upstream.set_ramdisk(Reply::status(status));
        let text = format!("error retrieving ramdisk content: request returned status {status}");
        site.get(&initrd("4.17", Arch::X86_64)).await.assert_line(status, &text);
    }
}
