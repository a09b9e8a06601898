//! Under which URLs the service is reached.

use crate::site::{FULL_ISO, ID, Site, catalog};

#[tokio::test]
async fn a_path_in_the_base_url_can_be_in_front_of_every_route() {
    let site = Site::with_base_url("https://images.example.com/a/b/", catalog()).await;
    let initrd = format!("/images/{ID}/pxe-initrd?version=4.18");
    for path in [FULL_ISO, &initrd, "/boot-artifacts/rootfs?version=4.18", "/health", "/live", "/metrics"] {
        let (without, with) = (site.head(path).await, site.head(&format!("/a/b{path}")).await);
        assert_eq!((without.status.as_u16(), with.status.as_u16()), (200, 200), "{path}");
        assert_eq!(without.headers.get("etag"), with.headers.get("etag"));
    }
    let metrics = site.get("/a/b/metrics").await;
    assert!(metrics.text().contains(r#"handler="/byid/:token""#) && !metrics.text().contains("/a/b"));
    let answer = site.get("/a/b/boot-artifacts/x?version=4.18").await;
    answer.assert_line(404, "Failed to parse artifact: malformed download path: /boot-artifacts/x");
}

#[tokio::test]
async fn any_other_path_in_front_is_not_found() {
    let site = Site::with_base_url("https://images.example.com/a/b", catalog()).await;
    for prefix in ["/a", "/a/c", "/A/B", "/a/b/a/b", "/a/b/x", "/a%2fb"] {
        site.get(&format!("{prefix}{FULL_ISO}")).await.assert_not_found();
    }
    site.get("/a/b").await.assert_not_found();
    site.get("/a/b/").await.assert_not_found();
}

#[tokio::test]
async fn a_redirect_keeps_the_path_in_front() {
    let site = Site::with_base_url("https://images.example.com/a/b", catalog()).await;
    let answer = site.get(&format!("/a/b//images/{ID}?version=4.18")).await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("location"), Some(&*format!("/a/b/images/{ID}?version=4.18")));
    site.get("/a/b//example.com/images/x").await.assert_not_found();
}
