//! What is counted, in one list: every family with its labels and words. docs/METRICS.md says the same to people, with
//! types and units.
//!
//! `requests` counts what clients do, with the predecessor's names, labels and buckets. `images` shows what the service
//! does by itself, under names of our own. Every label has a closed set of values: no client, and nothing that is
//! fetched, can make a new series.

mod images;
mod requests;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus::TextEncoder;

use crate::ImageServer;
use crate::observe::RequestId;
use crate::rejection::Rejection;

pub(crate) use images::ImageMetrics;
pub(crate) use requests::{InFlight, Metrics};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

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

/// Series that share a name. What its type and its unit are is in the name, as Prometheus has it.
#[derive(Clone, Copy, Debug)]
struct Family {
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
}

const REQUEST_DURATION: Family = Family {
    name: "assisted_image_service_http_request_duration_seconds",
    labels: &["code", "handler", "method", "service"],
    help: "The latency of the HTTP requests.",
};

const RESPONSE_SIZE: Family = Family {
    name: "assisted_image_service_http_response_size_bytes",
    labels: &["code", "handler", "method", "service"],
    help: "The size of the HTTP responses.",
};

const REQUESTS_IN_FLIGHT: Family = Family {
    name: "assisted_image_service_http_requests_inflight",
    labels: &["handler", "service"],
    help: "The number of inflight requests being handled at the same time.",
};

const BUILD_INFO: Family = Family {
    name: "coreos_image_service_build_info",
    labels: &["version"],
    help: "Always 1; the label is the version of the service.",
};

const START_TIME: Family = Family {
    name: "coreos_image_service_start_time_seconds",
    labels: &[],
    help: "When the service started, in seconds since 1970.",
};

const IMAGES: Family = Family {
    name: "coreos_image_service_images",
    labels: &["state"],
    help: "Images that the configuration asks for, and retired ones that are still served.",
};

const READY_IMAGES: Family = Family {
    name: "coreos_image_service_ready_images",
    labels: &["proof"],
    help: "Images that the configuration asks for and that are ready, by how they were proven.",
};

const IMAGES_IN_USE: Family = Family {
    name: "coreos_image_service_images_in_use",
    labels: &[],
    help: "Image files that are being read for downloads.",
};

const IMAGES_COLLECTED: Family = Family {
    name: "coreos_image_service_images_collected_total",
    labels: &[],
    help: "Retired images that were removed.",
};

const FETCHES: Family =
    Family { name: "coreos_image_service_fetches_total", labels: &[], help: "Attempts to fetch an image." };

const FETCH_FAILURES: Family = Family {
    name: "coreos_image_service_fetch_failures_total",
    labels: &[],
    help: "Attempts to fetch an image that failed; each is tried again.",
};

const FETCHED_BYTES: Family = Family {
    name: "coreos_image_service_fetched_bytes_total",
    labels: &[],
    help: "Bytes of images that have arrived, uncompressed, those of failed fetches included.",
};

const FETCH_TIME: Family = Family {
    name: "coreos_image_service_fetch_seconds_total",
    labels: &[],
    help: "Seconds that ended fetches took; those side by side count each.",
};

const RELEASE_LOOKUPS: Family = Family {
    name: "coreos_image_service_release_lookups_total",
    labels: &[],
    help: "Attempts to find out what a release image holds.",
};

const RELEASE_LOOKUP_FAILURES: Family = Family {
    name: "coreos_image_service_release_lookup_failures_total",
    labels: &[],
    help: "Attempts to find out what a release image holds that failed; each is tried again.",
};

const LIST_RELOADS: Family = Family {
    name: "coreos_image_service_list_reloads_total",
    labels: &["result"],
    help: "Changes of the list of images while the service runs, by what became of them.",
};

const LIST_ENTRIES: Family = Family {
    name: "coreos_image_service_list_entries",
    labels: &["source"],
    help: "Entries of the list of images in use, by where they come from.",
};
