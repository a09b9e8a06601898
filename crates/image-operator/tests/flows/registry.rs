//! Release images in a registry that asks for passwords, read by the client that the image service uses.

use std::sync::Arc;

use coreos_names::Arch;
use image_operator::Operator;
use image_operator::payloads::RegistryPayloads;
use kube::Client;
use oci_registry::Config;
use release_signature::{Keyring, SignaturePolicy};
use serde_json::json;
use test_support::gpg::{Gpg, statement};
use test_support::payload::{Content, ReleaseBuilder};
use test_support::registry::TokenRegistry;

use crate::cluster::Cluster;
use crate::hub::{Hub, settings};

#[tokio::test]
async fn versions_and_architectures_are_read_from_the_release_itself() {
    const REPOSITORY: &str = "ocp/release";
    let hub = Hub::new(Cluster::fake().await).await;
    hub.configure(json!({"fillOsImages": false, "policy": {"architectures": ["x86_64", "arm64", "s390x"]}}))
        .await;
    let registry = TokenRegistry::builder().user("puller", "secret").tls().start().await;
    // Nothing of an ISO is ever asked for.
    let iso = || Content::from_bytes(b"no ISO".to_vec());
    let multi = ReleaseBuilder::new("4.18.52", "418.94.202501010000-0")
        .iso(Arch::X86_64, iso())
        .iso(Arch::Arm64, iso())
        .multi();
    let single = ReleaseBuilder::new("4.17.9", "417.94.202501010000-0").iso(Arch::S390x, iso());
    for (tag, release) in [("a", multi), ("b", single)] {
        registry.publish(REPOSITORY, tag, &release.build().unwrap().image);
    }
    let url = |tag: &str| format!("{}/{REPOSITORY}:{tag}", registry.address());
    for (set, tag) in [("a", "a"), ("b", "b"), ("none", "missing")] {
        hub.set(set, &url(tag)).await;
        hub.install(set, set).await;
    }

    let client = Client::try_from(hub.cluster.config.clone()).unwrap();
    let payloads = Arc::new(RegistryPayloads::new(Config::default(), None));
    let operator = Operator::new(client, settings("a"), payloads, prometheus::Registry::new()).unwrap();
    let _running = tokio::spawn(async move { operator.run(std::future::pending()).await });

    // Neither the certificate nor the password is known yet.
    let message = hub.says("Degraded", "ReleasesFailed").await;
    assert!(message.contains("certificate") || message.contains("Certificate"), "{message}");
    hub.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "assisted-trusted-ca-bundle"},
        "data": {"ca-bundle.crt": registry.ca_pem()},
    }))
    .await;
    crate::hub::eventually("the registry is reached", async || {
        let (_, _, message) = hub.condition("Degraded").await.unwrap();
        !message.to_lowercase().contains("certificate")
    })
    .await;
    let config = json!({"auths": {registry.address(): {"auth": "cHVsbGVyOnNlY3JldA=="}}}).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull-secret"}, "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": k8s_openapi::ByteString(config.into_bytes())},
    });
    hub.cluster.apply_within(Some("openshift-config"), secret).await;
    hub.lists(&["4.18.52-multi", "4.17.9"]).await;

    let message = hub.says("Degraded", "ReleasesFailed").await;
    assert!(message.starts_with("none: ") && message.contains("missing"), "{message}");
    let status = hub.status().await;
    let release = |name: &str| {
        let releases = status["releases"].as_array().unwrap();
        releases.iter().find(|release| release["name"] == name).unwrap()
    };
    assert_eq!(release("a")["arches"], json!(["x86_64", "arm64"]));
    assert_eq!(release("a")["osBuilds"]["arm64"], "418.94.202501010000-0");
    assert_eq!(release("b")["arches"], json!(["s390x"]));
}

#[tokio::test]
async fn where_keys_are_given_only_releases_that_they_have_signed_are_listed() {
    const REPOSITORY: &str = "ocp/release";
    let hub = Hub::fake().await;
    hub.configure(json!({"policy": {"architectures": ["x86_64"]}})).await;
    let registry = TokenRegistry::builder().anonymous().tls().start().await;
    let (gpg, store) = (Gpg::new(), tempfile::tempdir().unwrap());
    let key = gpg.key("Publisher", "ed25519");
    for (set, version, is_signed) in [("signed", "4.18.52", true), ("unsigned", "4.18.53", false)] {
        let release = ReleaseBuilder::new(version, "418.94.202501010000-0")
            .iso(Arch::X86_64, Content::from_bytes(b"no ISO".to_vec()));
        let image = release.build().unwrap().image;
        registry.publish(REPOSITORY, set, &image);
        if is_signed {
            let digest = image.digest();
            let directory = store.path().join(digest.replace(':', "="));
            std::fs::create_dir(&directory).unwrap();
            let signature = gpg.sign(&[&key], &statement(&digest));
            std::fs::write(directory.join("signature-1"), signature).unwrap();
        }
        hub.set(set, &format!("{}/{REPOSITORY}:{set}", registry.address())).await;
        hub.install(set, set).await;
    }
    let policy = SignaturePolicy::new(release_signature::Config {
        keyrings: vec![Keyring::read("publisher.gpg", &gpg.export(&[&key])).unwrap()],
        stores: vec![store.path().to_str().unwrap().parse().unwrap()],
        trusted_ca_pem: None,
        user_agent: "test".to_owned(),
    });
    let config = Config { trusted_ca_pem: Some(registry.ca_pem().as_bytes().to_vec()), ..Config::default() };
    let client = Client::try_from(hub.cluster.config.clone()).unwrap();
    let payloads = Arc::new(RegistryPayloads::new(config, Some(policy.unwrap())));
    let operator = Operator::new(client, settings("a"), payloads, prometheus::Registry::new()).unwrap();
    let _running = tokio::spawn(async move { operator.run(std::future::pending()).await });
    hub.lists(&["4.18.52"]).await;
    let message = hub.says("Degraded", "ReleasesFailed").await;
    assert!(message.starts_with("unsigned: ") && message.contains("sign"), "{message}");
}
