use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coreos_names::{Arch, ImageKind};
use image_store::{Catalog, DesiredImage, ImageState};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{FULL_ISO, ID, Site, X86_64, add, wanted};

#[tokio::test]
async fn an_infra_env_id_that_is_no_lower_case_uuid_is_not_found() {
    let site = Site::start().await;
    for id in [
        "x",
        "..%2fx",
        "a%0d%0ab",
        "%00",
        &"a".repeat(10_000),
        &ID.to_uppercase(),
        &ID.replace('-', ""),
        &format!("{ID}0"),
    ] {
        site.get(&format!("/images/{id}?version=4.18&type=full-iso")).await.assert_not_found();
        site.get(&format!("/byid/{id}/4.18/x86_64/full.iso")).await.assert_not_found();
    }
}

#[tokio::test]
async fn a_long_url_needs_version_and_type() {
    let site = Site::start().await;
    for query in ["type=full-iso", "version=&type=full-iso", "version=4.1%8&type=full-iso", ""] {
        let answer = site.get(&format!("/images/{ID}?{query}")).await;
        answer.assert_plain(400, "'version' parameter required");
    }
    for query in ["version=4.18", "version=9.9", "version=4.18&type="] {
        let answer = site.get(&format!("/images/{ID}?{query}")).await;
        answer.assert_plain(400, "'type' parameter required");
    }
    let answer = site.get(&format!("/images/{ID}?version=4.18&type=bogus")).await;
    answer.assert_plain(400, "invalid value 'bogus' for parameter 'type'");
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn of_a_parameter_given_twice_the_first_counts() {
    let site = Site::start().await;
    let twice = |first, second| format!("/images/{ID}?type=full-iso&version={first}&version={second}");
    assert_eq!(site.head(&twice("4.18", "9.9")).await.status, 200);
    site.get(&twice("9.9", "4.18")).await.assert_not_found();
}

#[tokio::test]
async fn an_unknown_version_or_architecture_of_an_iso_is_not_found() {
    let site = Site::start().await;
    for (version, arch) in
        [("9.9", "x86_64"), ("4.18", "arm64"), ("4.18", "sparc"), ("418.94", "x86_64"), ("x", "x")]
    {
        for iso in ["full", "minimal", "disconnected"] {
            site.get(&format!("/byid/{ID}/{version}/{arch}/{iso}.iso")).await.assert_not_found();
            let long = format!("/images/{ID}?version={version}&arch={arch}&type={iso}-iso");
            site.get(&long).await.assert_not_found();
        }
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn another_file_name_is_not_recognized() {
    let site = Site::start().await;
    for version in ["4.18", "9.9"] {
        let answer = site.get(&format!("/byid/{ID}/{version}/x86_64/foo.iso")).await;
        answer.assert_plain(404, "unrecognized file name foo.iso");
    }
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let site = Site::start().await;
    for path in [
        "/",
        "/favicon.ico",
        "/byid",
        &format!("/byid/{ID}/4.18/x86_64"),
        &format!("/byid/{ID}/4.18/x86_64/full.iso/"),
        &format!("/byid/{ID}/4.18/x86_64/full.iso/x"),
        &format!("/byid/{ID}/4%2E18/x86_64/full.iso"),
        &format!("/images/{ID}/"),
        "/s390x-initrd-addrsize",
    ] {
        site.get(path).await.assert_not_found();
    }
}

#[tokio::test]
async fn a_path_with_a_slash_too_many_is_redirected_to_the_clean_one() {
    let site = Site::start().await;
    let answer = site.get(&format!("//images/{ID}?version=4.18&type=full-iso")).await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("location"), Some(&*format!("/images/{ID}?version=4.18&type=full-iso")));
    site.get("//example.com/images/x").await.assert_not_found();
    for (path, clean) in [
        ("/images", "/images/"),
        ("/images?x=/", "/images/?x=/"),
        ("/boot-artifacts", "/boot-artifacts/"),
        ("/boot-artifacts//rootfs?version=4.18", "/boot-artifacts/rootfs?version=4.18"),
        ("/boot-artifacts/./kernel", "/boot-artifacts/kernel"),
        ("/x/../byid/a/../b", "/byid/b"),
        ("//health", "/health"),
    ] {
        let answer = raw(&site, "GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 307 "), "{path}: {answer}");
        assert!(answer.contains(&format!("\r\nlocation: {clean}\r\n")), "{path}: {answer}");
    }
    for path in ["/.", "/x/../y/images", "//example.com/../example.com/images"] {
        assert!(raw(&site, "GET", path).await.starts_with("HTTP/1.1 404 "), "{path}");
    }
}

/// The answer to a request whose path no client may improve.
async fn raw(site: &Site, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let site = Site::start().await;
    let long = format!("/images/{ID}?version=4.18&type=full-iso");
    let initrd = format!("/images/{ID}/pxe-initrd?version=4.18");
    let addr_size = format!("/images/{ID}/s390x-initrd-addrsize?version=4.18");
    let artifacts = ["/boot-artifacts/kernel?version=4.18", "/boot-artifacts/ins-file?version=4.18"];
    let paths = [FULL_ISO, &long, &initrd, &addr_size, "/health", "/live", "/metrics"];
    for path in paths.into_iter().chain(artifacts) {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"] {
            let answer = site.request(Method::from_bytes(method.as_bytes()).unwrap(), path, &[]).await;
            answer.assert_empty(405);
            assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
        let answer = raw(&site, "CONNECT", path).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{path}: {answer}");
        assert!(answer.contains("\r\nallow: GET, HEAD\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn an_iso_that_an_image_is_not_available_as_is_not_found_before_anybody_is_asked() {
    let site = Site::start().await;
    for path in [
        format!("/byid/{ID}/4.18/x86_64/disconnected.iso"),
        format!("/images/{ID}?version=4.18&type=disconnected-iso"),
    ] {
        let answer = site.get(&path).await;
        answer.assert_line(404, "the image for 4.18 x86_64 is not available as a disconnected ISO");
    }
    let disconnected = DesiredImage { kind: ImageKind::Disconnected, ..wanted("4.19", Arch::X86_64) };
    add(&site.catalog, disconnected, ImageState::Waiting);
    for iso in ["full", "minimal"] {
        let answer = site.get(&format!("/byid/{ID}/4.19/x86_64/{iso}.iso")).await;
        answer.assert_line(404, &format!("the image for 4.19 x86_64 is not available as a {iso} ISO"));
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn an_image_that_is_not_ready_is_announced_with_its_state() {
    let catalog = Arc::new(Catalog::default());
    let entry = add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Waiting);
    let site = Site::with_catalog(catalog).await;
    let reason = || "quay.io said no".to_owned();
    let total = Some(1_210_500_000);
    for (state, text, retry_after) in [
        (ImageState::Waiting, "is waiting to be fetched; try again in 10 s", "10"),
        (
            ImageState::Fetching { received: 312_000_000, total },
            "is being fetched (312 of 1210 MB); try again in 10 s",
            "10",
        ),
        (
            ImageState::Fetching { received: 312_000_000, total: None },
            "is being fetched (312 MB so far); try again in 10 s",
            "10",
        ),
        (
            ImageState::Failed { reason: reason(), retry_at: SystemTime::UNIX_EPOCH },
            "could not be fetched yet; try again in 10 s",
            "10",
        ),
        (
            ImageState::Unsupported { reason: reason() },
            "cannot be served from its source; try again in 300 s",
            "300",
        ),
    ] {
        site.catalog.set_state(entry, state);
        let initrd = format!("/images/{ID}/pxe-initrd?version=4.18");
        for path in [FULL_ISO, "/boot-artifacts/rootfs?version=4.18", &initrd] {
            let answer = site.get(path).await;
            answer.assert_trouble(503, &format!("the image for OpenShift 4.18 x86_64 {text}"));
            assert_eq!(answer.header("retry-after"), Some(retry_after));
        }
    }
    assert!(site.upstream.asked().is_empty());
    site.catalog.set_state(entry, ImageState::Ready(X86_64.lease.clone()));
    assert_eq!(site.head(FULL_ISO).await.status, 200);
}

#[tokio::test]
async fn nothing_is_unknown_for_good_before_the_list_was_read() {
    let site = Site::start().await;
    let initrd = format!("/images/{ID}/pxe-initrd?version=9.9");
    let iso = FULL_ISO.replace("4.18", "9.9");
    for path in [&iso, "/boot-artifacts/rootfs?version=9.9", "/boot-artifacts/other?version=9.9", &initrd] {
        site.catalog.set_list_awaited(true);
        let answer = site.get(path).await;
        answer.assert_trouble(503, "it is not known yet which images there are to be; try again in 10 s");
        assert_eq!(answer.header("retry-after"), Some("10"));
        site.catalog.set_list_awaited(false);
        let status = site.get(path).await.status;
        assert!([400, 404].contains(&status.as_u16()), "{path}: {status}");
    }
    site.catalog.set_list_awaited(true);
    assert_eq!(site.head(FULL_ISO).await.status, 200, "what is known is served");
}

#[tokio::test]
async fn a_failed_image_is_announced_for_after_its_next_attempt() {
    let retry_at = SystemTime::now() + Duration::from_secs(100);
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Failed { reason: String::new(), retry_at });
    let site = Site::with_catalog(catalog).await;
    let seconds: u64 = site.get(FULL_ISO).await.header("retry-after").unwrap().parse().unwrap();
    assert!((105..=110).contains(&seconds), "{seconds}");

    // As if the clock had been set back or forth since.
    let mut waits = Vec::new();
    for retry_at in [SystemTime::now() + Duration::from_hours(1000), SystemTime::UNIX_EPOCH] {
        let catalog = Arc::new(Catalog::default());
        add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Failed { reason: String::new(), retry_at });
        let answer = Site::with_catalog(catalog).await.get(FULL_ISO).await;
        waits.push(answer.header("retry-after").unwrap().to_owned());
    }
    assert_eq!(waits, ["610", "10"]);
}

#[tokio::test]
async fn malformed_requests_are_told_so_before_anything_is_ready() {
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Waiting);
    let site = Site::with_catalog(catalog).await;
    site.get(&format!("/images/{ID}")).await.assert_plain(400, "'version' parameter required");
    site.get("/images/x?version=4.18&type=full-iso").await.assert_not_found();
    site.get(&format!("/byid/{ID}/9.9/x86_64/full.iso")).await.assert_not_found();
    let answer = site.get(&format!("/byid/{ID}/4.18/x86_64/disconnected.iso")).await;
    answer.assert_line(404, "the image for 4.18 x86_64 is not available as a disconnected ISO");
    let answer = site.get("/boot-artifacts/x?version=4.18").await;
    answer.assert_line(404, "Failed to parse artifact: malformed download path: /boot-artifacts/x");
}
