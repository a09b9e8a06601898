use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};

use crate::site::{ID, Site};

fn token(claims: &str) -> String {
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// Both routes with a token, all else being right.
fn paths(token: &str) -> [String; 2] {
    ["bytoken", "byapikey"].map(|route| format!("/{route}/{token}/4.18/x86_64/full.iso"))
}

#[tokio::test]
async fn the_infra_env_is_the_one_named_in_the_token() {
    let site = Site::start().await;
    let other = "11111111-2222-3333-4444-555555555555";
    for claims in [
        format!(r#"{{"sub":"{ID}"}}"#),
        format!(r#"{{"infra_env_id":"{ID}"}}"#),
        format!(r#"{{"sub":"{ID}","infra_env_id":"{other}"}}"#),
    ] {
        for path in paths(&token(&claims)) {
            let iso = site.head(&path).await;
            assert_eq!(iso.status, 200, "{claims}");
            let disposition = format!("attachment; filename={ID}-discovery.iso");
            assert_eq!(iso.header("content-disposition"), Some(&*disposition));
        }
    }
    assert!(site.upstream.asked().iter().all(|asked| asked.path.contains(ID)));
}

#[tokio::test]
async fn payloads_are_read_in_both_alphabets_with_or_without_padding() {
    let site = Site::start().await;
    let claims = format!(r#"{{"sub":"{ID}","x":">>>~~~"}}"#);
    for engine in [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD] {
        let payload = engine.encode(&claims);
        assert!(!payload.contains('/'), "a slash would end the segment");
        for path in paths(&format!("e30.{payload}.c2ln")) {
            assert_eq!(site.head(&path).await.status, 200, "{payload}");
        }
    }
}

#[tokio::test]
async fn a_token_without_an_infra_env_is_not_found() {
    let site = Site::start().await;
    for (token, text) in [
        ("e30".to_owned(), "failed to parse JWT from URL"),
        ("e30.e30".to_owned(), "failed to parse JWT from URL"),
        (format!("e30.{}.c2ln", "A".repeat(20_000)), "failed to parse JWT from URL"),
        ("e30.eyJ*.c2ln".to_owned(), "illegal base64 data at input byte 3"),
        (token("hello"), "invalid character 'h' looking for beginning of value"),
        (
            token(r#"{"sub":7}"#),
            "json: cannot unmarshal number into Go struct field payload.sub of type string",
        ),
        (token("{}"), "InfraEnv ID not found in token"),
        (token(r#"{"sub":"../../x"}"#), "InfraEnv ID in token is not a UUID"),
        (token(&format!(r#"{{"sub":"{ID}\r\nx: y"}}"#)), "InfraEnv ID in token is not a UUID"),
    ] {
        for path in paths(&token) {
            site.get(&path).await.assert_plain(404, text);
        }
    }
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn a_long_token_is_passed_on_whole() {
    let site = Site::start().await;
    let long = token(&format!(r#"{{"sub":"{ID}","x":"{}"}}"#, "y".repeat(8_000)));
    for path in paths(&long) {
        assert_eq!(site.head(&path).await.status, 200);
    }
    let asked = site.upstream.asked();
    let tokens =
        asked.iter().filter(|asked| asked.headers.get("image-token").is_some_and(|token| *token == *long));
    let keys = asked.iter().filter(|asked| asked.query.get("api_key") == Some(&long));
    assert_eq!((tokens.count(), keys.count()), (2, 2));
}

#[tokio::test]
async fn of_several_things_wrong_the_token_is_told_first() {
    let site = Site::start().await;
    site.get("/bytoken/e30.e30/9.9/sparc/foo.iso").await.assert_plain(404, "failed to parse JWT from URL");
}
