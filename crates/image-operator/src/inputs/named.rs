use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;

use super::Strings;
use crate::crd::WorkloadKind;
use crate::kinds;
use crate::watched::{Reading, WatchSettings, Watched};

/// One object that another one names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedKey {
    pub(crate) kind: NamedKind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What kind of object it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NamedKind {
    ConfigMap,
    Secret,
    /// The Secret that we write ourselves: only that it changed is of interest.
    FeedSecret,
    Workload(WorkloadKind),
}

impl NamedKey {
    pub(crate) fn new(kind: NamedKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            NamedKind::ConfigMap => "ConfigMap",
            NamedKind::Secret | NamedKind::FeedSecret => "Secret",
            NamedKind::Workload(WorkloadKind::Deployment) => "Deployment",
            NamedKind::Workload(WorkloadKind::StatefulSet) => "StatefulSet",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// The text entries of a ConfigMap.
pub(crate) type ConfigData = Strings;

/// The entries of a Secret. Only their names can be printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretData(BTreeMap<String, Vec<u8>>);

impl SecretData {
    /// One entry's bytes.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Config(ConfigData),
    Secret(SecretData),
    /// It is read again when it is written to; here only a change matters.
    Version(Option<String>),
}

/// The watches of single objects.
pub(super) struct NamedObjects {
    client: Client,
    settings: WatchSettings,
    changed: Arc<Notify>,
    watches: BTreeMap<NamedKey, Watched<Named>>,
}

impl NamedObjects {
    pub(super) const fn new(client: Client, settings: WatchSettings, changed: Arc<Notify>) -> Self {
        Self { client, settings, changed, watches: BTreeMap::new() }
    }

    /// Starts and ends watches so that these objects are watched and no others.
    pub(super) fn follow(&mut self, keys: &BTreeSet<NamedKey>) {
        self.watches.retain(|key, _| keys.contains(key));
        for key in keys {
            if !self.watches.contains_key(key) {
                self.watches.insert(key.clone(), self.start(key));
            }
        }
    }

    pub(super) fn get(&self, key: &NamedKey) -> Option<Named> {
        self.watches.get(key)?.get(&key.namespace, &key.name)
    }

    pub(super) fn readings(&self) -> impl Iterator<Item = (String, Reading)> {
        self.watches.iter().map(|(key, watched)| (key.to_string(), watched.reading()))
    }

    fn start(&self, key: &NamedKey) -> Watched<Named> {
        let client = self.client.clone();
        let what = key.to_string();
        let selection = watcher::Config::default().fields(&format!("metadata.name={}", key.name));
        let changed = Arc::clone(&self.changed);
        match key.kind {
            NamedKind::ConfigMap => {
                let api = Api::<ConfigMap>::namespaced(client, &key.namespace);
                Watched::start(api, &what, selection, &self.settings, changed, |object| {
                    Named::Config(object.data.clone().unwrap_or_default())
                })
            }
            NamedKind::Secret => {
                let api = Api::<Secret>::namespaced(client, &key.namespace);
                Watched::start(api, &what, selection, &self.settings, changed, |object| {
                    let data = object.data.clone().unwrap_or_default();
                    Named::Secret(SecretData(data.into_iter().map(|(key, value)| (key, value.0)).collect()))
                })
            }
            NamedKind::FeedSecret => {
                let api = Api::<Secret>::namespaced(client, &key.namespace);
                Watched::start(api, &what, selection, &self.settings, changed, |object| {
                    Named::Version(object.metadata.resource_version.clone())
                })
            }
            NamedKind::Workload(kind) => {
                let api =
                    Api::<DynamicObject>::namespaced_with(client, &key.namespace, &kinds::workload(kind));
                // Its status changes all the time; the generation counts changes of the spec.
                Watched::start(api, &what, selection, &self.settings, changed, |object| {
                    Named::Version(
                        object
                            .metadata
                            .generation
                            .map(|generation| generation.to_string())
                            .or(object.resource_version()),
                    )
                })
            }
        }
    }
}
