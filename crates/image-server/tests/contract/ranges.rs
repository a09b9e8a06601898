use bytes::Bytes;
use reqwest::Method;

use crate::site::{FULL_ISO, Site};

const KERNEL: &str = "/boot-artifacts/kernel?version=4.18";

/// Everything that is served, whole: the customised ISO and an artifact.
async fn whole(site: &Site) -> [(&'static str, Bytes); 2] {
    [(FULL_ISO, site.get(FULL_ISO).await.body), (KERNEL, site.get(KERNEL).await.body)]
}

#[tokio::test]
async fn a_range_is_answered_with_these_bytes_only() {
    let site = Site::start().await;
    for (path, whole) in whole(&site).await {
        let len = whole.len();
        for (range, expected) in [
            ("bytes=0-99".to_owned(), 0..100),
            ("bytes=0-0".to_owned(), 0..1),
            (format!("bytes={}-", len - 1), len - 1..len),
            ("bytes=-100".to_owned(), len - 100..len),
            (format!("bytes={}-{}", len - 10, len + 10), len - 10..len),
            (format!("bytes=-{}", len + 1), 0..len),
            ("bytes=1000-700000".to_owned(), 1000..700_001),
        ] {
            let part = site.get_with(path, &[("range", &range)]).await;
            assert_eq!(part.status, 206, "{range}");
            assert!(part.body == whole[expected.clone()], "{range}");
            let content_range = format!("bytes {}-{}/{len}", expected.start, expected.end - 1);
            assert_eq!(part.header("content-range"), Some(&*content_range));
            assert_eq!(part.header("content-length"), Some(&*expected.len().to_string()));
            for name in ["etag", "last-modified", "content-disposition", "accept-ranges"] {
                assert!(part.headers.contains_key(name), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_head_with_a_range_has_the_headers_of_the_part() {
    let site = Site::start().await;
    let part = site.request(Method::HEAD, KERNEL, &[("range", "bytes=5-9")]).await;
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-length"), Some("5"));
    assert!(part.header("content-range").unwrap().starts_with("bytes 5-9/"));
}

#[tokio::test]
async fn ranges_put_together_are_the_whole() {
    let site = Site::start().await;
    for (path, whole) in whole(&site).await {
        let mut offset = 0;
        let mut len = 1;
        while offset < whole.len() {
            let end = whole.len().min(offset + len);
            let part = site.get_with(path, &[("range", &format!("bytes={offset}-{}", end - 1))]).await;
            assert!(part.body == whole[offset..end], "{offset}-{end}");
            offset = end;
            len = len * 3 + 1;
        }
    }
}

#[tokio::test]
async fn a_range_beyond_the_end_cannot_be_satisfied() {
    let site = Site::start().await;
    for (path, whole) in whole(&site).await {
        let len = whole.len();
        for range in [format!("bytes={len}-"), format!("bytes={len}-{}", len + 5), "bytes=-0".to_owned()] {
            let answer = site.get_with(path, &[("range", &range)]).await;
            answer.assert_line(416, "invalid range: failed to overlap");
            assert_eq!(answer.header("content-range"), Some(&*format!("bytes */{len}")));
            assert!(answer.headers.contains_key("content-disposition"));
            for name in ["accept-ranges", "last-modified", "etag"] {
                assert!(!answer.headers.contains_key(name), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_not_one_range_of_bytes_is_ignored() {
    let site = Site::start().await;
    let len = site.head(KERNEL).await.header("content-length").unwrap().to_owned();
    for range in [
        "bytes=",
        "bytes=,,",
        "bytes=9-5",
        "bytes=a-b",
        "lines=0-5",
        "garbage",
        "bytes=0-1,5-6",
        "bytes=0-1,9999999999-",
    ] {
        let answer = site.get_with(KERNEL, &[("range", range)]).await;
        assert_eq!(answer.status, 200, "{range}");
        assert_eq!(answer.header("content-length"), Some(&*len));
        assert_eq!(answer.header("content-range"), None);
    }
    let twice = site.get_with(KERNEL, &[("range", "bytes=0-1"), ("range", "bytes=5-6")]).await;
    assert_eq!(twice.status, 200);
}
