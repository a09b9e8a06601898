//! The objects of one kind as the API server has them now, each cut down to what is needed of it.
//!
//! kube's `reflector` keeps whole objects and stays silent about a kind that does not exist. Here a missing
//! CustomResourceDefinition is a state like others: it is asked for again until it appears. A kind that cannot be read any
//! more keeps what was read last.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::backoff::Backoff;

/// Namespace and name.
pub(crate) type ObjectKey = (String, String);

/// How objects are watched.
#[derive(Clone, Debug)]
pub struct WatchSettings {
    /// The first pause after a failure; it doubles with each.
    pub first_retry: Duration,
    /// The longest pause, and so how long a kind that has appeared may go unnoticed.
    pub longest_retry: Duration,
    /// How long the API server lets a watch run before it has to be made anew, in seconds.
    pub watch_seconds: u32,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(30),
            watch_seconds: 290,
        }
    }
}

/// Objects that are watched until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    state: Arc<Mutex<State<T>>>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State<T> {
    objects: BTreeMap<ObjectKey, T>,
    reading: Reading,
}

/// How well the objects are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// They were never read; with the reason if there was a failure.
    NotYet(Option<String>),
    /// They are known.
    Known,
    /// They were known once, and cannot be read now.
    Stale(String),
    /// The kind does not exist.
    NoSuchKind,
    /// The kind was known once, and does not exist now. What was known is kept: kinds are taken away and brought back
    /// when their owners are updated.
    KindGone,
}

impl<T: PartialEq + Clone + Debug + Send + 'static> Watched<T> {
    /// Starts to watch; `reduce` says what is needed of an object, `changed` is told whenever that changes.
    pub(crate) fn start<K>(
        api: Api<K>,
        what: &str,
        selection: watcher::Config,
        settings: &WatchSettings,
        changed: Arc<Notify>,
        reduce: impl Fn(&K) -> T + Send + 'static,
    ) -> Self
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let state = Arc::new(Mutex::new(State { objects: BTreeMap::new(), reading: Reading::NotYet(None) }));
        let selection = selection.timeout(settings.watch_seconds);
        let watching = Watching {
            what: what.to_owned(),
            state: Arc::clone(&state),
            backoff: Backoff::new(settings.first_retry, settings.longest_retry),
            changed,
            reduce,
        };
        Self { state, task: tokio::spawn(watching.run(api, selection)) }
    }
}

impl<T: Clone> Watched<T> {
    /// How well the objects are known.
    pub(crate) fn reading(&self) -> Reading {
        lock(&self.state).reading.clone()
    }

    /// Every object, by namespace and name.
    pub(crate) fn objects(&self) -> Vec<T> {
        lock(&self.state).objects.values().cloned().collect()
    }

    /// Every object with its namespace and name.
    pub(crate) fn entries(&self) -> Vec<(ObjectKey, T)> {
        lock(&self.state).objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    /// One object.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<T> {
        lock(&self.state).objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }
}

impl<T> Drop for Watched<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A poisoned lock means that a reduction panicked half-way; the map itself is never left half-changed.
fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Watching<T, R> {
    what: String,
    state: Arc<Mutex<State<T>>>,
    backoff: Backoff,
    changed: Arc<Notify>,
    reduce: R,
}

impl<T: PartialEq, R> Watching<T, R> {
    async fn run<K>(mut self, api: Api<K>, selection: watcher::Config)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        R: Fn(&K) -> T,
    {
        loop {
            self.watch(&api, &selection).await;
        }
    }

    /// Watches until the watch has to be started from a new list.
    async fn watch<K>(&mut self, api: &Api<K>, selection: &watcher::Config)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        R: Fn(&K) -> T,
    {
        let mut events = pin!(watcher(api.clone(), selection.clone()));
        let mut list = BTreeMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event, &mut list),
                Err(error) => {
                    let starts_over = self.fail(&error);
                    tokio::time::sleep(self.backoff.next()).await;
                    if starts_over {
                        return;
                    }
                }
            }
        }
    }

    fn take<K>(&mut self, event: Event<K>, list: &mut BTreeMap<ObjectKey, T>)
    where
        K: Resource,
        R: Fn(&K) -> T,
    {
        match event {
            Event::Init => list.clear(),
            Event::InitApply(object) => {
                let key = key(&object);
                list.insert(key, (self.reduce)(&object));
            }
            Event::InitDone => {
                self.backoff.reset();
                self.settle(std::mem::take(list), Reading::Known);
            }
            Event::Apply(object) => {
                self.backoff.reset();
                let key = key(&object);
                let reduced = (self.reduce)(&object);
                let mut state = lock(&self.state);
                if state.objects.get(&key) != Some(&reduced) {
                    state.objects.insert(key, reduced);
                    self.changed.notify_one();
                }
            }
            Event::Delete(object) => {
                self.backoff.reset();
                if lock(&self.state).objects.remove(&key(&object)).is_some() {
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Notes a failure. True if kube's watcher cannot get out of it by itself.
    fn fail(&mut self, error: &watcher::Error) -> bool {
        let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error
        else {
            // An old resource version, or a connection that broke: the watcher lists or watches again.
            tracing::debug!(watch.kind = self.what, %error, "a watch has to be resumed");
            return false;
        };
        if matches!(cause, kube::Error::Api(status) if status.code == 404) {
            let reading = match lock(&self.state).reading {
                Reading::NotYet(_) | Reading::NoSuchKind => Reading::NoSuchKind,
                Reading::Known | Reading::Stale(_) | Reading::KindGone => Reading::KindGone,
            };
            self.note(reading);
            return true;
        }
        let problem = problem(cause);
        let reading = match lock(&self.state).reading {
            Reading::NotYet(_) => Reading::NotYet(Some(problem)),
            _ => Reading::Stale(problem),
        };
        self.note(reading);
        true
    }

    fn settle(&self, objects: BTreeMap<ObjectKey, T>, reading: Reading) {
        let mut state = lock(&self.state);
        if state.objects != objects {
            state.objects = objects;
            self.changed.notify_one();
        }
        drop(state);
        self.note(reading);
    }

    fn note(&self, reading: Reading) {
        let mut state = lock(&self.state);
        if state.reading == reading {
            return;
        }
        match &reading {
            Reading::NotYet(_) | Reading::Stale(_) | Reading::KindGone => {
                tracing::warn!(watch.kind = self.what, watch.state = ?reading, "objects cannot be read");
            }
            Reading::NoSuchKind => {
                tracing::info!(watch.kind = self.what, "the cluster does not have this kind");
            }
            Reading::Known => {
                tracing::info!(watch.kind = self.what, objects = state.objects.len(), "objects are known");
            }
        }
        state.reading = reading;
        self.changed.notify_one();
    }
}

fn key<K: Resource>(object: &K) -> ObjectKey {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// What the API server said, or why it could not be asked.
pub(crate) fn problem(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        // Its text repeats the causes already.
        other => other.to_string(),
    }
}
