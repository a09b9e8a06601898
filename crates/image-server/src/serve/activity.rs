//! Whether a client uses its connection, told by what it sends and by the responses it waits for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Version;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::sendfile::SendfileStream;

/// How long a client may take for the head of a request, and after connecting to begin its first one.
const HEAD: Duration = Duration::from_secs(3);

/// How long a client may wait between two requests.
const IDLE: Duration = Duration::from_mins(3);

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity(watch::Sender<Phase>);

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The head of a request is awaited or arriving.
    Head { since: Instant },
    /// So many requests have no complete response yet.
    Serving { requests: usize },
    /// All responses are complete.
    Idle { since: Instant, version: Version },
}

impl Phase {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Head { since } => Some(since + HEAD),
            Self::Serving { .. } => None,
            Self::Idle { since, .. } => Some(since + IDLE),
        }
    }
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Phase::Head { since: Instant::now() }))
    }

    /// The connection's socket, which reports what the client sends.
    pub(super) fn watch_reads(self: &Arc<Self>, stream: SendfileStream) -> Socket {
        Socket { stream, activity: Arc::clone(self) }
    }

    /// A request's head is complete.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Serving {
        self.0.send_modify(|phase| {
            let others = if let Phase::Serving { requests } = phase { *requests } else { 0 };
            *phase = Phase::Serving { requests: others + 1 };
        });
        Serving { activity: Arc::clone(self), version }
    }

    /// Waits until the client has taken longer than it may.
    pub(super) async fn overdue(&self) {
        let mut phases = self.0.subscribe();
        loop {
            let deadline = phases.borrow_and_update().deadline();
            let changed = phases.changed();
            match deadline {
                // The sender is `self`, so there is always another change to wait for.
                None => drop(changed.await),
                Some(deadline) => {
                    if tokio::time::timeout_at(deadline, changed).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Bytes came. Behind a response they begin a new head, unless they are frames of HTTP/2, which may mean
    /// anything.
    fn read(&self) {
        self.0.send_if_modified(|phase| {
            let begins = matches!(phase, Phase::Idle { version, .. } if *version < Version::HTTP_2);
            if begins {
                *phase = Phase::Head { since: Instant::now() };
            }
            begins
        });
    }
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    activity: Arc<Activity>,
    version: Version,
}

impl Serving {
    /// Keeps this for as long as the body.
    pub(super) fn until_end_of(self, body: Body) -> ServedBody {
        ServedBody { body, _serving: self }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.activity.0.send_modify(|phase| {
            *phase = match *phase {
                Phase::Serving { requests } if requests > 1 => Phase::Serving { requests: requests - 1 },
                _ => Phase::Idle { since: Instant::now(), version: self.version },
            };
        });
    }
}

/// A body whose connection is in use until it is dropped.
pub(super) struct ServedBody {
    body: Body,
    _serving: Serving,
}

impl HttpBody for ServedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that reports what is read from it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: SendfileStream,
    activity: Arc<Activity>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.read();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
