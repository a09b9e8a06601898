//! Requests for images. One is counted when its body has ended.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::{HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{Family, REQUEST_DURATION, REQUESTS_IN_FLIGHT, RESPONSE_SIZE};

const DURATION_BUCKETS: [f64; 7] = [0.1, 1.0, 10.0, 50.0, 100.0, 300.0, 600.0];
const SIZE_BUCKETS: [f64; 5] = [1e2, 1e6, 5e8, 1e9, 1e10];

/// The label that the predecessor's library has for several services in one process.
const SERVICE: &str = "";

/// The metrics of requests for images.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    duration: HistogramVec,
    size: HistogramVec,
    in_flight: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |Family { name, labels, help }, buckets: &[f64]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
        };
        let gauge = |Family { name, labels, help }| IntGaugeVec::new(Opts::new(name, help), labels);
        let metrics = Self {
            duration: histogram(REQUEST_DURATION, &DURATION_BUCKETS)?,
            size: histogram(RESPONSE_SIZE, &SIZE_BUCKETS)?,
            in_flight: gauge(REQUESTS_IN_FLIGHT)?,
        };
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.size.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        Ok(metrics)
    }

    /// A request has come for `handler`.
    pub(crate) fn begin(&self, handler: &'static str) -> InFlight {
        let gauge = self.in_flight.with_label_values(&[handler, SERVICE]);
        gauge.inc();
        InFlight { metrics: self.clone(), handler, gauge }
    }
}

/// A request that is being served, counted as such until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    metrics: Metrics,
    handler: &'static str,
    gauge: IntGauge,
}

impl InFlight {
    /// The request's response has ended.
    pub(crate) fn answered(&self, method: &Method, status: StatusCode, duration: Duration, bytes: u64) {
        let labels = [status.as_str(), self.handler, method.as_str(), SERVICE];
        self.metrics.duration.with_label_values(&labels).observe(duration.as_secs_f64());
        // The buckets are far apart; what a float cannot tell does not matter.
        #[expect(clippy::cast_precision_loss)]
        self.metrics.size.with_label_values(&labels).observe(bytes as f64);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
