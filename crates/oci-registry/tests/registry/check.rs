//! Trying a pull secret: what can be said of it, and what cannot.

use oci_registry::{CheckTarget, Config, PullSecret, Registry, Verdict};
use test_support::NOBODY;
use test_support::payload::{Artifact, Compression, MediaTypes};
use test_support::registry::{Certificate, DockerRegistry, Fault, TokenRegistry};

use crate::support::{
    PASSWORD, REPOSITORY, USER, builder, client, client_with, config, image, pull_secret, serve,
};

async fn check(client: &Registry, target: impl AsRef<str>) -> Verdict {
    client.check(&target.as_ref().parse::<CheckTarget>().unwrap()).await
}

/// Name and words.
async fn told(client: &Registry, target: impl AsRef<str>) -> (&'static str, String) {
    let verdict = check(client, target).await;
    (verdict.name(), verdict.to_string())
}

#[tokio::test]
async fn a_token_server_is_asked_for_what_is_meant() {
    let server = serve(TokenRegistry::builder().user_of(USER, PASSWORD, &["openshift/"])).await.0;
    let client = client(&server);
    let address = server.address();
    for (target, name) in [
        (address.to_owned(), "ok"),
        (format!("{address}/{REPOSITORY}"), "ok"),
        (format!("{address}/{REPOSITORY}:4.18.52-x86_64"), "ok"),
        (format!("{address}/openshift/none"), "not-found"),
        (format!("{address}/{REPOSITORY}:none"), "not-found"),
        (format!("{address}/other/image"), "no-pull-access"),
        (format!("{address}/other/image:tag"), "no-pull-access"),
    ] {
        let verdict = check(&client, &target).await;
        assert_eq!(verdict.name(), name, "{target}: {verdict}");
        assert_eq!(verdict.entry(), Some(address), "{target}");
        // Keys are often the beginnings of repositories' names only.
        assert_eq!(verdict.is_ok(), name == "ok" || target.ends_with("openshift/none"), "{target}");
    }
    let (_, words) = told(&client, format!("{address}/other/image")).await;
    assert!(words.contains(&format!("are valid, but no pull access to {address}/other/image")), "{words}");
}

#[tokio::test]
async fn an_identity_token_is_tried_as_well() {
    let server = serve(builder().identity_token(USER, "identity")).await.0;
    let secret = |token: &str| {
        PullSecret::parse(&format!(r#"{{"auths":{{"{}":{{"identitytoken":"{token}"}}}}}}"#, server.address()))
            .unwrap()
    };
    let good = client_with(&server, secret("identity"));
    assert_eq!(told(&good, server.address()).await.0, "ok");
    assert_eq!(told(&good, format!("{}/{REPOSITORY}", server.address())).await.0, "ok");
    let bad = client_with(&server, secret("another"));
    assert_eq!(told(&bad, server.address()).await.0, "wrong-credentials");
}

#[tokio::test]
async fn wrong_credentials_and_none_are_told_apart() {
    let (server, docker) = (serve(builder()).await.0, DockerRegistry::start());
    for address in [server.address(), docker.address()] {
        let name = address.split_once(':').unwrap().0;
        for target in [address.to_owned(), format!("{address}/{REPOSITORY}")] {
            let wrong = pull_secret(address, USER, "hunter3");
            let wrong = Registry::new(config(wrong, &[address])).unwrap();
            let (verdict, words) = told(&wrong, &target).await;
            assert_eq!(verdict, "wrong-credentials", "{target}: {words}");
            assert!(words.starts_with(&format!("wrong credentials in entry {address:?}")), "{words}");

            let without_port = Registry::new(config(pull_secret(name, USER, PASSWORD), &[address])).unwrap();
            let (verdict, words) = told(&without_port, &target).await;
            assert_eq!(verdict, "no-entry", "{target}: {words}");
            assert!(words.contains(&format!("did you mean {address:?} by {name:?}?")), "{words}");
        }
    }
    let broken = PullSecret::parse(&format!(r#"{{"auths":{{"{}":{{"auth":"*"}}}}}}"#, docker.address()));
    let broken = Registry::new(config(broken.unwrap(), &[docker.address()])).unwrap();
    assert_eq!(told(&broken, docker.address()).await.0, "unusable-entry");
}

#[tokio::test]
async fn a_registry_with_passwords_is_asked_for_what_is_meant() {
    let server = DockerRegistry::start();
    server.push("openshift/release:4.18", &Artifact::from(image(MediaTypes::Docker, Compression::Gzip)));
    let secret = PullSecret::parse(&server.pull_secret()).unwrap();
    let client = Registry::new(config(secret, &[server.address()])).unwrap();
    for (path, name, ok) in [
        ("", "ok", true),
        ("/openshift/release", "ok", true),
        ("/openshift/release:4.18", "ok", true),
        ("/openshift", "not-found", true),
        ("/openshift/release:4.19", "not-found", false),
    ] {
        let verdict = check(&client, format!("{}{path}", server.address())).await;
        assert_eq!((verdict.name(), verdict.is_ok()), (name, ok), "{path}: {verdict}");
    }
}

#[tokio::test]
async fn who_is_not_asked_is_anonymous() {
    let server = serve(TokenRegistry::builder().anonymous()).await.0;
    let nobody = client_with(&server, PullSecret::default());
    for target in [server.address().to_owned(), format!("{}/{REPOSITORY}", server.address())] {
        let verdict = check(&nobody, target).await;
        assert!(matches!(verdict, Verdict::Anonymous { entry: None }) && verdict.is_ok(), "{verdict}");
    }

    server.inject("/v2/", Fault::Status(200, Vec::new()));
    let verdict = check(&client(&server), server.address()).await;
    assert!(matches!(verdict, Verdict::Anonymous { entry: Some(_) }), "{verdict}");
    assert!(verdict.to_string().contains("were not tried"), "{verdict}");
}

#[tokio::test]
async fn a_certificate_of_a_private_authority_is_not_trusted() {
    let server = DockerRegistry::start_with_tls();
    let strict = config(PullSecret::parse(&server.pull_secret()).unwrap(), &[]);
    let (name, words) = told(&Registry::new(strict.clone()).unwrap(), server.address()).await;
    assert_eq!(name, "untrusted-certificate", "{words}");
    assert!(words.starts_with("certificate not trusted: "), "{words}");
    assert!(!server.log().contains("GET /v2/"), "nothing was asked");

    let ca = |pem: &str| Config { trusted_ca_pem: Some(pem.into()), ..strict.clone() };
    let other = Registry::new(ca(&Certificate::generate().ca_pem)).unwrap();
    assert_eq!(told(&other, server.address()).await.0, "untrusted-certificate");
    let trusting = Registry::new(ca(server.ca_pem())).unwrap();
    assert_eq!(told(&trusting, server.address()).await.0, "ok");
}

#[tokio::test]
async fn who_does_not_answer_is_unreachable() {
    let client = Registry::new(config(pull_secret(NOBODY, USER, PASSWORD), &[])).unwrap();
    let (name, words) = told(&client, NOBODY).await;
    assert_eq!(name, "unreachable", "{words}");
    assert!(words.starts_with("unreachable: no answer from https://"), "{words}");

    // Plain HTTP where TLS is expected is no matter of trust.
    let server = serve(builder()).await.0;
    let client = Registry::new(config(pull_secret(server.address(), USER, PASSWORD), &[])).unwrap();
    let (name, words) = told(&client, server.address()).await;
    assert_eq!(name, "unreachable", "{words}");
}

#[tokio::test]
async fn trouble_says_nothing_of_the_credentials() {
    let server = serve(builder()).await.0;
    server.inject("/token", Fault::status(503));
    let verdict = check(&client(&server), server.address()).await;
    assert_eq!((verdict.name(), verdict.is_ok(), verdict.entry()), ("failed", false, None), "{verdict}");
    assert!(verdict.to_string().contains("/token answers 503"), "{verdict}");
}
