//! What is seen of a request from outside: one log event and its part in the metrics, both when its body has ended.
//!
//! Paths hold tokens and queries hold keys, so the URL itself is never seen here, only the route that it took.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use coreos_names::WithCauses;
use http_body::{Frame, SizeHint};
use uuid::Uuid;

use crate::metrics::{InFlight, Metrics};
use crate::router::{is_operational, metrics_label};

/// Names a request in the log and towards its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId(Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Marks a response that the metrics leave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uncounted;

/// An error and all its causes, told to the log and to nobody else.
#[derive(Clone, Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(error: &(dyn Error + 'static)) -> Self {
        Self(WithCauses(error).to_string())
    }
}

/// The layer around all routes.
pub(crate) async fn observe(State(metrics): State<Metrics>, mut request: Request, next: Next) -> Response {
    let id = RequestId(Uuid::new_v4());
    request.extensions_mut().insert(id);
    let mut exchange = Exchange::new(id, &request, &metrics);
    let response = next.run(request).await;
    exchange.answered(&response);
    response.map(|body| Body::new(Observed { body, exchange }))
}

/// A request and what became of it. Told when it is dropped: at the end of the body, or when the client is gone.
struct Exchange {
    id: RequestId,
    method: Method,
    route: Option<MatchedPath>,
    started: Instant,
    in_flight: Option<InFlight>,
    status: Option<StatusCode>,
    bytes: u64,
    is_complete: bool,
    failure: Option<Failure>,
}

impl Exchange {
    fn new(id: RequestId, request: &Request, metrics: &Metrics) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let label = route.as_ref().and_then(|route| metrics_label(route.as_str()));
        Self {
            id,
            method: request.method().clone(),
            route,
            started: Instant::now(),
            in_flight: label.map(|label| metrics.begin(label)),
            status: None,
            bytes: 0,
            is_complete: false,
            failure: None,
        }
    }

    fn answered(&mut self, response: &Response) {
        self.status = Some(response.status());
        self.is_complete = self.method == Method::HEAD || response.body().is_end_stream();
        self.failure = response.extensions().get::<Failure>().cloned();
        if response.extensions().get::<Uncounted>().is_some() {
            self.in_flight = None;
        }
    }

    /// Whether it is of little interest: probes ask all the time, and a BMC reads an ISO in some 100,000 ranges.
    fn is_one_of_many(&self) -> bool {
        self.status == Some(StatusCode::PARTIAL_CONTENT)
            || self.route.as_ref().is_some_and(|route| is_operational(route.as_str()))
    }

    fn log(&self) {
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(
                    request.id = %self.id,
                    http.method = %self.method,
                    http.route = self.route.as_ref().map_or("none", MatchedPath::as_str),
                    http.status_code = self.status.map(|status| status.as_u16()),
                    http.response_bytes = self.bytes,
                    http.complete = self.is_complete,
                    duration_ms = self.started.elapsed().as_secs_f64() * 1000.0,
                    error = self.failure.as_ref().map(|failure| failure.0.as_str()),
                    "request"
                )
            };
        }
        let is_ours = self.failure.is_some() && self.status.is_none_or(|status| !status.is_client_error());
        if is_ours {
            event!(warn);
        } else if self.is_one_of_many() {
            event!(debug);
        } else {
            event!(info);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let (Some(in_flight), Some(status)) = (&self.in_flight, self.status) {
            in_flight.answered(&self.method, status, self.started.elapsed(), self.bytes);
        }
        self.log();
    }
}

/// A body whose bytes are counted as they leave.
struct Observed {
    body: Body,
    exchange: Exchange,
}

impl Drop for Observed {
    fn drop(&mut self) {
        // The end of a body can come behind its last frame, when that is sent.
        self.exchange.is_complete |= self.body.is_end_stream();
    }
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                self.exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                self.exchange.is_complete = self.body.is_end_stream();
            }
            // Axum's own error around it has the same words.
            Some(Err(error)) => self.exchange.failure = Some(Failure::new(error.source().unwrap_or(error))),
            None => self.exchange.is_complete = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
