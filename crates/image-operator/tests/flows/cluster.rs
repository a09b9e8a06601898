//! An API server with the kinds that the operator reads.

use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    PostParams,
};
use kube::config::AuthInfo;
use kube::{Client, Config};
use serde_json::{Value, json};
use test_support::kubernetes::{ApiServer, FakeKubernetes};
use tokio::sync::{Mutex, MutexGuard};

use crate::hub::eventually;

/// Kinds of others: group, version, kind, plural, whether namespaced.
pub(crate) const FOREIGN: &[(&str, &str, &str, &str, bool)] = &[
    ("hive.openshift.io", "v1", "ClusterImageSet", "clusterimagesets", false),
    ("extensions.hive.openshift.io", "v1beta1", "AgentClusterInstall", "agentclusterinstalls", true),
    ("agent-install.openshift.io", "v1beta1", "InfraEnv", "infraenvs", true),
    ("agent-install.openshift.io", "v1beta1", "AgentServiceConfig", "agentserviceconfigs", false),
    ("config.openshift.io", "v1", "ImageDigestMirrorSet", "imagedigestmirrorsets", false),
    ("config.openshift.io", "v1", "ImageTagMirrorSet", "imagetagmirrorsets", false),
    ("operator.openshift.io", "v1alpha1", "ImageContentSourcePolicy", "imagecontentsourcepolicies", false),
];

/// One real server serves all tests of this process, one at a time: what is not in a namespace is shared.
static REAL: LazyLock<Option<Mutex<ApiServer>>> = LazyLock::new(|| ApiServer::start().map(Mutex::new));

pub(crate) struct Cluster {
    pub(crate) config: Config,
    pub(crate) client: Client,
    /// `None` for a real server.
    pub(crate) fake: Option<FakeKubernetes>,
    _turn: Option<MutexGuard<'static, ApiServer>>,
}

impl Cluster {
    /// A fake server that has every kind.
    pub(crate) async fn fake() -> Self {
        let cluster = Self::fake_without_kinds().await;
        cluster.define_own().await;
        for (_, _, kind, _, _) in FOREIGN {
            cluster.define(kind).await;
        }
        cluster
    }

    /// A fake server that has only what every cluster has.
    pub(crate) async fn fake_without_kinds() -> Self {
        test_support::install_crypto_provider();
        let fake = FakeKubernetes::start().await;
        let config = Config::new(fake.url().as_str().parse().unwrap());
        let client = Client::try_from(config.clone()).unwrap();
        Self { config, client, fake: Some(fake), _turn: None }
    }

    /// The real server, cleared of what other tests left; or a word that there is none.
    pub(crate) async fn real() -> Option<Self> {
        let Some(server) = &*REAL else {
            eprintln!("SKIPPED against a real kube-apiserver: {} is not set", ApiServer::ASSETS);
            return None;
        };
        test_support::install_crypto_provider();
        let turn = server.lock().await;
        let mut config = Config::new(turn.url().as_str().parse().unwrap());
        config.accept_invalid_certs = true;
        config.auth_info = AuthInfo { token: Some(turn.token().to_owned().into()), ..AuthInfo::default() };
        let client = Client::try_from(config.clone()).unwrap();
        eventually("the API server is ready", async || client.apiserver_version().await.is_ok()).await;
        let cluster = Self { config, client, fake: None, _turn: Some(turn) };
        cluster.define_own().await;
        for (_, _, kind, _, namespaced) in FOREIGN {
            cluster.define(kind).await;
            let api = cluster.api(kind, None);
            eventually("the kind is served", async || api.list(&ListParams::default()).await.is_ok()).await;
            for object in api.list(&ListParams::default()).await.unwrap() {
                let name = object.metadata.name.unwrap();
                let namespace = object.metadata.namespace.filter(|_| *namespaced);
                let api = cluster.api(kind, namespace.as_deref());
                api.delete(&name, &DeleteParams::default()).await.unwrap();
            }
        }
        Some(cluster)
    }

    /// The fake server.
    pub(crate) fn faulty(&self) -> &FakeKubernetes {
        self.fake.as_ref().expect("faults can be injected into the fake alone")
    }

    pub(crate) async fn define_own(&self) {
        self.apply_definition(&image_operator::crd::definition()).await;
    }

    /// Makes one of the foreign kinds known, with a schema that takes everything.
    pub(crate) async fn define(&self, kind: &str) {
        let (group, version, kind, plural, namespaced) =
            *FOREIGN.iter().find(|(_, _, name, _, _)| *name == kind).unwrap();
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        self.apply_definition(&json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": {
                "group": group,
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
                "scope": if namespaced { "Namespaced" } else { "Cluster" },
                "versions": [{
                    "name": version, "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": anything },
                    "subresources": { "status": {} },
                }],
            },
        }))
        .await;
    }

    /// Not by server-side apply, which before Kubernetes 1.25 refuses the rules that a schema may have since.
    async fn apply_definition(&self, definition: &Value) {
        let object = serde_json::from_value(definition.clone()).unwrap();
        match self.api("CustomResourceDefinition", None).create(&PostParams::default(), &object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            created => drop(created.unwrap()),
        }
    }

    /// Server-side apply as an admin.
    pub(crate) async fn apply_within(&self, namespace: Option<&str>, object: Value) {
        let kind = object["kind"].as_str().unwrap();
        let name = object["metadata"]["name"].as_str().unwrap();
        self.api(kind, namespace)
            .patch(name, &PatchParams::apply("admin").force(), &Patch::Apply(&object))
            .await
            .unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    pub(crate) async fn make_namespace(&self, name: &str) {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        namespaces.patch(name, &PatchParams::apply("admin"), &Patch::Apply(object)).await.unwrap();
    }

    pub(crate) fn api(&self, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = resource(kind);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

fn resource(kind: &str) -> ApiResource {
    let (group, version, plural) = match kind {
        "CoreosImageService" => ("coreos-image-service.io", "v1alpha1", "coreosimageservices"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
        "ConfigMap" => ("", "v1", "configmaps"),
        "Secret" => ("", "v1", "secrets"),
        "Deployment" => ("apps", "v1", "deployments"),
        "StatefulSet" => ("apps", "v1", "statefulsets"),
        "Event" => ("events.k8s.io", "v1", "events"),
        "Lease" => ("coordination.k8s.io", "v1", "leases"),
        kind => {
            let found = FOREIGN.iter().find(|(_, _, name, _, _)| *name == kind);
            let (group, version, _, plural, _) = found.unwrap_or_else(|| panic!("{kind}"));
            (*group, *version, *plural)
        }
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// How long anything may take before a test gives up. It decides no test that passes.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
