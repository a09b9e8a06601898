//! `/healthz`, `/readyz` and `/metrics`.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// The election asks every few seconds; without any for so long the process hangs.
const LONGEST_SILENCE: Duration = Duration::from_mins(1);

/// Shows that the election goes on, which every replica takes part in.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Mutex<Beat>>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    at: Instant,
    reached_api: bool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Beat { at: Instant::now(), reached_api: false })))
    }

    pub(crate) fn beat(&self, reached_api: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Beat { at: Instant::now(), reached_api };
    }

    fn last(&self) -> Beat {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a router until told to stop.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

pub(crate) fn router(metrics: Metrics, pulse: Pulse) -> Router {
    let probes =
        Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(pulse);
    Router::new().route("/metrics", get(show_metrics)).with_state(metrics).merge(probes)
}

async fn healthz(State(pulse): State<Pulse>) -> Response {
    if pulse.last().at.elapsed() < LONGEST_SILENCE {
        "ok".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the election hangs").into_response()
    }
}

/// A replica that only stands by is ready, too.
async fn readyz(State(pulse): State<Pulse>) -> Response {
    if pulse.last().reached_api {
        "ok".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server does not answer").into_response()
    }
}

async fn show_metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.text() {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
