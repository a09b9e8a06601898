//! Everything that is watched, and what it says together.
//!
//! Some objects are named by others: the pull secret, the mirrors' ConfigMap, bundles of CAs, what runs the image service.
//! Each is watched by name alone, so that the operator may be allowed to read these and no other Secret of the cluster.

mod named;
mod reduced;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coreos_names::{Arch, OpenshiftVersion};
use feed_format::{FEED_NAME, PULL_SECRET};
use kube::api::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::Notify;

use crate::crd::{ConfigMapRef, CoreosImageServiceSpec, NAME, PolicySpec, PullSecretRef};
use crate::kinds;
use crate::policy::Marks;
use crate::select::ImageSet;
use crate::watched::{Reading, WatchSettings, Watched};

pub(crate) use named::{ConfigData, NamedKey, NamedKind, SecretData};
use named::{Named, NamedObjects};
use reduced::Install;
pub(crate) use reduced::{AgentServiceConfig, Own};

/// Where pull secrets are kept on OpenShift.
const CLUSTER_PULL_SECRET: (&str, &str) = ("openshift-config", "pull-secret");
/// The bundle that assisted-service's operator makes of the cluster's CAs and the mirrors'.
const ASSISTED_CA_BUNDLE: &str = "assisted-trusted-ca-bundle";

/// The watches. They end when this is dropped.
pub(crate) struct Inputs {
    namespace: String,
    own: Watched<Own>,
    sets: Watched<ImageSet>,
    /// What is kept of each.
    marks: Marks,
    client: Client,
    settings: WatchSettings,
    changed: Arc<Notify>,
    installs: Watched<Install>,
    infra_envs: Watched<reduced::InfraEnv>,
    agent: Watched<AgentServiceConfig>,
    mirrors: [Watched<Value>; 3],
    named: NamedObjects,
}

/// What the cluster says, once all of it is known.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) sets: Vec<ImageSet>,
    /// The set that each AgentClusterInstall refers to, by its `namespace/name`.
    pub(crate) installs: BTreeMap<String, String>,
    pub(crate) os_image_versions: BTreeSet<OpenshiftVersion>,
    pub(crate) arches: BTreeSet<Arch>,
    pub(crate) agent: Option<AgentServiceConfig>,
    /// `ImageDigestMirrorSet`s and their like, in the order of their kinds and names.
    pub(crate) mirror_sets: Vec<Value>,
    /// The ConfigMap of `mirrorRegistryRef`.
    pub(crate) mirror_registry: Option<ConfigData>,
    /// The ConfigMaps with trusted CAs, in the order of the spec, each with its name for people.
    pub(crate) ca_bundles: Vec<(String, ConfigData)>,
    pub(crate) pull_secret: PullSecretSeen,
    /// The ConfigMap that we write ourselves.
    pub(crate) feed: Option<ConfigData>,
    /// What can be seen no more and is therefore taken as it was.
    pub(crate) stale: Vec<String>,
}

/// The Secret with the pull secret.
#[derive(Clone, Debug)]
pub(crate) struct PullSecretSeen {
    /// `namespace/name`, for people.
    pub(crate) place: String,
    /// Its key.
    pub(crate) key: String,
    /// `None` if it does not exist.
    pub(crate) data: Option<SecretData>,
}

impl Inputs {
    /// Starts every watch whose object is known by name or kind from the beginning.
    pub(crate) fn watch(
        client: &Client,
        namespace: &str,
        settings: &WatchSettings,
        changed: &Arc<Notify>,
    ) -> Self {
        let kind =
            |resource: &kube::api::ApiResource| Api::<DynamicObject>::all_with(client.clone(), resource);
        let all = watcher::Config::default;
        let marks = Marks::of(&PolicySpec::default());
        Self {
            namespace: namespace.to_owned(),
            own: Watched::start(
                Api::namespaced_with(client.clone(), namespace, &reduced::own_resource()),
                "CoreosImageService",
                all(),
                settings,
                Arc::clone(changed),
                reduced::own,
            ),
            sets: watch_sets(client, &marks, settings, changed),
            marks,
            client: client.clone(),
            settings: settings.clone(),
            changed: Arc::clone(changed),
            installs: Watched::start(
                kind(&kinds::agent_cluster_install()),
                "AgentClusterInstall",
                all(),
                settings,
                Arc::clone(changed),
                reduced::install,
            ),
            infra_envs: Watched::start(
                kind(&kinds::infra_env()),
                "InfraEnv",
                all(),
                settings,
                Arc::clone(changed),
                reduced::infra_env,
            ),
            agent: Watched::start(
                kind(&kinds::agent_service_config()),
                "AgentServiceConfig",
                all().fields(&format!("metadata.name={}", kinds::AGENT)),
                settings,
                Arc::clone(changed),
                reduced::agent_service_config,
            ),
            mirrors: [
                (kinds::image_digest_mirror_set(), reduced::digest_mirrors as fn(&DynamicObject) -> Value),
                (kinds::image_tag_mirror_set(), reduced::tag_mirrors),
                (kinds::image_content_source_policy(), reduced::content_sources),
            ]
            .map(|(resource, reduce)| {
                Watched::start(kind(&resource), &resource.kind, all(), settings, Arc::clone(changed), reduce)
            }),
            named: NamedObjects::new(client.clone(), settings.clone(), Arc::clone(changed)),
        }
    }

    /// Our own object. `None` if it does not exist; `Err` while that is not known.
    pub(crate) fn own(&self) -> Result<Option<Own>, String> {
        match self.own.reading() {
            Reading::NotYet(problem) => Err(not_read("CoreosImageService", problem)),
            Reading::NoSuchKind | Reading::KindGone => {
                Err("the CustomResourceDefinition of CoreosImageService is not installed".to_owned())
            }
            Reading::Known | Reading::Stale(_) => Ok(self.own.get(&self.namespace, NAME)),
        }
    }

    /// Watches exactly the objects that the spec and the cluster name now.
    pub(crate) fn follow(&mut self, spec: &CoreosImageServiceSpec) {
        let mut keys = BTreeSet::from([
            NamedKey::new(NamedKind::ConfigMap, &self.namespace, FEED_NAME),
            NamedKey::new(NamedKind::FeedSecret, &self.namespace, FEED_NAME),
            self.pull_secret(spec).0,
        ]);
        keys.extend(self.ca_bundles(spec));
        keys.extend(self.mirror_registry());
        keys.extend(spec.deployment_ref.as_ref().map(|deployment| {
            NamedKey::new(NamedKind::Workload(deployment.kind), &self.namespace, &deployment.name)
        }));
        self.named.follow(&keys);
        self.follow_sets(Marks::of(&spec.policy));
    }

    /// What was not kept has to be read again. Until then it is not known which sets a policy takes.
    fn follow_sets(&mut self, marks: Marks) {
        if self.marks != marks {
            self.sets = watch_sets(&self.client, &marks, &self.settings, &self.changed);
            self.marks = marks;
        }
    }

    /// What all of it says; `Err` with what is waited for while a part was never read.
    pub(crate) fn seen(&self, spec: &CoreosImageServiceSpec) -> Result<Seen, Vec<String>> {
        let mut waiting = Vec::new();
        let mut stale = Vec::new();
        if self.sets.reading() == Reading::NoSuchKind {
            waiting.push("ClusterImageSet: the cluster does not have this kind yet".to_owned());
        }
        let mut readings = vec![
            ("ClusterImageSet".to_owned(), self.sets.reading()),
            ("AgentClusterInstall".to_owned(), self.installs.reading()),
            ("InfraEnv".to_owned(), self.infra_envs.reading()),
            ("AgentServiceConfig".to_owned(), self.agent.reading()),
        ];
        readings.extend(
            ["ImageDigestMirrorSet", "ImageTagMirrorSet", "ImageContentSourcePolicy"]
                .into_iter()
                .zip(&self.mirrors)
                .map(|(kind, mirrors)| (kind.to_owned(), mirrors.reading())),
        );
        readings.extend(self.named.readings());
        for (what, reading) in readings {
            match reading {
                Reading::NotYet(problem) => waiting.push(not_read(&what, problem)),
                Reading::Stale(problem) => stale.push(format!("{what}: {problem}")),
                Reading::KindGone => stale.push(format!("{what}: the cluster has this kind no more")),
                Reading::Known | Reading::NoSuchKind => {}
            }
        }
        if !waiting.is_empty() {
            return Err(waiting);
        }

        let (secret_key, key) = self.pull_secret(spec);
        let infra_envs = self.infra_envs.objects();
        let config = |key: &NamedKey| match self.named.get(key) {
            Some(Named::Config(data)) => Some(data),
            _ => None,
        };
        Ok(Seen {
            sets: self.sets.objects(),
            installs: self
                .installs
                .entries()
                .into_iter()
                .filter_map(|((namespace, name), install)| {
                    Some((format!("{namespace}/{name}"), install.image_set?))
                })
                .collect(),
            os_image_versions: infra_envs
                .iter()
                .filter_map(|infra_env| infra_env.os_image_version.clone())
                .collect(),
            arches: infra_envs.iter().filter_map(|infra_env| infra_env.arch).chain(hub_arch()).collect(),
            agent: self.agent.get("", kinds::AGENT),
            mirror_sets: self.mirrors.iter().flat_map(Watched::objects).collect(),
            mirror_registry: self.mirror_registry().and_then(|key| config(&key)),
            ca_bundles: self
                .ca_bundles(spec)
                .iter()
                .filter_map(|key| Some((key.to_string(), config(key)?)))
                .collect(),
            pull_secret: PullSecretSeen {
                place: format!("{}/{}", secret_key.namespace, secret_key.name),
                key,
                data: match self.named.get(&secret_key) {
                    Some(Named::Secret(data)) => Some(data),
                    _ => None,
                },
            },
            feed: config(&NamedKey::new(NamedKind::ConfigMap, &self.namespace, FEED_NAME)),
            stale,
        })
    }

    fn pull_secret(&self, spec: &CoreosImageServiceSpec) -> (NamedKey, String) {
        let (namespace, name, key) = match &spec.pull_secret_ref {
            Some(PullSecretRef { namespace, name, key }) => {
                (namespace.as_ref().unwrap_or(&self.namespace).as_str(), name.as_str(), key.as_deref())
            }
            None => (CLUSTER_PULL_SECRET.0, CLUSTER_PULL_SECRET.1, None),
        };
        let key = key.unwrap_or(PULL_SECRET).to_owned();
        (NamedKey::new(NamedKind::Secret, namespace, name), key)
    }

    fn ca_bundles(&self, spec: &CoreosImageServiceSpec) -> Vec<NamedKey> {
        let default = || vec![ConfigMapRef { namespace: None, name: ASSISTED_CA_BUNDLE.to_owned() }];
        spec.trusted_ca_config_maps
            .clone()
            .unwrap_or_else(default)
            .iter()
            .map(|ConfigMapRef { namespace, name }| {
                NamedKey::new(NamedKind::ConfigMap, namespace.as_ref().unwrap_or(&self.namespace), name)
            })
            .collect()
    }

    /// assisted-service's operator looks for it in its own namespace, which is that of the image service.
    fn mirror_registry(&self) -> Option<NamedKey> {
        let name = self.agent.get("", kinds::AGENT)?.mirror_registry?;
        Some(NamedKey::new(NamedKind::ConfigMap, &self.namespace, &name))
    }
}

fn watch_sets(
    client: &Client,
    marks: &Marks,
    settings: &WatchSettings,
    changed: &Arc<Notify>,
) -> Watched<ImageSet> {
    let api = Api::all_with(client.clone(), &kinds::cluster_image_set());
    let marks = marks.clone();
    let reduce = move |object: &DynamicObject| reduced::image_set(object, &marks);
    let all = watcher::Config::default();
    Watched::start(api, "ClusterImageSet", all, settings, Arc::clone(changed), reduce)
}

fn not_read(what: &str, problem: Option<String>) -> String {
    problem.map_or_else(|| format!("{what}: not read yet"), |problem| format!("{what}: {problem}"))
}

/// The operator runs on the hub.
fn hub_arch() -> Option<Arch> {
    std::env::consts::ARCH.parse().ok().or_else(|| {
        // Rust's name for it does not tell the byte order.
        (cfg!(target_arch = "powerpc64") && cfg!(target_endian = "little")).then_some(Arch::Ppc64le)
    })
}

/// What [`Inputs`] gives for a kind whose objects carry nothing but strings.
pub(crate) type Strings = BTreeMap<String, String>;
