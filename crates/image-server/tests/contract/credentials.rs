use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::site::{FULL_ISO, ID, Site};

/// What each of the two calls to assisted-service for one request carried: `api_key`, `Image-Token`, `Authorization`.
async fn sent(path: &str, headers: &[(&str, &str)]) -> (Option<String>, Option<String>, Option<String>) {
    let site = Site::start().await;
    let separator = if path.contains('?') { '&' } else { '?' };
    let answer = site.get_with(&format!("{path}{separator}version=4.18&type=full-iso"), headers).await;
    assert_eq!(answer.status, 200, "{path}");
    let mut all: Vec<_> = site
        .upstream
        .asked()
        .into_iter()
        .map(|mut asked| {
            let header = |name| asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let (token, authorization) = (header("image-token"), header("authorization"));
            (asked.query.remove("api_key"), token, authorization)
        })
        .collect();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0], all[1]);
    all.remove(0)
}

fn token() -> String {
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{ID}"}}"#)))
}

const AUTHORIZATION: &[(&str, &str)] = &[("authorization", "Bearer b")];

#[tokio::test]
async fn a_key_in_the_path_goes_before_everything() {
    let token = token();
    let path = format!("/byapikey/{token}/4.18/x86_64/full.iso?api_key=k&image_token=t");
    assert_eq!(sent(&path, AUTHORIZATION).await, (Some(token), None, None));
}

#[tokio::test]
async fn a_key_in_the_query_goes_before_any_token() {
    let path = format!("/bytoken/{}/4.18/x86_64/full.iso?image_token=t&api_key=k%20%26", token());
    assert_eq!(sent(&path, AUTHORIZATION).await, (Some("k &".to_owned()), None, None));
}

#[tokio::test]
async fn a_token_in_the_path_goes_before_one_in_the_query() {
    let token = token();
    let path = format!("/bytoken/{token}/4.18/x86_64/full.iso?image_token=t%0a");
    assert_eq!(sent(&path, AUTHORIZATION).await, (None, Some(token), None));
}

#[tokio::test]
async fn a_token_in_the_query_goes_before_the_authorization_header() {
    for path in [format!("/images/{ID}?image_token=t"), format!("{FULL_ISO}?image_token=t")] {
        assert_eq!(sent(&path, AUTHORIZATION).await, (None, Some("t".to_owned()), None));
    }
}

#[tokio::test]
async fn the_authorization_header_is_passed_on_where_there_is_nothing_else() {
    assert_eq!(sent(FULL_ISO, AUTHORIZATION).await, (None, None, Some("Bearer b".to_owned())));
    assert_eq!(sent(FULL_ISO, &[("authorization", "")]).await, (None, None, None));
    assert_eq!(sent(FULL_ISO, &[]).await, (None, None, None));
}

#[tokio::test]
async fn a_token_that_is_no_header_is_refused() {
    let site = Site::start().await;
    let answer = site.get(&format!("{FULL_ISO}?image_token=a%0ab")).await;
    answer.assert_plain(400, "invalid value for parameter 'image_token'");
    assert!(site.upstream.asked().is_empty());
}
