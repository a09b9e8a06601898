//! `/healthz`, `/readyz` and `/metrics`.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// A leader's loop turns twice a minute, and no round may take longer than two minutes.
const LONGEST_TURN: Duration = Duration::from_mins(5);

/// Shows that the election goes on, which every replica takes part in, and that a leader does its work.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<Mutex<Beat>>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    at: Instant,
    reached_api: bool,
    /// When the leader's loop turned last; `None` on standby.
    turned: Option<Instant>,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Beat { at: Instant::now(), reached_api: false, turned: None })))
    }

    pub(crate) fn beat(&self, reached_api: bool) {
        let mut beat = self.lock();
        beat.at = Instant::now();
        beat.reached_api = reached_api;
    }

    /// The leader's loop goes on.
    pub(crate) fn turns(&self) {
        self.lock().turned = Some(Instant::now());
    }

    /// There is no such loop any more.
    pub(crate) fn stands_by(&self) {
        self.lock().turned = None;
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> Beat {
        *self.lock()
    }
}

impl Beat {
    /// What hangs at this time.
    fn hangs(&self, now: Instant) -> Option<&'static str> {
        if now.saturating_duration_since(self.at) >= LONGEST_SILENCE {
            return Some("the election hangs");
        }
        let turned = self.turned?;
        (now.saturating_duration_since(turned) >= LONGEST_TURN).then_some("the leader's work hangs")
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
    match pulse.last().hangs(Instant::now()) {
        None => "ok".into_response(),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, what).into_response(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_whose_loop_stands_still_is_not_healthy() {
        let pulse = Pulse::new();
        let later = |minutes| Instant::now() + Duration::from_mins(minutes);
        assert_eq!(pulse.last().hangs(later(0)), None);
        assert_eq!(pulse.last().hangs(later(2)), Some("the election hangs"));
        pulse.turns();
        let elected = |minutes| Beat { at: later(minutes), ..pulse.last() };
        assert_eq!(elected(4).hangs(later(4)), None);
        assert_eq!(elected(6).hangs(later(6)), Some("the leader's work hangs"));
        pulse.stands_by();
        assert_eq!(Beat { at: later(6), ..pulse.last() }.hangs(later(6)), None);
    }
}
