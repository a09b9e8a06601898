//! Tokens in place of passwords: exchanged for others, or shown as they are.

use futures_util::future::join_all;
use oci_registry::{Error, PullSecret, Registry};
use test_support::registry::{DockerRegistry, TokenRegistry, TokenRegistryBuilder};

use crate::support::{
    PASSWORD, REPOSITORY, USER, builder, client_with, config, count, layer, reference, serve, shown,
};

const TOKEN: &str = "an-identity-token";

fn token_builder() -> TokenRegistryBuilder {
    builder().identity_token(USER, TOKEN)
}

/// A pull secret with an entry of one field, beside the user's name that `docker login` writes.
fn entry(server: &TokenRegistry, field: &str, value: &str) -> PullSecret {
    // base64 of `<token>:`
    let text =
        format!(r#"{{"auths":{{"{}":{{"auth":"PHRva2VuPjo=","{field}":"{value}"}}}}}}"#, server.address());
    PullSecret::parse(&text).unwrap()
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let (server, image) = serve(token_builder()).await;
    let client = client_with(&server, entry(&server, "identitytoken", TOKEN));
    let reference = reference(server.address());
    client.manifest(&reference).await.unwrap();
    client.blob(&reference, &layer(&image)).await.unwrap();
    server.revoke_tokens();
    client.manifest(&reference).await.unwrap();

    let requests = server.requests();
    let exchanges: Vec<_> = requests.iter().filter(|request| request.path == "/token").collect();
    assert_eq!(exchanges.len(), 2);
    for exchange in exchanges {
        assert_eq!((exchange.method.as_str(), exchange.query.as_str()), ("POST", ""));
        assert_eq!(exchange.header("authorization"), None);
    }
}

#[tokio::test]
async fn a_token_that_comes_back_is_the_one_to_use_next() {
    let (server, _) = serve(token_builder().changing_identity_tokens()).await;
    let client = client_with(&server, entry(&server, "identitytoken", TOKEN));
    let reference = reference(server.address());
    // At the same time: a token that is shown twice would be refused.
    let others = (0..4).map(|n| reference.with_repository(&format!("{REPOSITORY}/{n}")).unwrap());
    let others: Vec<_> = others.collect();
    for result in join_all(others.iter().map(|other| client.manifest(other))).await {
        assert!(result.unwrap_err().is_not_found());
    }
    client.manifest(&reference).await.unwrap();
    assert_eq!(count(&server, "/token"), 5);
}

#[tokio::test]
async fn an_identity_token_that_is_not_known_means_wrong_credentials() {
    let (server, _) = serve(token_builder()).await;
    let client = client_with(&server, entry(&server, "identitytoken", "another-token"));
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(error.to_string().contains("refuses the credentials of pull secret entry"), "{error}");
    assert!(error.to_string().contains("invalid_grant"), "{error}");
    assert!(!shown(&error).contains("another-token"));
}

#[tokio::test]
async fn an_identity_token_may_be_good_for_other_repositories_only() {
    let limited = TokenRegistry::builder().user_of(USER, PASSWORD, &["other/"]).identity_token(USER, TOKEN);
    let (server, _) = serve(limited).await;
    let client = client_with(&server, entry(&server, "identitytoken", TOKEN));
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn an_identity_token_is_not_posted_without_encryption_to_whom_the_registry_names() {
    let elsewhere = token_builder().start().await;
    let realm = format!("http://{}/token", elsewhere.address());
    let (server, _) = serve(token_builder().realm(&realm)).await;
    let client = client_with(&server, entry(&server, "identitytoken", TOKEN));
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::PlainHttp { .. }), "{error:?}");
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn an_identity_token_is_of_no_use_where_passwords_are_wanted() {
    let server = DockerRegistry::start();
    let text = format!(r#"{{"auths":{{"{}":{{"identitytoken":"{TOKEN}"}}}}}}"#, server.address());
    let secret = PullSecret::parse(&text).unwrap();
    let client = Registry::new(config(secret, &[server.address()])).unwrap();
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::UnusableEntry { .. }), "{error:?}");
    assert!(shown(&error).contains("has only an identity token, but this registry wants user and password"));
}

#[tokio::test]
async fn a_registry_token_is_shown_as_it_is() {
    let (server, _) = serve(builder()).await;
    let reference = reference(server.address());
    let token = server.token_for(REPOSITORY);
    let client = client_with(&server, entry(&server, "registrytoken", &token));
    client.manifest(&reference).await.unwrap();
    assert_eq!(count(&server, "/token"), 0);

    server.revoke_tokens();
    let error = client.manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "nobody has vouched for it: {error:?}");
    assert!(!shown(&error).contains(&token));
}
