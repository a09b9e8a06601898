//! Watches: a stream of JSON lines that ends when its time is over.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::kind::Kind;
use super::reply::Refusal;
use super::route::{Query, Selection};
use super::service::Service;
use super::store::Next;

/// A watch on which nothing happens is told now and then how far the server is, so that it can be taken up there.
const BOOKMARK_AFTER: u64 = 200;

struct Watch {
    service: Arc<Service>,
    news: watch::Receiver<()>,
    kind: Kind,
    selection: Selection,
    after: u64,
    told: u64,
    bookmarks: bool,
    until: Instant,
    /// How many interruptions there were when it began.
    interruptions: u64,
    ended: bool,
}

/// Answers a watch.
pub(super) fn watch(service: &Arc<Service>, kind: Kind, selection: Selection, query: &Query) -> Response {
    let given = query.get("resourceVersion").and_then(|version| version.parse().ok());
    let after = match given {
        Some(version) if version > 0 => version,
        _ => service.store.version(),
    };
    if !service.store.remembers(after) {
        return Refusal::expired(after).into_response();
    }
    let seconds = query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
    service.store.count_watch(&kind.plural, true);
    let watch = Watch {
        service: Arc::clone(service),
        news: service.store.news.subscribe(),
        kind,
        selection,
        after,
        told: after,
        bookmarks: query.get("allowWatchBookmarks").is_some_and(|allow| allow == "true"),
        until: Instant::now() + Duration::from_secs(seconds),
        interruptions: service.store.interruptions(),
        ended: false,
    };
    let lines = stream::unfold(watch, |mut watch| async move {
        let lines = watch.lines().await?;
        Some((Ok::<_, Infallible>(Bytes::from(lines)), watch))
    });
    ([(CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

impl Watch {
    /// What is sent next; `None` at the end.
    async fn lines(&mut self) -> Option<String> {
        loop {
            if self.ended {
                return None;
            }
            self.news.borrow_and_update();
            match self.service.store.next(&self.kind, &self.selection, self.after, self.interruptions) {
                Next::End => return None,
                Next::Gone(version) => {
                    self.ended = true;
                    return Some(line("ERROR", &Refusal::expired(version).status()));
                }
                Next::Held => {}
                Next::Changes(changes, version) => {
                    self.after = version;
                    if let Some(last) = changes.last() {
                        self.told = last.version;
                        return Some(
                            changes.iter().map(|change| line(change.type_, &change.object)).collect(),
                        );
                    }
                    if self.bookmarks && version >= self.told + BOOKMARK_AFTER {
                        return Some(self.bookmark());
                    }
                }
            }
            tokio::select! {
                _ = self.news.changed() => {}
                () = tokio::time::sleep_until(self.until) => {
                    self.ended = true;
                    return self.bookmarks.then(|| self.bookmark());
                }
            }
        }
    }

    fn bookmark(&mut self) -> String {
        self.told = self.after;
        let object = json!({
            "apiVersion": self.kind.api_version(),
            "kind": self.kind.kind,
            "metadata": { "resourceVersion": self.after.to_string() },
        });
        line("BOOKMARK", &object)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.service.store.count_watch(&self.kind.plural, false);
    }
}

fn line(type_: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": type_, "object": object }))
}
