//! What the feed of a cluster asked for the last time, kept for a start at which the API server is away.
//!
//! Its pull secret is not kept: a secret has no place in the data directory.

use std::collections::BTreeMap;
use std::fmt;

use coreos_names::WithCauses;
use feed_format::Documents;
use image_store::ImageStore;
use serde::{Deserialize, Serialize};

/// A feed that was in use, without its pull secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    documents: BTreeMap<String, String>,
    /// Whether there was a pull secret beside it, so that releases counted.
    pub(crate) had_pull_secret: bool,
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs may hold secrets.
        f.debug_struct("Remembered").field("had_pull_secret", &self.had_pull_secret).finish_non_exhaustive()
    }
}

impl Remembered {
    pub(crate) fn of(documents: &Documents, had_pull_secret: bool) -> Self {
        let documents = documents.configuration().into_iter();
        Self { documents: documents.map(|(key, text)| (key.to_owned(), text)).collect(), had_pull_secret }
    }

    pub(crate) fn documents(&self) -> Documents {
        Documents::of_objects(self.documents.clone(), None)
    }

    fn asks_for_nothing(&self) -> bool {
        self.documents.is_empty()
    }
}

/// Where it is kept.
#[derive(Debug)]
pub(crate) struct Memory {
    store: ImageStore,
    kept: Option<Remembered>,
}

impl Memory {
    pub(crate) fn open(store: ImageStore) -> Self {
        let kept = store.remembered_feed().unwrap_or_else(|error| {
            tracing::warn!(error = %WithCauses(&error), "cannot read what the feed was the last time");
            None
        });
        Self { store, kept }
    }

    /// What was kept last.
    pub(crate) fn recall(&self) -> Option<&Remembered> {
        self.kept.as_ref()
    }

    /// Keeps this instead. Of a feed that asks for nothing there is nothing to keep.
    pub(crate) async fn keep(&mut self, feed: Remembered) {
        let feed = Some(feed).filter(|feed| !feed.asks_for_nothing());
        if feed == self.kept {
            return;
        }
        self.kept.clone_from(&feed);
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || match feed {
            Some(feed) => store.remember_feed(&feed),
            None => store.forget_feed(),
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %WithCauses(&error), "cannot keep the feed for the next start");
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}
