//! The life of the operator: it stands by until it leads, and while it leads keeps the cluster as the admin wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use release_payload::Reference;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::crd::NAME;
use crate::election::{Candidate, ElectionSettings};
use crate::feed;
use crate::inputs::{Inputs, Own};
use crate::metrics::Metrics;
use crate::payloads::Payloads;
use crate::plan::Plan;
use crate::probes::{self, Pulse};
use crate::readings::{ReadSettings, Readings};
use crate::remembered::Remembered;
use crate::select::Listed;
use crate::watched::WatchSettings;
use crate::write::{Writer, Written};

/// How often the loop turns, even where nothing happens, to show that it can.
const IDLE_TURN: Duration = Duration::from_secs(30);

/// What the operator works with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The namespace of the image service, of the CoreosImageService and of what is written.
    pub namespace: String,
    /// What this replica is called in the Lease. No two may have the same.
    pub identity: String,
    /// The election.
    pub election: ElectionSettings,
    /// How the cluster is watched.
    pub watch: WatchSettings,
    /// When release images are read.
    pub read: ReadSettings,
    /// How long changes are gathered before they are acted on.
    pub settle: Duration,
    /// How often everything is compared without any change.
    pub resync: Duration,
    /// How long one comparison may take, with all that it writes. A request that is never answered would otherwise
    /// stop everything while the lease is kept.
    pub longest_round: Duration,
}

impl Settings {
    /// The usual times.
    pub fn new(namespace: String, identity: String) -> Self {
        Self {
            namespace,
            identity,
            election: ElectionSettings::default(),
            watch: WatchSettings::default(),
            read: ReadSettings::default(),
            settle: Duration::from_millis(500),
            resync: Duration::from_mins(10),
            longest_round: Duration::from_mins(2),
        }
    }
}

/// The operator.
pub struct Operator {
    client: Client,
    settings: Settings,
    payloads: Arc<dyn Payloads>,
    metrics: Metrics,
    pulse: Pulse,
}

impl Operator {
    /// An operator that does nothing yet. Its metrics are added to the registry.
    pub fn new(
        client: Client,
        settings: Settings,
        payloads: Arc<dyn Payloads>,
        registry: prometheus::Registry,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::new(registry)?;
        Ok(Self { client, settings, payloads, metrics, pulse: Pulse::new() })
    }

    /// `/healthz`, `/readyz` and `/metrics`.
    pub fn router(&self) -> Router {
        probes::router(self.metrics.clone(), self.pulse.clone())
    }

    /// Stands by and leads until told to stop, and then gives the lease away.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let Settings { namespace, identity, election, .. } = &self.settings;
        let mut candidate = Candidate::new(
            self.client.clone(),
            namespace,
            identity,
            election.clone(),
            self.metrics.clone(),
            self.pulse.clone(),
        );
        loop {
            let acquired = tokio::select! {
                acquired = candidate.acquire() => acquired,
                () = &mut stop => return,
            };
            tracing::info!(lease.holder = identity, "this replica leads");
            self.metrics.leads(true);
            // What does not end first is dropped here, with every request that it still waits for.
            let stopped = tokio::select! {
                () = candidate.keep(acquired) => false,
                never = self.lead() => match never {},
                () = &mut stop => true,
            };
            self.metrics.leads(false);
            self.pulse.stands_by();
            if stopped {
                candidate.release().await;
                tracing::info!(lease.holder = identity, "stopped");
                return;
            }
            tracing::warn!(lease.holder = identity, "the lease is lost; this replica stands by");
        }
    }

    async fn lead(&self) -> std::convert::Infallible {
        let Settings { namespace, watch, read, settle, resync, longest_round, .. } = &self.settings;
        let changed = Arc::new(Notify::new());
        let mut leading = Leading {
            inputs: Inputs::watch(&self.client, namespace, watch, &changed),
            readings: Readings::new(Arc::clone(&self.payloads), read.clone(), self.metrics.clone()),
            metrics: &self.metrics,
            operator: self,
            subject: None,
            waiting: String::new(),
        };
        let mut failures = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let mut next = Instant::now() + *resync;
        loop {
            self.pulse.turns();
            tokio::select! {
                () = changed.notified() => {}
                () = tokio::time::sleep(IDLE_TURN) => continue,
                () = leading.readings.learn() => {}
                () = tokio::time::sleep_until(next) => {}
            }
            // Release images go on being read meanwhile.
            let settled = Instant::now() + *settle;
            while Instant::now() < settled {
                let _ = tokio::time::timeout_at(settled, leading.readings.learn()).await;
            }
            let round = tokio::time::timeout(*longest_round, leading.reconcile()).await;
            let result = round.unwrap_or_else(|_| {
                tracing::warn!(round.longest = ?longest_round, "the cluster does not answer; it is tried again");
                Reconciled::Failed
            });
            self.metrics.reconciled(result.name(), Timestamp::now().as_second());
            next = Instant::now()
                + if result == Reconciled::Failed {
                    failures.next()
                } else {
                    failures.reset();
                    *resync
                };
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reconciled {
    Done,
    Waiting,
    Failed,
}

impl Reconciled {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Waiting => "waiting",
            Self::Failed => "error",
        }
    }
}

/// What there is only while this replica leads.
struct Leading<'a> {
    inputs: Inputs,
    readings: Readings,
    metrics: &'a Metrics,
    operator: &'a Operator,
    subject: Option<Subject>,
    /// What was said last about there being nothing to do.
    waiting: String,
}

/// The one CoreosImageService, and what was done for it.
struct Subject {
    uid: Option<String>,
    writer: Writer,
    /// What the feed has, or may have where an answer was lost.
    listed: BTreeMap<Reference, Listed>,
    /// Whether the feed was looked at, which may know what the status has lost.
    has_read_feed: bool,
}

impl Leading<'_> {
    async fn reconcile(&mut self) -> Reconciled {
        let own = match self.inputs.own() {
            Ok(Some(own)) if own.metadata.deletion_timestamp.is_none() => own,
            Ok(_) => {
                let namespace = &self.operator.settings.namespace;
                return self.wait(format!("there is no CoreosImageService {namespace}/{NAME}"));
            }
            Err(waiting) => return self.wait(waiting),
        };
        // It stays in its place, so that a round that is broken off forgets nothing.
        if self.subject.as_ref().is_none_or(|subject| subject.uid != own.metadata.uid) {
            self.subject = Some(self.begin(&own));
        }
        let Some(subject) = &mut self.subject else { return Reconciled::Waiting };
        let seen = match &own.spec {
            Ok(spec) => {
                self.inputs.follow(spec);
                self.inputs.seen(spec)
            }
            Err(problem) => Err(vec![problem.clone()]),
        };
        if let (Ok(seen), false) = (&seen, subject.has_read_feed) {
            subject.has_read_feed = true;
            // The status tells for whom a release is listed; what is listed the feed knows best.
            for entry in seen.feed.iter().flat_map(feed::listed) {
                let listed = subject.listed.entry(entry.pullspec.clone());
                listed.and_modify(|listed| listed.entry = entry.clone()).or_insert(Listed {
                    entry,
                    sets: BTreeSet::new(),
                    installs: BTreeSet::new(),
                });
            }
        }
        let plan = Plan::make(&own, seen, &mut self.readings, &subject.listed);
        let waits_for = plan.feed.is_none().then(|| {
            let what = plan.waiting.iter().chain(plan.problems.iter().map(|problem| &problem.message));
            what.map(String::as_str).collect::<Vec<_>>().join("; ")
        });
        if let Some(outcomes) = &plan.outcomes {
            let states: Vec<_> = outcomes.iter().map(|outcome| outcome.state).collect();
            self.metrics.releases(&states);
        }
        let listed = plan.listed.clone();
        if waits_for.is_none() {
            // Should the answer be lost, the feed has either.
            subject.listed.extend(listed.clone());
        }
        let Written { feed, failures } = subject.writer.write(&own, plan).await;
        if feed {
            subject.listed = listed;
        }
        for error in &failures {
            tracing::warn!(%error, "the cluster is not as it is wanted; it is tried again");
        }
        match waits_for {
            _ if !failures.is_empty() => Reconciled::Failed,
            Some(what) => self.wait(what),
            None => {
                self.waiting.clear();
                Reconciled::Done
            }
        }
    }

    /// Takes up where an earlier process stopped: what it had found out is in the status.
    fn begin(&mut self, own: &Own) -> Subject {
        let Settings { namespace, identity, .. } = &self.operator.settings;
        let remembered = own.status.as_ref().map(Remembered::of).unwrap_or_default();
        for (pullspec, facts) in remembered.facts {
            self.readings.remember(pullspec, facts);
        }
        let writer = Writer::new(self.operator.client.clone(), namespace, identity, self.metrics.clone());
        Subject { uid: own.metadata.uid.clone(), writer, listed: remembered.listed, has_read_feed: false }
    }

    /// Says once what is waited for.
    fn wait(&mut self, what: String) -> Reconciled {
        if self.waiting != what {
            tracing::info!(operator.waits_for = what, "nothing is written yet");
            self.waiting = what;
        }
        Reconciled::Waiting
    }
}
