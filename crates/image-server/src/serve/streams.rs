//! The streams of HTTP/2 connections: a task each, which ends when its client does not take what it asked for.
//!
//! The socket says nothing about them: one stream can stand still behind its own flow control while its neighbours
//! go on, and hyper then asks for no more of its body. So a body notes when a piece was asked for and given, and the
//! task around it resets the stream when the next is not asked for in time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::Instant;

tokio::task_local! {
    static STREAM: Arc<Stream>;
}

/// What the client of a stream takes.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Since when it has had a piece and not asked for the next.
    given: Mutex<Option<Instant>>,
}

impl Stream {
    /// The stream whose task this is, if it is one.
    pub(super) fn current() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    /// The next piece is asked for, so all before it is on its way.
    pub(super) fn asked(&self) {
        *self.given() = None;
    }

    /// A piece was handed out.
    pub(super) fn gave(&self) {
        *self.given() = Some(Instant::now());
    }

    async fn stalled(&self, patience: Duration) {
        loop {
            let deadline = self.given().unwrap_or_else(Instant::now) + patience;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }

    fn given(&self) -> MutexGuard<'_, Option<Instant>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the streams of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    stall: Duration,
}

impl Streams {
    /// `stall` is how long a client may leave a piece.
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, answer: F) {
        let stall = self.stall;
        let stream = Arc::new(Stream::default());
        tokio::spawn(STREAM.scope(Arc::clone(&stream), async move {
            tokio::select! {
                () = answer => {}
                () = stream.stalled(stall) => tracing::info!("cutting a download off: its client does not take it"),
            }
        }));
    }
}
