//! A ConfigMap and a Secret that are watched through the pod's own service account.
//!
//! Each is watched by its name alone, for which a Role that names the two is enough. A watch that ends or breaks is gone on
//! with by `kube`. One that cannot be begun is begun here from a new list: `kube` would ask for the same version again and
//! again, be it long forgotten. This also waits between attempts, remembers what was read last, and tells in words what is
//! wrong, once.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use coreos_names::WithCauses;
use feed_format::{Documents, FEED_NAME, PULL_SECRET};
use futures_util::StreamExt as _;
use image_store::ImageStore;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::memory::Memory;

/// Where a pod finds the token of its service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Longer than the API server lets a watch last. A connection that says nothing for so long is dead.
const SILENCE: Duration = Duration::from_secs(295);

/// The API server of a cluster, and the namespace in which the feed is.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    is_required: bool,
    patience: Patience,
    memory: Option<ImageStore>,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { namespace, is_required, patience, .. } = self;
        f.debug_struct("Cluster")
            .field("namespace", namespace)
            .field("is_required", is_required)
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

/// How long to wait after a failure.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After the first of a row. Each further wait is twice as long, and all vary at random.
    pub shortest: Duration,
    /// The wait that is never exceeded.
    pub longest: Duration,
    /// While the service account is not allowed to read.
    pub forbidden: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            shortest: Duration::from_millis(800),
            longest: Duration::from_secs(30),
            forbidden: Duration::from_mins(1),
        }
    }
}

/// There is no cluster that can be asked.
#[derive(Debug, thiserror::Error)]
pub enum NoCluster {
    /// Neither a kubeconfig nor a service account says where it is.
    #[error("nothing says where the API server is")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What they say cannot be used.
    #[error("the API server cannot be asked")]
    Client(#[source] Box<kube::Error>),
}

impl Cluster {
    /// The cluster that KUBECONFIG names, or else the one that this pod runs in. The feed has to be there.
    pub async fn infer() -> Result<Self, NoCluster> {
        let config = Config::infer().await.map_err(|error| NoCluster::Unknown(Box::new(error)))?;
        Self::new(config, true)
    }

    /// The cluster that this pod runs in, if it does and has a service account. That may be one that may not read the
    /// feed.
    pub fn of_pod() -> Option<Result<Self, NoCluster>> {
        let is_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(TOKEN).exists();
        let config = || Config::incluster().map_err(|error| NoCluster::Unknown(Box::new(error)));
        is_pod.then(|| Self::new(config()?, false))
    }

    fn new(mut config: Config, is_required: bool) -> Result<Self, NoCluster> {
        config.read_timeout = Some(SILENCE);
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| NoCluster::Client(Box::new(error)))?;
        Ok(Self::with_client(client, &namespace, is_required, Patience::default()))
    }

    #[doc(hidden)]
    pub fn with_client(client: Client, namespace: &str, is_required: bool, patience: Patience) -> Self {
        Self { client, namespace: namespace.to_owned(), is_required, patience, memory: None }
    }

    /// The same, keeping what the feed asks for in this store, and beginning with it where the API server is away.
    #[must_use]
    pub fn remembering(self, store: ImageStore) -> Self {
        Self { memory: Some(store), ..self }
    }

    /// What is kept of an earlier process. Reads a small file.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.memory.clone().map(Memory::open)
    }

    /// Begins to watch.
    pub(crate) fn watch(self) -> Readings {
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let changes = seen.subscribe();
        let cluster = Arc::new(self);
        let mut watches = JoinSet::new();
        watches.spawn({
            let (cluster, seen) = (Arc::clone(&cluster), Arc::clone(&seen));
            async move {
                let put = |state: &mut Seen, object: Option<ConfigMap>| {
                    state.config.put(object.and_then(|object| object.data).unwrap_or_default());
                };
                cluster.follow("ConfigMap", &seen, put, |state| &mut state.config.is_given_up).await;
            }
        });
        watches.spawn(async move {
            let put = |state: &mut Seen, object: Option<Secret>| {
                let secret = object.and_then(|object| object.data?.remove(PULL_SECRET));
                // What is not text is no pull secret either way, and is told so.
                state.secret.put(secret.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()));
            };
            cluster.follow("Secret", &seen, put, |state| &mut state.secret.is_given_up).await;
        });
        Readings { changes, _watches: watches }
    }

    /// Watches one object for ever.
    async fn follow<K>(
        &self,
        kind: &str,
        seen: &watch::Sender<Seen>,
        put: impl Fn(&mut Seen, Option<K>),
        is_given_up: impl Fn(&mut Seen) -> &mut bool,
    ) where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &self.namespace);
        let begin = || watcher::watch_object(api.clone(), FEED_NAME).boxed();
        let mut objects = begin();
        let waits = || {
            ExponentialBuilder::new()
                .with_min_delay(self.patience.shortest)
                .with_max_delay(self.patience.longest)
                .with_jitter()
                .without_max_times()
                .build()
        };
        let mut until_next = waits();
        let mut said: Option<Trouble> = None;
        let mut was_there = None;
        while let Some(object) = objects.next().await {
            match object {
                Ok(object) => {
                    until_next = waits();
                    if said.take().is_some() {
                        tracing::info!(kind, name = FEED_NAME, "the feed can be read again");
                    }
                    let is_there = object.is_some();
                    if was_there.replace(is_there) != Some(is_there) {
                        tracing::info!(
                            kind,
                            name = FEED_NAME,
                            namespace = self.namespace,
                            "the feed {}",
                            if is_there { "is there" } else { "is not there; it is waited for" }
                        );
                    }
                    seen.send_modify(|state| put(state, object));
                }
                Err(error) => {
                    let trouble = Trouble::of(&error);
                    if trouble == Trouble::Outdated {
                        tracing::debug!(kind, "the watch was too old and is begun anew");
                    } else {
                        self.tell(kind, trouble, said, &error);
                        said = Some(trouble);
                        if trouble == Trouble::Forbidden {
                            seen.send_if_modified(|state| !std::mem::replace(is_given_up(state), true));
                        }
                    }
                    let wait = if trouble == Trouble::Forbidden {
                        self.patience.forbidden
                    } else {
                        until_next.next().unwrap_or(self.patience.longest)
                    };
                    tokio::time::sleep(wait).await;
                    if matches!(error, watcher::Error::WatchStartFailed(_)) {
                        objects = begin();
                    }
                }
            }
        }
    }

    /// Says what is wrong, unless that was said before.
    fn tell(&self, kind: &str, trouble: Trouble, said: Option<Trouble>, error: &watcher::Error) {
        let namespace = &self.namespace;
        if said == Some(trouble) {
            tracing::debug!(kind, error = %WithCauses(error), "the feed still cannot be read");
        } else if trouble == Trouble::Forbidden {
            let missing = format!(
                "the service account may not read the {kind} {FEED_NAME} in namespace {namespace}: a feed needs a Role with \
                 get, list and watch of it, and without one only the environment counts"
            );
            if self.is_required {
                tracing::warn!("{missing}");
            } else {
                tracing::info!("{missing}");
            }
        } else {
            tracing::warn!(
                kind, name = FEED_NAME, namespace, error = %WithCauses(error),
                "the feed cannot be read; what is known of it stays in use"
            );
        }
    }
}

/// What can be wrong with a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It began at a version that the API server has forgotten.
    Outdated,
    /// The service account may not. Only this is a reason to go on without the feed: a server that is away may be back,
    /// and then with a feed.
    Forbidden,
    Other,
}

impl Trouble {
    fn of(error: &watcher::Error) -> Self {
        let code = match error {
            watcher::Error::WatchError(status)
            | watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
            _ => return Self::Other,
        };
        match code {
            // An API server that does not know what a ConfigMap is will not come to know it.
            401 | 403 | 404 => Self::Forbidden,
            410 => Self::Outdated,
            _ => Self::Other,
        }
    }
}

/// What was seen of the two objects.
#[derive(Clone, Debug, Default)]
struct Seen {
    config: Object<BTreeMap<String, String>>,
    secret: Object<Option<String>>,
}

/// What was seen of one.
#[derive(Clone, Default)]
struct Object<T> {
    /// What was read last. Whatever goes wrong later does not change it.
    last: Option<T>,
    /// Whether nobody waits for the first reading any more.
    is_given_up: bool,
}

impl<T> Debug for Object<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // One of them is a secret.
        let Self { last, is_given_up } = self;
        write!(f, "Object {{ is_read: {}, is_given_up: {is_given_up} }}", last.is_some())
    }
}

impl<T> Object<T> {
    fn put(&mut self, value: T) {
        self.last = Some(value);
    }

    fn is_known(&self) -> bool {
        self.last.is_some() || self.is_given_up
    }
}

/// What the feed is at one time.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) documents: Documents,
    /// Whether both objects were read; else one of them was given up.
    pub(crate) is_whole: bool,
}

/// The watches. Dropped, they stop.
#[derive(Debug)]
pub(crate) struct Readings {
    changes: watch::Receiver<Seen>,
    _watches: JoinSet<()>,
}

impl Readings {
    /// Waits for another reading. `None` if there will be none.
    pub(crate) async fn changed(&mut self) -> Option<Reading> {
        loop {
            self.changes.changed().await.ok()?;
            let Seen { config, secret } = self.changes.borrow_and_update().clone();
            // What the ConfigMap asks for is of no use without the Secret, which is there in a moment.
            if !config.is_known() || !secret.is_known() {
                continue;
            }
            let is_whole = config.last.is_some() && secret.last.is_some();
            let documents = Documents::of_objects(config.last.unwrap_or_default(), secret.last.flatten());
            return Some(Reading { documents, is_whole });
        }
    }
}
