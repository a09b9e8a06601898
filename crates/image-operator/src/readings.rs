//! What is known of the release images that matter now, and the reading of those that are not known yet.
//!
//! A digest never means anything else, so it is read once; a tag may move and is read again now and then. What fails is
//! tried again ever more rarely, and at once when the way to registries changes. Bounded in what is kept: images that
//! matter no more are forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use feed_format::Access;
use release_payload::Reference;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::payloads::{PayloadReader, Payloads, Unread};
use crate::select::{Facts, Known, Listed};

/// When release images are read.
#[derive(Clone, Debug)]
pub struct ReadSettings {
    /// How many are read at a time.
    pub at_a_time: usize,
    /// The first pause after a failure; it doubles with each.
    pub first_retry: Duration,
    /// The longest pause.
    pub longest_retry: Duration,
    /// How long what a tag means is believed.
    pub tag_refresh: Duration,
}

impl Default for ReadSettings {
    fn default() -> Self {
        Self {
            at_a_time: 4,
            first_retry: Duration::from_secs(15),
            longest_retry: Duration::from_mins(15),
            tag_refresh: Duration::from_hours(1),
        }
    }
}

pub(crate) struct Readings {
    payloads: Arc<dyn Payloads>,
    settings: ReadSettings,
    reader: Option<Result<Arc<dyn PayloadReader>, String>>,
    /// A hash of the access that the reader was made for.
    access: Option<u64>,
    entries: BTreeMap<Reference, Entry>,
    reads: JoinSet<Read>,
    metrics: Metrics,
}

struct Entry {
    known: Known,
    /// What is only kept is not read again.
    wanted: bool,
    next: Next,
    backoff: Backoff,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Never,
    At(Instant),
    Running,
}

struct Read {
    pullspec: Reference,
    access: Option<u64>,
    result: Result<Facts, Unread>,
}

impl Readings {
    pub(crate) fn new(payloads: Arc<dyn Payloads>, settings: ReadSettings, metrics: Metrics) -> Self {
        Self {
            payloads,
            settings,
            reader: None,
            access: None,
            entries: BTreeMap::new(),
            reads: JoinSet::new(),
            metrics,
        }
    }

    /// Facts that an earlier process found out. They count until something newer is known.
    pub(crate) fn remember(&mut self, pullspec: Reference, facts: Facts) {
        let next = if pullspec.digest().is_some() { Next::Never } else { Next::At(Instant::now()) };
        let entry = self.entry(next);
        let entry = self.entries.entry(pullspec).or_insert(entry);
        entry.known.facts.get_or_insert(facts);
    }

    /// Reads by this access from now on. Without a pull secret nothing is read: the admin is about to give one.
    pub(crate) fn reach_by(&mut self, access: &Access) {
        if access.pull_secret.is_none() {
            self.reader = None;
            self.access = None;
            return;
        }
        let mark = Some(mark(access));
        if self.access == mark {
            return;
        }
        self.access = mark;
        self.reader = Some(self.payloads.reader(access));
        for entry in self.entries.values_mut().filter(|entry| entry.known.failure.is_some()) {
            entry.backoff.reset();
            if entry.next != Next::Running {
                entry.next = Next::At(Instant::now());
            }
        }
    }

    /// These matter, and no others; of what is listed that which is known is kept, too.
    pub(crate) fn want(&mut self, pullspecs: &BTreeSet<Reference>, listed: &BTreeMap<Reference, Listed>) {
        self.entries.retain(|pullspec, entry| {
            entry.wanted = pullspecs.contains(pullspec);
            entry.wanted || listed.contains_key(pullspec)
        });
        for pullspec in pullspecs {
            if !self.entries.contains_key(pullspec) {
                let entry = self.entry(Next::At(Instant::now()));
                self.entries.insert(pullspec.clone(), entry);
            }
        }
        self.start_due();
    }

    /// What is known of each.
    pub(crate) fn known(&self) -> BTreeMap<Reference, Known> {
        self.entries.iter().map(|(pullspec, entry)| (pullspec.clone(), entry.known.clone())).collect()
    }

    /// Waits until something more is known. May be dropped and called again at any time.
    pub(crate) async fn learn(&mut self) {
        loop {
            self.start_due();
            let next_due = self.next_due();
            let due = async {
                match next_due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(read) = self.reads.join_next() => {
                    // Reads are aborted only when all of this is dropped.
                    if let Ok(read) = read && self.take(read) {
                        return;
                    }
                }
                () = due => {}
            }
        }
    }

    fn entry(&self, next: Next) -> Entry {
        let backoff = Backoff::new(self.settings.first_retry, self.settings.longest_retry);
        Entry { known: Known::default(), wanted: true, next, backoff }
    }

    fn next_due(&self) -> Option<Instant> {
        if self.reader.is_none() || self.reads.len() >= self.settings.at_a_time {
            return None;
        }
        let due = |entry: &Entry| match entry.next {
            Next::At(due) if entry.wanted => Some(due),
            _ => None,
        };
        self.entries.values().filter_map(due).min()
    }

    fn start_due(&mut self) {
        let Some(reader) = &self.reader else { return };
        let now = Instant::now();
        for (pullspec, entry) in &mut self.entries {
            if self.reads.len() >= self.settings.at_a_time {
                return;
            }
            if !(entry.wanted && matches!(entry.next, Next::At(due) if due <= now)) {
                continue;
            }
            entry.next = Next::Running;
            let (pullspec, reader, access) = (pullspec.clone(), reader.clone(), self.access);
            self.reads.spawn(async move {
                let result = match reader {
                    Ok(reader) => reader.read(&pullspec).await,
                    Err(message) => Err(Unread { message, is_content: false }),
                };
                Read { pullspec, access, result }
            });
        }
    }

    /// Keeps a result. True if something more is known by it.
    fn take(&mut self, Read { pullspec, access, result }: Read) -> bool {
        let pinned = pullspec.digest().is_some();
        let superseded = access != self.access;
        let Some(entry) = self.entries.get_mut(&pullspec) else { return false };
        let before = entry.known.clone();
        match result {
            Ok(facts) => {
                self.metrics.read(true);
                entry.known = Known { facts: Some(facts), failure: None };
                entry.backoff.reset();
                entry.next =
                    if pinned { Next::Never } else { Next::At(Instant::now() + self.settings.tag_refresh) };
            }
            // The failure may be that of a pull secret that was replaced meanwhile.
            Err(_) if superseded => entry.next = Next::At(Instant::now()),
            Err(Unread { message, is_content }) => {
                self.metrics.read(false);
                tracing::warn!(release.pullspec = %pullspec, error = message, "a release image cannot be read");
                let hopeless = is_content && pinned;
                let pause = if hopeless { self.settings.longest_retry } else { entry.backoff.next() };
                entry.next = Next::At(Instant::now() + pause);
                entry.known.failure = Some(message);
            }
        }
        entry.known != before
    }
}

fn mark(access: &Access) -> u64 {
    let mut hasher = DefaultHasher::new();
    access.hash(&mut hasher);
    hasher.finish()
}
