//! A body whose connection is in use until it is dropped and what it has put into the connection's outbox is sent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use super::activity::Serving;
use super::sendfile::Outbox;
use super::streams::Stream;
use crate::guarded_body::GuardedBody;

/// As much of a stream as its client must take at a time to be seen taking anything: a frame of HTTP/2.
const PIECE: usize = 16 * 1024;

pub(super) struct ServedBody {
    body: Body,
    /// What was taken out of the body and not handed on yet. Only streams are cut into pieces.
    rest: Bytes,
    stream: Option<Arc<Stream>>,
    outbox: Option<Outbox>,
}

impl ServedBody {
    /// Made by the task that the response is sent from.
    pub(super) fn new(body: Body, serving: Serving, outbox: Option<Outbox>) -> Self {
        let body = Body::new(GuardedBody::new(body, serving));
        Self { body, rest: Bytes::new(), stream: Stream::current(), outbox }
    }
}

impl Drop for ServedBody {
    fn drop(&mut self) {
        if let Some(outbox) = &self.outbox {
            outbox.keep(std::mem::take(&mut self.body));
        }
    }
}

impl HttpBody for ServedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, rest, stream, .. } = &mut *self;
        let Some(stream) = stream else {
            return Pin::new(body).poll_frame(context);
        };
        stream.asked();
        if rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        stream.gave();
        Poll::Ready(Some(Ok(Frame::data(rest.split_to(rest.len().min(PIECE))))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
