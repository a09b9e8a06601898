//! API servers to be tested against.
//!
//! [`FakeKubernetes`] runs in the test's own process and speaks real HTTP: get, list (in pages), watch (bookmarks, resource
//! versions, timeouts, 410), create, update with optimistic locking, merge patch, server-side apply with ownership of
//! fields, delete, `status` subresources, namespaces, CustomResourceDefinitions; and it can be told to misbehave.
//! [`ApiServer`] is a real `kube-apiserver` with its etcd, where there is one.
//!
//! What the fake does not do: schemas and their defaults, admission, authentication and authorization, garbage collection,
//! finalizers, `generateName`, label selectors, strategic merge patch, protobuf, `stringData`, consistent reads across the
//! pages of a list. A namespace that is deleted is gone at once with all that is in it. Lists of objects are merged by
//! server-side apply where every element has a `name`, a `type` or a `uid` to know it by, in that order, and are atomic
//! otherwise; a real server asks the schema.

mod api_server;
mod apply;
mod fault;
mod kind;
mod reply;
mod route;
mod service;
mod store;
mod watch;

use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

pub use api_server::ApiServer;
pub use fault::{Matching, Trouble};
pub use kind::Kind;
pub use reply::Refusal;
use service::Service;

/// An API server in the test's own process.
#[derive(Debug)]
pub struct FakeKubernetes {
    url: Url,
    service: Arc<Service>,
    server: JoinHandle<()>,
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `PATCH`, …; a `GET` that watches is `WATCH`.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query as it was sent.
    pub query: String,
}

impl FakeKubernetes {
    /// Starts a server that has the kinds every cluster has, the namespace `default` and nothing else.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let service = Arc::new(Service::default());
        let router = service::router(Arc::clone(&service));
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { url, service, server }
    }

    /// Where it listens.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Makes a kind known, as a CustomResourceDefinition would.
    pub fn define(&self, kind: Kind) {
        self.service.store.define(kind);
    }

    /// Forgets a kind and all its objects.
    pub fn undefine(&self, plural: &str) {
        self.service.store.undefine(plural);
    }

    /// Creates or replaces an object, as another client would.
    pub fn put(&self, object: Value) -> Value {
        self.service.store.put(object).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    /// Deletes an object. False if there was none.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        self.service.store.remove(plural, namespace, name)
    }

    /// An object as it is now.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        self.service.store.find(plural, namespace, name)
    }

    /// All objects of a kind, in the order of namespaces and names.
    pub fn list(&self, plural: &str) -> Vec<Value> {
        self.service.store.all(plural)
    }

    /// An object in every version that it had, the oldest first, as far as that is remembered.
    pub fn versions(&self, plural: &str, namespace: &str, name: &str) -> Vec<Value> {
        self.service.store.versions(plural, namespace, name)
    }

    /// Forgets how objects came to be as they are: every watch ends with 410, and none can be taken up where it was.
    pub fn compact(&self) {
        self.service.store.compact();
    }

    /// Ends every watch that is open now, as a connection that breaks. Each can be taken up where it was.
    pub fn interrupt_watches(&self) {
        self.service.store.interrupt();
    }

    /// Sends no more events on any watch until [`Self::release_watches`], which then come late.
    pub fn hold_watches(&self) {
        self.service.store.hold(true);
    }

    /// Sends again, first what was held back.
    pub fn release_watches(&self) {
        self.service.store.hold(false);
    }

    /// Answers matching requests with trouble, so many times.
    pub fn trouble(&self, matching: Matching, trouble: Trouble, times: usize) {
        self.service.faults.add(matching, trouble, times);
    }

    /// Refuses every request with this status, instead of any other trouble, until [`Self::heal`].
    pub fn refuse_everything(&self, status: u16) {
        self.service.faults.replace(Matching::new("", ""), Trouble::Status(status), usize::MAX);
    }

    /// No more trouble.
    pub fn heal(&self) {
        self.service.faults.clear();
    }

    /// How many watches are open on a kind.
    pub fn open_watches(&self, plural: &str) -> usize {
        self.service.store.open_watches(plural)
    }

    /// Everything that was asked, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.service.calls.lock().unwrap().clone()
    }

    /// The same, and forgets it.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.service.calls.lock().unwrap())
    }
}

impl Drop for FakeKubernetes {
    fn drop(&mut self) {
        self.server.abort();
    }
}
