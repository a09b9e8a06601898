//! Which replica leads, by a Lease of `coordination.k8s.io`, with the rules of client-go, so that tools that know those
//! know ours.
//!
//! Clocks of machines are never compared: a lease counts from when this process saw it change. The one arbiter is the
//! resource version: of two replicas that write, one is told that it came second. A leader that cannot renew stops
//! before anybody else may take over.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::metrics::Metrics;
use crate::probes::Pulse;
use crate::watched::problem;

/// The Lease, and the times of the election.
#[derive(Clone, Debug)]
pub struct ElectionSettings {
    /// The name of the Lease.
    pub lease: String,
    /// How long a lease counts after it was seen to be renewed.
    pub duration: Duration,
    /// How long a leader tries to renew before it gives up; shorter than `duration`.
    pub renew_deadline: Duration,
    /// The pause between attempts.
    pub retry: Duration,
}

impl Default for ElectionSettings {
    fn default() -> Self {
        Self {
            lease: "coreos-image-service-operator".to_owned(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// One replica's part in the election.
pub(crate) struct Candidate {
    api: Api<Lease>,
    settings: ElectionSettings,
    identity: String,
    observed: Option<Observed>,
    metrics: Metrics,
    pulse: Pulse,
}

/// A lease, and when this process saw that it had changed.
struct Observed {
    lease: Lease,
    since: Instant,
}

impl Candidate {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        identity: &str,
        settings: ElectionSettings,
        metrics: Metrics,
        pulse: Pulse,
    ) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, settings, identity: identity.to_owned(), observed: None, metrics, pulse }
    }

    /// Waits until this replica leads. Gives the time from which the lease counts.
    pub(crate) async fn acquire(&mut self) -> Instant {
        let mut pause = Backoff::new(self.settings.retry, self.settings.retry);
        loop {
            let asked = Instant::now();
            if self.attempt(asked + self.settings.renew_deadline).await == Some(true) {
                return asked;
            }
            tokio::time::sleep(pause.next()).await;
        }
    }

    /// Renews the lease until it is lost.
    pub(crate) async fn keep(&mut self, mut renewed: Instant) {
        loop {
            tokio::time::sleep(self.settings.retry).await;
            let asked = Instant::now();
            let deadline = renewed + self.settings.renew_deadline;
            match self.attempt(deadline).await {
                Some(true) => renewed = asked,
                Some(false) => return,
                None if Instant::now() >= deadline => return,
                None => {}
            }
        }
    }

    /// Gives the lease away, so that the next leader need not wait for it to run out.
    pub(crate) async fn release(&mut self) {
        let released = tokio::time::timeout(self.settings.renew_deadline, self.try_release()).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::warn!("the lease could not be released; it runs out by itself");
        }
    }

    async fn try_release(&mut self) -> kube::Result<()> {
        // The renewal that was under way when the leader stopped may have been written: only the server knows.
        let Some(lease) = self.api.get_opt(&self.settings.lease).await? else { return Ok(()) };
        if holder(&lease) != Some(self.identity.as_str()) {
            return Ok(());
        }
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..lease.spec.clone().unwrap_or_default()
        };
        self.replace(Lease { spec: Some(spec), ..lease }).await
    }

    /// Whether this replica leads; `None` if that could not be found out by the deadline.
    async fn attempt(&mut self, deadline: Instant) -> Option<bool> {
        let asked = tokio::time::timeout_at(deadline, self.try_acquire_or_renew()).await;
        let result = match asked {
            Ok(Ok(leads)) => Some(leads),
            Ok(Err(error)) => {
                tracing::warn!(error = problem(&error), "the lease cannot be read or written");
                None
            }
            Err(_) => {
                tracing::warn!("the API server did not answer about the lease in time");
                None
            }
        };
        self.metrics.reached_api(result.is_some());
        self.pulse.beat(result.is_some());
        result
    }

    async fn try_acquire_or_renew(&mut self) -> kube::Result<bool> {
        // A leader knows the lease: it renews in one step, and looks again only if somebody else has written.
        if let Some(lease) = self.held() {
            match self.replace(self.claim(lease)).await {
                // It was changed, or deleted.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                renewed => return renewed.map(|()| true),
            }
        }
        let now = Instant::now();
        let Some(lease) = self.api.get_opt(&self.settings.lease).await? else {
            let created = self.api.create(&PostParams::default(), &self.claim(self.no_lease())).await;
            return match created {
                Ok(lease) => {
                    self.observed = Some(Observed { lease, since: now });
                    Ok(true)
                }
                Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
                Err(error) => Err(error),
            };
        };
        self.observe(lease.clone(), now);
        if self.is_held_by_another(now) {
            return Ok(false);
        }
        match self.replace(self.claim(lease)).await {
            Ok(()) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The lease, if this replica holds it as far as it knows.
    fn held(&self) -> Option<Lease> {
        let lease = &self.observed.as_ref()?.lease;
        (holder(lease) == Some(self.identity.as_str())).then(|| lease.clone())
    }

    fn observe(&mut self, lease: Lease, now: Instant) {
        let unchanged = |observed: &Observed| observed.lease.spec == lease.spec;
        let since = match &self.observed {
            Some(observed) if unchanged(observed) => observed.since,
            _ => now,
        };
        self.observed = Some(Observed { lease, since });
    }

    fn is_held_by_another(&self, now: Instant) -> bool {
        let Some(Observed { lease, since }) = &self.observed else { return false };
        let Some(holder) = holder(lease) else { return false };
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        holder != self.identity && *since + duration > now
    }

    /// The lease as it is when this replica holds it.
    fn claim(&self, lease: Lease) -> Lease {
        let spec = lease.spec.unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let renews = spec.holder_identity.as_deref() == Some(self.identity.as_str());
        let transitions = spec.lease_transitions.unwrap_or_default();
        let is_new = lease.metadata.resource_version.is_none();
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(whole_seconds(self.settings.duration)),
            acquire_time: spec.acquire_time.filter(|_| renews).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if renews || is_new {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..spec
        };
        Lease { spec: Some(spec), ..lease }
    }

    fn no_lease(&self) -> Lease {
        let metadata = ObjectMeta { name: Some(self.settings.lease.clone()), ..ObjectMeta::default() };
        Lease { metadata, spec: None }
    }

    /// Writes the lease unless somebody else did since it was read.
    async fn replace(&mut self, lease: Lease) -> kube::Result<()> {
        let now = Instant::now();
        let lease = self.api.replace(&self.settings.lease, &PostParams::default(), &lease).await?;
        self.observed = Some(Observed { lease, since: now });
        Ok(())
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// The field has whole seconds, and none would end the lease at once.
fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(i32::MAX).max(1)
}
