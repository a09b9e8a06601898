//! A namespace with an image service's configuration, and operators that look after it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use feed_format::{FEED_NAME, RELEASE_IMAGES};
use image_operator::{Operator, Settings};
use kube::Client;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, PATIENCE};
use crate::payloads::TagPayloads;

pub(crate) const NAMESPACE: &str = "images";
/// What must never be seen outside of Secrets.
pub(crate) const PASSWORD: &str = "c2VjcmV0OnBhc3N3b3Jk";

pub(crate) struct Hub {
    pub(crate) cluster: Cluster,
    pub(crate) payloads: Arc<TagPayloads>,
}

impl Hub {
    /// A hub with a pull secret and an AgentServiceConfig, and with a CoreosImageService of the default policy.
    pub(crate) async fn new(cluster: Cluster) -> Self {
        let hub = Self { cluster, payloads: Arc::default() };
        hub.cluster.make_namespace(NAMESPACE).await;
        hub.cluster.make_namespace("openshift-config").await;
        hub.set_pull_secret(PASSWORD).await;
        hub
    }

    /// The same on a fake server, with all of it in place.
    pub(crate) async fn fake() -> Self {
        let hub = Self::new(Cluster::fake().await).await;
        hub.configure(json!({})).await;
        hub
    }

    /// Writes the CoreosImageService.
    pub(crate) async fn configure(&self, spec: Value) {
        self.apply(json!({
            "apiVersion": "coreos-image-service.io/v1alpha1",
            "kind": "CoreosImageService",
            "metadata": { "name": "coreos-image-service" },
            "spec": spec,
        }))
        .await;
    }

    pub(crate) async fn set_pull_secret(&self, password: &str) {
        let config = json!({"auths": {"r.example.com": {"auth": password}}}).to_string();
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull-secret" },
            "type": "kubernetes.io/dockerconfigjson",
            "data": { ".dockerconfigjson": k8s_openapi::ByteString(config.into_bytes()) },
        });
        self.cluster.apply_within(Some("openshift-config"), object).await;
    }

    /// Makes a ClusterImageSet for a release, with the labels that ACM gives to what it does not show.
    pub(crate) async fn set(&self, name: &str, release_image: &str) {
        self.labelled_set(name, release_image, json!({"channel": "fast", "visible": "false"})).await;
    }

    pub(crate) async fn labelled_set(&self, name: &str, release_image: &str, labels: Value) {
        self.apply(json!({
            "apiVersion": "hive.openshift.io/v1",
            "kind": "ClusterImageSet",
            "metadata": { "name": name, "labels": labels },
            "spec": { "releaseImage": release_image },
        }))
        .await;
    }

    /// Makes an AgentClusterInstall that refers to a set.
    pub(crate) async fn install(&self, name: &str, image_set: &str) {
        self.apply(json!({
            "apiVersion": "extensions.hive.openshift.io/v1beta1",
            "kind": "AgentClusterInstall",
            "metadata": { "name": name },
            "spec": { "imageSetRef": { "name": image_set } },
        }))
        .await;
    }

    /// Writes an object of a kind; those of namespaced kinds into the hub's namespace.
    pub(crate) async fn apply(&self, object: Value) {
        let namespace = namespace_of(object["kind"].as_str().unwrap());
        self.cluster.apply_within(namespace, object).await;
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        let api = self.cluster.api(kind, namespace_of(kind));
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// An object, if it exists and its kind, too.
    pub(crate) async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let object = self.cluster.api(kind, namespace_of(kind)).get_opt(name).await.ok()??;
        Some(serde_json::to_value(object).unwrap())
    }

    /// The versions that the feed lists, in its order; `None` if there is no feed.
    pub(crate) async fn listed(&self) -> Option<Vec<String>> {
        let config = self.get("ConfigMap", FEED_NAME).await?;
        let list: Vec<Value> = serde_json::from_str(config["data"][RELEASE_IMAGES].as_str()?).unwrap();
        Some(list.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect())
    }

    /// Waits until the feed lists these versions.
    pub(crate) async fn lists(&self, versions: &[&str]) {
        let mut last = None;
        let waiting = again_and_again(async || {
            last = self.listed().await;
            last.as_ref().is_some_and(|listed| listed == versions)
        });
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        let status = self.status().await;
        assert!(in_time, "expected {versions:?}, listed are {last:?}; status: {status:#}");
    }

    pub(crate) async fn status(&self) -> Value {
        let own = self.get("CoreosImageService", "coreos-image-service").await;
        own.map_or(Value::Null, |own| own["status"].clone())
    }

    /// A condition: its status, reason and message.
    pub(crate) async fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let status = self.status().await;
        let condition =
            status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)?;
        let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }

    /// Waits until a condition has this reason; gives its message.
    pub(crate) async fn says(&self, type_: &str, reason: &str) -> String {
        let mut last = None;
        let waiting = again_and_again(async || {
            last = self.condition(type_).await;
            last.as_ref().is_some_and(|(_, now, _)| now == reason)
        });
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "expected {type_} {reason}, it is {last:?}");
        last.unwrap().2
    }

    /// Starts an operator with times that suit a test.
    pub(crate) fn operate(&self, identity: &str) -> Operating {
        self.operate_with(settings(identity))
    }

    pub(crate) fn operate_with(&self, settings: Settings) -> Operating {
        let client = Client::try_from(self.cluster.config.clone()).unwrap();
        let payloads = Arc::clone(&self.payloads);
        let operator = Operator::new(client, settings, payloads, prometheus::Registry::new()).unwrap();
        let router = operator.router();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move { operator.run(async { drop(stopped.await) }).await });
        Operating { router, stop: Some(stop), task: Some(task) }
    }
}

pub(crate) fn settings(identity: &str) -> Settings {
    let mut settings = Settings::new(NAMESPACE.to_owned(), identity.to_owned());
    settings.settle = Duration::from_millis(5);
    settings.watch.first_retry = Duration::from_millis(20);
    settings.watch.longest_retry = Duration::from_millis(200);
    settings.read.first_retry = Duration::from_millis(50);
    settings.read.longest_retry = Duration::from_millis(200);
    settings.election.retry = Duration::from_millis(50);
    settings
}

/// An operator that runs. Dropping it ends it without a word, as a crash would.
pub(crate) struct Operating {
    router: Router,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Operating {
    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.take().unwrap().await.unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        use tower_service::Service;
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// The value of a series.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let text = self.get("/metrics").await.1;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Waits until a series has a value that suits.
    pub(crate) async fn until(&self, series: &str, suits: impl Fn(u64) -> bool) {
        eventually(series, async || suits(self.metric(series).await)).await;
    }

    pub(crate) async fn leads(&self, leads: bool) {
        self.until("coreos_image_operator_leader", |value| (value > 0) == leads).await;
    }
}

impl Drop for Operating {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn namespace_of(kind: &str) -> Option<&'static str> {
    let foreign = crate::cluster::FOREIGN.iter().find(|(_, _, name, _, _)| *name == kind);
    match foreign {
        Some((_, _, _, _, namespaced)) => namespaced.then_some(NAMESPACE),
        None if kind == "CustomResourceDefinition" => None,
        None => Some(NAMESPACE),
    }
}

/// Asks again and again until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let in_time = tokio::time::timeout(PATIENCE, again_and_again(async || so().await)).await.is_ok();
    assert!(in_time, "never came true: {what}");
}

async fn again_and_again(mut so: impl AsyncFnMut() -> bool) {
    while !so().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
