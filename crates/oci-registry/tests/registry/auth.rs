//! Tokens: who gets one, how long it is kept, and what is said when there is none.

use futures_util::future::join_all;
use oci_registry::{Error, PullSecret, Registry};
use test_support::registry::{Fault, TokenRegistry};

use crate::support::{
    PASSWORD, REPOSITORY, USER, builder, client, client_with, config, count, image_of, layer, pull_secret,
    reference, serve, shown,
};

#[tokio::test]
async fn every_call_may_run_in_a_task_of_its_own() {
    let (server, image) = serve(builder()).await;
    let (client, reference, layer) = (client(&server), reference(server.address()), layer(&image));
    let task = tokio::spawn(async move {
        let manifest = image_of(client.manifest(&reference).await?.kind);
        client.config(&reference, &manifest).await?;
        client.blob(&reference, &layer).await?.bytes(u64::MAX).await
    });
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn one_token_serves_a_repository_for_all_who_ask() {
    let (server, image) = serve(builder()).await;
    let client = client(&server);
    let reference = reference(server.address());
    for result in join_all((0..8).map(|_| client.manifest(&reference))).await {
        result.unwrap();
    }
    client.blob(&reference, &layer(&image)).await.unwrap();
    assert_eq!(count(&server, "/v2/"), 1);
    assert_eq!(count(&server, "/token"), 1);

    client.manifest(&reference.with_repository("other/repository").unwrap()).await.unwrap_err();
    assert_eq!(count(&server, "/v2/"), 1);
    assert_eq!(count(&server, "/token"), 2);
}

#[tokio::test]
async fn the_token_server_is_asked_for_pulling_only_and_introduced_to_the_user() {
    let (server, _) = serve(builder()).await;
    client(&server).manifest(&reference(server.address())).await.unwrap();
    let requests = server.requests();
    let token = requests.iter().find(|request| request.path == "/token").unwrap();
    assert!(token.query.contains("scope=repository%3Aopenshift%2Frelease%3Apull&"), "{}", token.query);
    assert!(token.query.contains(&format!("account={USER}")));
    assert!(token.header("authorization").unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn an_anonymous_registry_needs_no_pull_secret() {
    let (server, _) = serve(TokenRegistry::builder().anonymous()).await;
    client_with(&server, PullSecret::default()).manifest(&reference(server.address())).await.unwrap();
    let requests = server.requests();
    let token = requests.iter().find(|request| request.path == "/token").unwrap();
    assert_eq!(token.header("authorization"), None);
}

#[tokio::test]
async fn a_wrong_password_is_called_that() {
    let (server, _) = serve(builder()).await;
    let client = client_with(&server, pull_secret(server.address(), USER, "hunter3"));
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    let words = error.to_string();
    assert!(
        words.contains(&format!("refuses the credentials of pull secret entry {:?}", server.address())),
        "{words}"
    );
    assert!(words.contains("Invalid Username or Password"), "{words}");
    assert!(!shown(&error).contains("hunter3"));
}

#[tokio::test]
async fn missing_credentials_are_called_that() {
    let (server, _) = serve(builder()).await;
    let client = client_with(&server, pull_secret("quay.io", USER, PASSWORD));
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert!(error.to_string().contains("no entry of the pull secret matches"), "{error}");
}

#[tokio::test]
async fn a_token_that_is_good_for_nothing_means_no_access() {
    let (server, image) = serve(TokenRegistry::builder().user_of(USER, PASSWORD, &["other/"])).await;
    let client = client(&server);
    let reference = reference(server.address());
    let error = client.manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }) && error.is_unauthorized(), "{error:?}");
    assert!(error.to_string().contains("are valid, but not for it"), "{error}");
    assert_eq!(count(&server, "/token"), 1, "a fresh token is not worth a second try");

    let error = client.blob(&reference, &layer(&image)).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
}

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    let (server, image) = serve(builder()).await;
    let client = client(&server);
    let reference = reference(server.address());
    client.manifest(&reference).await.unwrap();
    server.revoke_tokens();
    client.blob(&reference, &layer(&image)).await.unwrap();
    assert_eq!(count(&server, "/token"), 2);

    server.inject("4.18.52-x86_64", Fault::status(401));
    server.clear_requests();
    client.manifest(&reference).await.unwrap_err();
    assert_eq!(count(&server, "/token"), 1);
    assert_eq!(count(&server, "4.18.52-x86_64"), 2);
}

#[tokio::test]
async fn a_registry_may_ask_as_late_as_it_likes() {
    let (server, _) = serve(builder().open_ping()).await;
    let client = client(&server);
    let reference = reference(server.address());
    client.manifest(&reference).await.unwrap();
    assert_eq!(count(&server, "4.18.52-x86_64"), 2);
    client.manifest(&reference).await.unwrap();
    assert_eq!(count(&server, "4.18.52-x86_64"), 3, "learnt for good");
}

#[tokio::test]
async fn a_password_is_not_sent_without_encryption_to_whom_the_registry_names() {
    let elsewhere = builder().start().await;
    let realm = format!("http://{}/token", elsewhere.address());
    let (server, _) = serve(builder().realm(&realm)).await;
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::PlainHttp { .. }), "{error:?}");
    assert!(error.to_string().contains(&realm), "{error}");
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn an_entry_that_cannot_be_used_is_named_by_its_key() {
    let (server, _) = serve(TokenRegistry::builder().anonymous()).await;
    let text =
        format!(r#"{{"auths":{{"{}":{{"auth":"***"}},"quay.io":{{"auth":"dTpw"}}}}}}"#, server.address());
    let client = client_with(&server, PullSecret::parse(&text).unwrap());
    let error = client.manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::UnusableEntry { .. }) && error.is_unauthorized(), "{error:?}");
    assert!(shown(&error).contains(&format!("pull secret entry {:?} has an", server.address())));
}

#[tokio::test]
async fn a_challenge_that_is_not_known_is_named() {
    let (server, _) = serve(builder()).await;
    let headers = vec![("www-authenticate", "Negotiate".to_owned())];
    server.inject("/v2/", Fault::Status(401, headers));
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(
        matches!(&error, Error::UnknownChallenge { schemes, .. } if schemes.as_str() == "negotiate"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_token_server_in_trouble_is_asked_again() {
    let (server, _) = serve(builder()).await;
    server.inject_once("/token", Fault::status(503));
    server.inject_once("/v2/", Fault::status(502));
    client(&server).manifest(&reference(server.address())).await.unwrap();

    server.inject("/token", Fault::status(404));
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(!error.is_not_found(), "it is the token that was not found, not the image");
    assert!(error.to_string().contains("/token answers 404"), "{error}");
}

#[tokio::test]
async fn an_answer_without_a_token_is_called_that() {
    let (server, _) = serve(builder()).await;
    server.inject("/token", Fault::Status(200, Vec::new()));
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::NoToken { .. }), "{error:?}");
}

#[tokio::test]
async fn the_entry_of_the_repository_is_preferred_to_that_of_the_registry() {
    let (server, _) = serve(builder()).await;
    let key = format!("{}/{REPOSITORY}", server.address());
    let client = Registry::new(config(pull_secret(&key, USER, PASSWORD), &[server.address()])).unwrap();
    client.manifest(&reference(server.address())).await.unwrap();
    let other = reference(server.address()).with_repository("openshift/other").unwrap();
    let error = client.manifest(&other).await.unwrap_err();
    assert!(error.to_string().contains("no entry of the pull secret matches"), "{error}");
}

#[tokio::test]
async fn a_refusal_without_a_question_is_called_that() {
    let (server, _) = serve(builder().open_ping()).await;
    server.inject("4.18.52-x86_64", Fault::status(403));
    let error = client(&server).manifest(&reference(server.address())).await.unwrap_err();
    assert!(
        error.to_string().contains("refuses without asking for credentials (FAULT: injected)"),
        "{error}"
    );
}
