//! A ConfigMap and a Secret.

use std::time::Duration;

use feed_format::FEED_NAME;
use image_feed::{Cluster, Patience, Source};
use image_store::{ImageStore, Limits};
use serde_json::{Value, json};
use test_support::kubernetes::{Call, FakeKubernetes, Matching, Trouble};

use crate::site::{Site, releases};

/// `{"auths":{}}`
const PULL_SECRET: &str = "eyJhdXRocyI6e319";
/// The same with a user and a password for `r.io`.
const OTHER_PULL_SECRET: &str = "eyJhdXRocyI6eyJyLmlvIjp7InVzZXJuYW1lIjoiYSIsInBhc3N3b3JkIjoiYiJ9fX0=";

const PATIENCE: Patience = Patience {
    shortest: Duration::from_millis(10),
    longest: Duration::from_millis(50),
    forbidden: Duration::from_millis(20),
};

const NAMESPACE: &str = "assisted-installer";

/// Creates the object of this kind, or replaces it.
fn put(server: &FakeKubernetes, kind: &str, data: &Value) {
    let metadata = json!({"name": FEED_NAME, "namespace": NAMESPACE});
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data});
    if kind == "Secret" {
        object["type"] = json!("kubernetes.io/dockerconfigjson");
    }
    server.put(object);
}

/// How many lists of ConfigMaps were asked for.
fn lists(server: &FakeKubernetes) -> usize {
    let is_list = |call: &&Call| call.method == "GET" && call.path.ends_with("/configmaps");
    server.calls().iter().filter(is_list).count()
}

fn client(server: &FakeKubernetes) -> kube::Client {
    kube::Client::try_from(kube::Config::new(server.url().as_str().parse().unwrap())).unwrap()
}

fn config(pullspecs: &[&str]) -> Value {
    json!({"release-images.json": releases(pullspecs)})
}

fn secret(base64: &str) -> Value {
    json!({".dockerconfigjson": base64})
}

fn start(server: &FakeKubernetes, is_required: bool) -> Site {
    test_support::install_crypto_provider();
    let cluster = Cluster::with_client(client(server), NAMESPACE, is_required, PATIENCE);
    Site::start(Source::Cluster(cluster), None)
}

/// A feed that is at work, with `r.io/a:1`.
async fn at_work() -> (FakeKubernetes, Site) {
    let server = FakeKubernetes::start().await;
    put(&server, "ConfigMap", &config(&["r.io/a:1"]));
    put(&server, "Secret", &secret(PULL_SECRET));
    let site = start(&server, true);
    site.until(&["r.io/environment:1", "r.io/a:1"]).await;
    (server, site)
}

#[tokio::test]
async fn changes_of_both_objects_are_followed() {
    let (server, site) = at_work().await;
    let first = site.list().registry;
    put(&server, "ConfigMap", &config(&["r.io/a:1", "r.io/b:1"]));
    site.until(&["r.io/environment:1", "r.io/a:1", "r.io/b:1"]).await;
    assert!(site.list().registry.is_same(&first), "nothing has changed for it");
    put(&server, "Secret", &secret(OTHER_PULL_SECRET));
    site.wait("there is another client", |site| !site.list().registry.is_same(&first)).await;
    put(&server, "ConfigMap", &config(&[]));
    site.until(&["r.io/environment:1"]).await;
    assert_eq!(lists(&server), 1, "it was watched all the time");

    // A Role that names the two objects allows no more.
    for call in server.calls() {
        assert!(call.query.contains("fieldSelector=metadata.name%3Dcoreos-image-service-feed"), "{call:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_waited_for_and_what_is_deleted_leaves_the_environment() {
    let server = FakeKubernetes::start().await;
    let site = start(&server, true);
    site.until(&[]).await;
    put(&server, "Secret", &secret(PULL_SECRET));
    site.until(&["r.io/environment:1"]).await;
    put(&server, "ConfigMap", &config(&["r.io/a:1"]));
    site.until(&["r.io/environment:1", "r.io/a:1"]).await;
    server.delete("configmaps", NAMESPACE, FEED_NAME);
    site.until(&["r.io/environment:1"]).await;
}

#[tokio::test]
async fn a_pull_secret_that_is_gone_takes_nothing_with_it() {
    let (server, site) = at_work().await;
    let (registry, applied) = (site.list().registry, site.catalog.statistics().applied_lists());
    server.delete("secrets", NAMESPACE, FEED_NAME);
    site.until_refused(1).await;
    assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"]);
    assert!(site.list().is_complete && site.list().registry.is_same(&registry));
    let problem = site.catalog.list().problem;
    assert_eq!(problem.as_deref(), Some(".dockerconfigjson: it was there, and is not any more"));

    put(&server, "Secret", &secret(PULL_SECRET));
    site.wait("all is well again", |site| site.catalog.list().problem.is_none()).await;
    assert_eq!(site.catalog.statistics().applied_lists(), applied, "nothing has changed");
    assert!(site.list().registry.is_same(&registry));
}

#[tokio::test]
async fn a_watch_that_breaks_or_is_too_old_is_begun_anew() {
    let (server, site) = at_work().await;
    server.interrupt_watches();
    put(&server, "ConfigMap", &config(&["r.io/b:1"]));
    site.until(&["r.io/environment:1", "r.io/b:1"]).await;
    let before = lists(&server);
    server.compact();
    put(&server, "ConfigMap", &config(&["r.io/c:1"]));
    site.until(&["r.io/environment:1", "r.io/c:1"]).await;
    assert!(lists(&server) > before, "it was listed again");
    assert_eq!(site.catalog.statistics().refused_lists(), 0);
}

/// A watch that is refused keeps the version at which it was to begin. When that is forgotten meanwhile, only a new list
/// helps.
#[tokio::test]
async fn a_version_that_is_forgotten_before_the_watch_begins_is_not_insisted_on() {
    let (server, site) = at_work().await;
    server.trouble(Matching::new("WATCH", "/configmaps"), Trouble::Status(500), usize::MAX);
    server.compact();
    let is_watch = |call: &&Call| call.method == "WATCH" && call.path.ends_with("/configmaps");
    let watches = || server.calls().iter().filter(is_watch).count();
    let begun = watches();
    site.wait("watches were refused", |_| watches() > begun + 3).await;
    server.compact();
    put(&server, "ConfigMap", &config(&["r.io/b:1"]));
    server.heal();
    site.until(&["r.io/environment:1", "r.io/b:1"]).await;
    put(&server, "ConfigMap", &config(&["r.io/c:1"]));
    site.until(&["r.io/environment:1", "r.io/c:1"]).await;
}

#[tokio::test]
async fn what_is_deleted_while_nobody_watches_is_noticed() {
    let (server, site) = at_work().await;
    server.refuse_everything(503);
    server.interrupt_watches();
    server.delete("configmaps", NAMESPACE, FEED_NAME);
    let asked = server.calls().len();
    site.wait("it was asked in vain", |_| server.calls().len() > asked + 3).await;
    assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"], "nobody knows yet");
    server.compact();
    server.heal();
    site.until(&["r.io/environment:1"]).await;
}

#[tokio::test]
async fn without_permission_the_environment_counts_until_there_is_one() {
    for is_required in [true, false] {
        let server = FakeKubernetes::start().await;
        put(&server, "ConfigMap", &config(&["r.io/a:1"]));
        put(&server, "Secret", &secret(PULL_SECRET));
        server.refuse_everything(403);
        let site = start(&server, is_required);
        site.until(&[]).await;
        server.heal();
        site.until(&["r.io/environment:1", "r.io/a:1"]).await;

        // Taken away again, it takes nothing with it.
        server.refuse_everything(403);
        server.interrupt_watches();
        let asked = server.calls().len();
        site.wait("it was asked in vain", |_| server.calls().len() > asked + 3).await;
        assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"]);
    }
}

#[tokio::test]
async fn a_list_is_complete_without_a_feed_only_where_none_may_be_read() {
    for is_required in [true, false] {
        let server = FakeKubernetes::start().await;
        server.refuse_everything(500);
        let site = start(&server, is_required);
        site.wait("it was asked in vain", |_| server.calls().len() > 10).await;
        assert!(!site.list().is_complete, "there may be a feed");
        server.refuse_everything(404);
        site.until(&[]).await;
    }
}

#[tokio::test]
async fn a_start_without_the_api_server_begins_with_what_the_feed_was_last() {
    let directory = tempfile::tempdir().unwrap();
    let store = ImageStore::open(directory.path(), Limits::default()).unwrap();
    let server = FakeKubernetes::start().await;
    put(&server, "ConfigMap", &config(&["r.io/a:1"]));
    put(&server, "Secret", &secret(OTHER_PULL_SECRET));
    let start = || {
        test_support::install_crypto_provider();
        let cluster = Cluster::with_client(client(&server), NAMESPACE, false, PATIENCE);
        Site::start(Source::Cluster(cluster.remembering(store.clone())), None)
    };
    let remembered = || store.remembered_feed::<Value>().unwrap();
    let site = start();
    site.until(&["r.io/environment:1", "r.io/a:1"]).await;
    site.wait("it is kept", |_| remembered().is_some()).await;
    assert!(!remembered().unwrap().to_string().contains("auths"), "secrets are not kept");
    drop(site);

    server.refuse_everything(503);
    let site = start();
    let is_as_before =
        |site: &Site| !site.list().is_complete && site.pullspecs() == ["r.io/environment:1", "r.io/a:1"];
    assert!(is_as_before(&site));
    for status in [503, 403] {
        server.refuse_everything(status);
        let asked = server.calls().len();
        site.wait("it was asked in vain", |_| server.calls().len() > asked + 6).await;
        assert!(is_as_before(&site), "{:?}", site.list());
    }
    put(&server, "ConfigMap", &config(&["r.io/b:1"]));
    server.heal();
    site.until(&["r.io/environment:1", "r.io/b:1"]).await;
    drop(site);

    // A feed that is gone for good is no feed at the next start.
    server.delete("configmaps", NAMESPACE, FEED_NAME);
    let site = start();
    site.until(&["r.io/environment:1"]).await;
    site.wait("it is forgotten", |_| remembered().is_none()).await;
}

#[tokio::test]
async fn a_broken_object_keeps_the_list() {
    let (server, site) = at_work().await;
    put(&server, "ConfigMap", &json!({"release-images.json": "{"}));
    site.until_refused(1).await;
    assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"]);
    assert!(site.catalog.list().problem.is_some());
    put(&server, "Secret", &secret("bm90IEpTT04="));
    site.until_refused(2).await;
    assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"]);
    put(&server, "ConfigMap", &config(&["r.io/b:1"]));
    put(&server, "Secret", &secret(PULL_SECRET));
    site.until(&["r.io/environment:1", "r.io/b:1"]).await;
    assert_eq!(site.catalog.list().problem, None);
}
