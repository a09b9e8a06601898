//! What is counted: three families, with the predecessor's names, labels and buckets.
//!
//! | name | type | unit | labels |
//! |---|---|---|---|
//! | `assisted_image_service_http_request_duration_seconds` | histogram | seconds | code, handler, method, service |
//! | `assisted_image_service_http_response_size_bytes` | histogram | bytes | code, handler, method, service |
//! | `assisted_image_service_http_requests_inflight` | gauge | requests | handler, service |
//!
//! A request is counted when its body has ended. `handler` names a route, `method` is GET or HEAD, `service` is empty: no
//! client can make a new series.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use prometheus::{HistogramOpts, HistogramVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::ImageServer;
use crate::observe::RequestId;
use crate::rejection::Rejection;

const DURATION_BUCKETS: [f64; 7] = [0.1, 1.0, 10.0, 50.0, 100.0, 300.0, 600.0];
const SIZE_BUCKETS: [f64; 5] = [1e2, 1e6, 5e8, 1e9, 1e10];

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// The label that the predecessor's library has for several services in one process.
const SERVICE: &str = "";

/// `/metrics`
pub(crate) async fn metrics(
    State(server): State<Arc<ImageServer>>,
    Extension(id): Extension<RequestId>,
) -> Response {
    match TextEncoder::new().encode_to_string(&server.registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => Rejection::Metrics(error).into_response(id),
    }
}

/// The metrics of requests for images.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    duration: HistogramVec,
    size: HistogramVec,
    in_flight: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let answer = ["code", "handler", "method", "service"];
        let duration = HistogramOpts::new(
            "assisted_image_service_http_request_duration_seconds",
            "The latency of the HTTP requests.",
        );
        let size = HistogramOpts::new(
            "assisted_image_service_http_response_size_bytes",
            "The size of the HTTP responses.",
        );
        let in_flight = Opts::new(
            "assisted_image_service_http_requests_inflight",
            "The number of inflight requests being handled at the same time.",
        );
        let metrics = Self {
            duration: HistogramVec::new(duration.buckets(DURATION_BUCKETS.into()), &answer)?,
            size: HistogramVec::new(size.buckets(SIZE_BUCKETS.into()), &answer)?,
            in_flight: IntGaugeVec::new(in_flight, &["handler", "service"])?,
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
