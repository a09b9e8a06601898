//! What is counted, in one list. docs/OPERATOR.md says the same to people.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::crd::ReleaseState;

/// The operator's series. Cheap to clone; every label has a closed set of values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    leader: IntGauge,
    reconciles: IntCounterVec,
    writes: IntCounterVec,
    releases: IntGaugeVec,
    reads: IntCounterVec,
    last_success: IntGauge,
    api_reachable: IntGauge,
    takeovers: IntCounter,
}

const OBJECTS: [&str; 5] = ["config_map", "secret", "agent_service_config", "deployment", "status"];
const RESULTS: [&str; 3] = ["ok", "waiting", "error"];
const READS: [&str; 2] = ["ok", "error"];

impl Metrics {
    /// Registers all series, those without events yet at zero.
    pub(crate) fn new(registry: Registry) -> Result<Self, prometheus::Error> {
        let name = |name: &str| format!("coreos_image_operator_{name}");
        let metrics = Self {
            leader: IntGauge::new(name("leader"), "Whether this replica leads.")?,
            reconciles: IntCounterVec::new(
                Opts::new(name("reconciles_total"), "Comparisons of what is wanted with what is there."),
                &["result"],
            )?,
            writes: IntCounterVec::new(
                Opts::new(name("writes_total"), "Objects that were written because they differed."),
                &["object"],
            )?,
            releases: IntGaugeVec::new(
                Opts::new(
                    name("releases"),
                    "ClusterImageSets that the policy looks at, by what became of them.",
                ),
                &["state"],
            )?,
            reads: IntCounterVec::new(
                Opts::new(name("release_reads_total"), "Release images whose metadata was asked for."),
                &["result"],
            )?,
            last_success: IntGauge::new(
                name("last_success_timestamp_seconds"),
                "When everything was last as it is wanted, in seconds since 1970.",
            )?,
            api_reachable: IntGauge::new(
                name("api_reachable"),
                "Whether the API server answered when the lease was last asked for.",
            )?,
            takeovers: IntCounter::new(
                name("leadership_gained_total"),
                "How often this replica began to lead.",
            )?,
            registry,
        };
        for object in OBJECTS {
            metrics.writes.with_label_values(&[object]);
        }
        for result in RESULTS {
            metrics.reconciles.with_label_values(&[result]);
        }
        for result in READS {
            metrics.reads.with_label_values(&[result]);
        }
        for state in ReleaseState::ALL {
            metrics.releases.with_label_values(&[state.name()]);
        }
        metrics.registry.register(Box::new(metrics.leader.clone()))?;
        metrics.registry.register(Box::new(metrics.reconciles.clone()))?;
        metrics.registry.register(Box::new(metrics.writes.clone()))?;
        metrics.registry.register(Box::new(metrics.releases.clone()))?;
        metrics.registry.register(Box::new(metrics.reads.clone()))?;
        metrics.registry.register(Box::new(metrics.last_success.clone()))?;
        metrics.registry.register(Box::new(metrics.api_reachable.clone()))?;
        metrics.registry.register(Box::new(metrics.takeovers.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    pub(crate) fn leads(&self, leads: bool) {
        if leads {
            self.takeovers.inc();
        }
        self.leader.set(leads.into());
    }

    pub(crate) fn reached_api(&self, reached: bool) {
        self.api_reachable.set(reached.into());
    }

    pub(crate) fn wrote(&self, object: &str) {
        debug_assert!(OBJECTS.contains(&object), "{object} is in no list");
        self.writes.with_label_values(&[object]).inc();
    }

    pub(crate) fn reconciled(&self, result: &str, now_seconds: i64) {
        debug_assert!(RESULTS.contains(&result), "{result} is in no list");
        self.reconciles.with_label_values(&[result]).inc();
        if result == "ok" {
            self.last_success.set(now_seconds);
        }
    }

    pub(crate) fn read(&self, ok: bool) {
        self.reads.with_label_values(&[READS[usize::from(!ok)]]).inc();
    }

    pub(crate) fn releases(&self, states: &[ReleaseState]) {
        for state in ReleaseState::ALL {
            let count = states.iter().filter(|other| **other == state).count();
            self.releases.with_label_values(&[state.name()]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}
