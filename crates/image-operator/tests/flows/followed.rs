//! What the operator writes, read by what image services read it with.

use std::collections::BTreeSet;
use std::sync::Arc;

use feed_format::{
    CONFIGURATION, FEED_NAME, MIRRORS, PULL_SECRET, REGISTRIES_CONF, RELEASE_IMAGES, TRUSTED_CA,
};
use image_feed::{Cluster, Environment, Feed, Patience, Source};
use image_store::Catalog;
use k8s_openapi::ByteString;
use oci_registry::Config;
use serde_json::{Value, json};
use test_support::registry::Certificate;

use crate::hub::{Hub, NAMESPACE, eventually};

/// A hub on which every part of a feed has a source.
async fn hub_with_everything() -> Hub {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    for object in [
        json!({
            "apiVersion": "config.openshift.io/v1", "kind": "ImageDigestMirrorSet", "metadata": {"name": "mirrors"},
            "spec": {"imageDigestMirrors": [{"source": "quay.io/ocp", "mirrors": ["sets.example.com/ocp"]}]},
        }),
        json!({
            "apiVersion": "agent-install.openshift.io/v1beta1", "kind": "AgentServiceConfig", "metadata": {"name": "agent"},
            "spec": {"mirrorRegistryRef": {"name": "mirror-config"}},
        }),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mirror-config"},
            "data": {
                "registries.conf": "[[registry]]\nlocation = 'quay.io'\n[[registry.mirror]]\nlocation = 'conf.example.com'\n",
                "ca-bundle.crt": Certificate::generate().ca_pem,
            },
        }),
    ] {
        hub.apply(object).await;
    }
    hub
}

fn keys(object: &Value) -> BTreeSet<String> {
    object["data"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn every_key_that_the_operator_writes_is_one_that_image_services_read() {
    let hub = hub_with_everything().await;
    let operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    let written = || {
        let fake = hub.cluster.faulty();
        let get = |plural| fake.get(plural, NAMESPACE, FEED_NAME);
        get("configmaps").zip(get("secrets"))
    };
    let everything = [MIRRORS, REGISTRIES_CONF, RELEASE_IMAGES, TRUSTED_CA].map(str::to_owned).into();
    eventually("every part is written", async || {
        written().is_some_and(|(config, _)| keys(&config) == everything)
    })
    .await;
    operator.stop().await;
    let (config, secret) = written().unwrap();
    assert_eq!(keys(&secret), BTreeSet::from([PULL_SECRET.to_owned()]));
    assert!(keys(&config).iter().all(|key| CONFIGURATION.contains(&key.as_str())), "{config}");

    let environment = Environment {
        os_images: Vec::new(),
        releases: Vec::new(),
        registry: Config::default(),
        has_pull_secret: false,
    };
    let catalog = Arc::new(Catalog::default());
    let cluster = Cluster::with_client(hub.cluster.client.clone(), NAMESPACE, true, Patience::default());
    let (feed, list) = Feed::new(environment, None, Source::Cluster(cluster), Arc::clone(&catalog)).unwrap();
    let following = tokio::spawn(feed.run());
    eventually("the list is what was written", async || {
        let list = list.borrow();
        list.is_complete && list.releases.iter().any(|release| release.version.to_string() == "4.18.1")
    })
    .await;
    assert_eq!(catalog.list().problem, None);

    // What nobody reads cannot be complained of.
    for (object, key) in
        keys(&config).iter().map(|key| (&config, key)).chain([(&secret, &PULL_SECRET.to_owned())])
    {
        let mut broken = object.clone();
        broken["data"][key] = match object["kind"].as_str() {
            Some("Secret") => json!(ByteString(b"no such thing".to_vec())),
            _ => json!("no such thing"),
        };
        hub.cluster.faulty().put(broken);
        eventually(&format!("{key} is complained of"), async || catalog.list().problem.is_some()).await;
        hub.cluster.faulty().put(object.clone());
        eventually("all is well again", async || catalog.list().problem.is_none()).await;
    }
    following.abort();
}
