//! A registry that is set up anew at the same address, while the client lives.

use oci_registry::{Error, PullSecret, Reference, Registry};
use test_support::NOBODY;
use test_support::payload::{Artifact, Compression, MediaTypes};
use test_support::registry::{DockerRegistry, Fault, FaultProxy, TokenRegistry, TokenRegistryBuilder};

use crate::support::{REPOSITORY, builder, client, config, count, image, pull_secret, reference, serve};

const OTHER: &str = "openshift/other";

fn docker(with_tls: bool) -> DockerRegistry {
    let server = if with_tls { DockerRegistry::start_with_tls() } else { DockerRegistry::start() };
    for repository in [REPOSITORY, OTHER] {
        let pushed = Artifact::from(image(MediaTypes::Docker, Compression::Gzip));
        server.push(&format!("{repository}:4.18.52-x86_64"), &pushed);
    }
    server
}

fn tokens() -> TokenRegistryBuilder {
    TokenRegistry::builder().user(DockerRegistry::USER, DockerRegistry::PASSWORD)
}

async fn token_registry(builder: TokenRegistryBuilder) -> TokenRegistry {
    let server = builder.start().await;
    for repository in [REPOSITORY, OTHER] {
        let published = Artifact::from(image(MediaTypes::Docker, Compression::Gzip));
        server.publish(repository, "4.18.52-x86_64", &published);
    }
    server
}

fn wants(challenge: &str) -> Fault {
    Fault::Status(401, vec![("www-authenticate", challenge.to_owned())])
}

/// One address, at which there is now one registry and now another.
struct Site {
    line: FaultProxy,
    client: Registry,
}

impl Site {
    /// The registry, and the token servers that are not at its own address.
    async fn new(first: &str, token_servers: &[&str]) -> Self {
        let line = FaultProxy::start(first).await;
        let secret = pull_secret(line.address(), DockerRegistry::USER, DockerRegistry::PASSWORD);
        let insecure = [&[line.address()], token_servers].concat();
        let client = Registry::new(config(secret, &insecure)).unwrap();
        Self { line, client }
    }

    fn reference(&self, repository: &str) -> Reference {
        reference(self.line.address()).with_repository(repository).unwrap()
    }

    async fn pulls(&self, repository: &str) {
        self.client.manifest(&self.reference(repository)).await.unwrap();
    }
}

#[tokio::test]
async fn passwords_may_give_way_to_tokens() {
    let (first, second) = (docker(false), token_registry(tokens()).await);
    let site = Site::new(first.address(), &[second.address()]).await;
    site.pulls(REPOSITORY).await;
    site.line.lead_to(second.address());
    for repository in [REPOSITORY, REPOSITORY, OTHER] {
        site.pulls(repository).await;
    }
    assert_eq!(count(&second, "/token"), 2);
    // A connection that has just been closed may be the first to tell of the change.
    assert!(count(&second, "/v2/") <= 1);
}

#[tokio::test]
async fn tokens_may_give_way_to_passwords() {
    let (first, second) = (token_registry(tokens()).await, docker(false));
    let site = Site::new(first.address(), &[first.address()]).await;
    site.pulls(REPOSITORY).await;
    site.line.lead_to(second.address());
    // The token is still good in the eyes of the client.
    for repository in [REPOSITORY, OTHER] {
        site.pulls(repository).await;
    }
    assert_eq!(count(&first, "/token"), 1);
}

#[tokio::test]
async fn a_token_server_may_vanish() {
    for fault in [Fault::status(404), Fault::status(401), Fault::Redirect(format!("http://{NOBODY}/"))] {
        let (first, second) = (token_registry(tokens()).await, docker(false));
        let site = Site::new(first.address(), &[first.address(), NOBODY]).await;
        site.pulls(REPOSITORY).await;
        site.line.lead_to(second.address());
        first.inject("/token", fault);
        site.pulls(OTHER).await;
    }
    let (first, second) = (token_registry(tokens()).await, docker(false));
    let site = Site::new(first.address(), &[first.address()]).await;
    site.pulls(REPOSITORY).await;
    site.line.lead_to(second.address());
    drop(first);
    site.pulls(OTHER).await;
}

#[tokio::test]
async fn tokens_may_come_from_elsewhere() {
    let (first, second) = (token_registry(tokens()).await, token_registry(tokens()).await);
    let site = Site::new(first.address(), &[first.address(), second.address()]).await;
    site.pulls(REPOSITORY).await;
    site.line.lead_to(second.address());
    site.pulls(REPOSITORY).await;
    assert_eq!((count(&first, "/token"), count(&second, "/token")), (1, 1));
}

#[tokio::test]
async fn what_a_refusal_wants_counts_from_then_on() {
    let (server, _) = serve(builder()).await;
    let (client, reference) = (client(&server), reference(server.address()));
    client.manifest(&reference).await.unwrap();
    let challenge = format!("Bearer realm=\"http://{}/token?tenant=a\"", server.address());
    server.inject_once("4.18.52-x86_64", wants(&challenge));
    server.clear_requests();
    for _ in 0..2 {
        client.manifest(&reference).await.unwrap();
    }
    assert_eq!((count(&server, "/v2/"), count(&server, "4.18.52-x86_64")), (0, 3));
    let requests = server.requests();
    let tokens: Vec<_> = requests.iter().filter(|request| request.path == "/token").collect();
    assert!(tokens.len() == 1 && tokens[0].query.starts_with("tenant=a&"), "{tokens:?}");
}

#[tokio::test]
async fn an_insecure_registry_may_begin_to_speak_tls() {
    let plain = token_registry(tokens()).await;
    // This one answers 400 to plain HTTP,
    let docker = docker(true);
    let site = Site::new(plain.address(), &[plain.address()]).await;
    site.pulls(REPOSITORY).await;
    site.line.lead_to(docker.address());
    site.pulls(REPOSITORY).await;

    // and this one with an alert.
    let alert = token_registry(tokens().tls()).await;
    let site = Site::new(plain.address(), &[plain.address(), alert.address()]).await;
    site.pulls(REPOSITORY).await;
    site.line.lead_to(alert.address());
    site.pulls(REPOSITORY).await;
    assert_eq!(count(&alert, "/v2/"), 1);
}

#[tokio::test]
async fn an_insecure_registry_may_cease_to_speak_tls() {
    let (first, second) = (docker(true), token_registry(tokens()).await);
    let site = Site::new(first.address(), &[second.address()]).await;
    site.pulls(REPOSITORY).await;
    site.line.lead_to(second.address());
    site.pulls(REPOSITORY).await;
    assert_eq!(count(&second, "/v2/"), 1);
}

#[tokio::test]
async fn tls_is_not_given_up_where_it_is_wanted() {
    let (first, second) = (docker(true), docker(false));
    let line = FaultProxy::start(first.address()).await;
    let secret = PullSecret::parse(&first.pull_secret().replace(first.address(), line.address())).unwrap();
    let trusting = oci_registry::Config {
        trusted_ca_pem: Some(first.ca_pem().as_bytes().to_vec()),
        ..config(secret, &[])
    };
    let client = Registry::new(trusting).unwrap();
    let image = reference(line.address());
    client.manifest(&image).await.unwrap();
    line.lead_to(second.address());
    let error = client.manifest(&image).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    assert!(second.requests().iter().all(|request| request.user_agent.starts_with("skopeo")));
}

#[tokio::test]
async fn who_changes_with_every_answer_is_not_asked_for_ever() {
    let (server, _) = serve(builder()).await;
    let (client, reference) = (client(&server), reference(server.address()));
    for _ in 0..10 {
        server.inject_once("4.18.52-x86_64", wants("Basic realm=\"x\""));
        let bearer = format!("Bearer realm=\"http://{}/token\"", server.address());
        server.inject_once("4.18.52-x86_64", wants(&bearer));
    }
    let error = client.manifest(&reference).await.unwrap_err();
    assert!(error.is_unauthorized(), "{error:?}");
    assert_eq!(count(&server, "4.18.52-x86_64"), 4);
}

#[tokio::test]
async fn one_that_has_not_changed_is_looked_at_once_and_not_asked_again() {
    let (server, _) = serve(builder()).await;
    let (client, reference) = (client(&server), reference(server.address()));
    client.manifest(&reference).await.unwrap();
    server.revoke_tokens();
    server.inject("/token", Fault::status(404));
    server.clear_requests();
    client.manifest(&reference).await.unwrap_err();
    // The first token was refused.
    assert_eq!(count(&server, "4.18.52-x86_64"), 1);
    client.manifest(&reference).await.unwrap_err();
    assert_eq!((count(&server, "/v2/"), count(&server, "/token")), (1, 2));
    assert_eq!(count(&server, "4.18.52-x86_64"), 1);
}
