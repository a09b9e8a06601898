//! How many requests are served at a time. A request keeps its slot until its body has ended; the ones that find no
//! slot wait, in the order in which they came, for a while.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

use crate::guarded_body::GuardedBody;
use crate::observe::RequestId;
use crate::rejection::Rejection;

/// The slots of one group of routes.
#[derive(Clone, Debug)]
pub(crate) struct RequestLimit {
    slots: Arc<Semaphore>,
    queue_time: Duration,
}

impl RequestLimit {
    pub(crate) fn new(slots: NonZeroU32, queue_time: Duration) -> Self {
        let slots = usize::try_from(slots.get()).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { slots: Arc::new(Semaphore::new(slots)), queue_time }
    }
}

/// The layer around a group of routes.
pub(crate) async fn limit(
    State(limit): State<RequestLimit>,
    Extension(id): Extension<RequestId>,
    request: Request,
    next: Next,
) -> Response {
    // Whatever else is asked costs nothing and is refused at once.
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return next.run(request).await;
    }
    let slot = tokio::time::timeout(limit.queue_time, limit.slots.acquire_owned()).await;
    // The slots are never closed, so the only failure is that the time is up.
    let Ok(Ok(slot)) = slot else {
        return Rejection::Busy.into_response(id);
    };
    next.run(request).await.map(|body| Body::new(GuardedBody::new(body, slot)))
}
