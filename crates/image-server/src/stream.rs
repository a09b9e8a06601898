//! The only input and output on the serving path: a plan as the body of a response.
//!
//! The image is read in pieces, and while one is on its way to the client the next is being read. Nothing is read
//! before the body is asked for its first frame. The body holds the lease, so the image stays readable for as long as
//! it is downloaded.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use image_store::{ImageKey, Lease};
use live_iso::{Extent, Plan, Segment};

use crate::serve::{Delivery, Outbox};

/// How much is read at once. Measured, larger pieces are no faster, and each download holds two.
const PIECE: u64 = 256 * 1024;

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// An image cannot be read any more, though a response with it has begun.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {} bytes at {} of {what} {key}", extent.len, extent.offset)]
pub(crate) struct ReadError {
    what: &'static str,
    key: ImageKey,
    extent: Extent,
    source: io::Error,
}

/// The bytes of a plan.
pub(crate) struct PlanBody {
    lease: Lease,
    segments: VecDeque<Segment>,
    /// The piece after the one that was given away last.
    ahead: Option<Piece>,
    remaining: u64,
    outbox: Option<Outbox>,
    delivery: Arc<Delivery>,
}

enum Piece {
    /// Not to be read here: the outbox sends it.
    InMemory(Outbox, Extent),
    Reading(Pin<Box<dyn Future<Output = Result<Bytes, ReadError>> + Send>>),
    Here(Result<Bytes, ReadError>),
}

impl PlanBody {
    /// With the outbox of an HTTP/1 connection, what the system has in memory is not read here, but sent from there.
    pub(crate) fn new(lease: Lease, plan: Plan, outbox: Option<Outbox>) -> Self {
        let remaining = plan.len();
        let (segments, delivery) = (plan.into_segments().collect(), Arc::default());
        Self { lease, segments, ahead: None, remaining, outbox, delivery }
    }

    /// How many bytes are still to come.
    pub(crate) fn len(&self) -> u64 {
        self.remaining
    }

    /// Cuts the next piece off the segments.
    fn next_piece(&mut self) -> Option<Piece> {
        let (piece, rest) = match self.segments.pop_front()? {
            Segment::Base(extent) => self.cut_base(extent),
            Segment::Nmstate(extent) => {
                let (piece, rest) = extent.split_at(PIECE);
                (Piece::Reading(Box::pin(read_nmstate(self.lease.clone(), piece))), Segment::Nmstate(rest))
            }
            Segment::Zeros(len) => {
                let zeros = &ZEROS[..usize::try_from(len).map_or(ZEROS.len(), |len| len.min(ZEROS.len()))];
                (Piece::Here(Ok(Bytes::from_static(zeros))), Segment::Zeros(len - zeros.len() as u64))
            }
            Segment::Bytes(bytes) => (Piece::Here(Ok(bytes)), Segment::Zeros(0)),
        };
        if !rest.is_empty() {
            self.segments.push_front(rest);
        }
        Some(piece)
    }

    fn cut_base(&self, extent: Extent) -> (Piece, Segment) {
        if let Some(outbox) = &self.outbox {
            let (piece, rest) = extent.split_at(Outbox::LEN_MAX);
            if Outbox::takes(&self.lease, piece) {
                return (Piece::InMemory(outbox.clone(), piece), Segment::Base(rest));
            }
        }
        let (piece, rest) = extent.split_at(PIECE);
        (Piece::Reading(Box::pin(read(self.lease.clone(), piece))), Segment::Base(rest))
    }
}

async fn read(lease: Lease, extent: Extent) -> Result<Bytes, ReadError> {
    let read = lease.read(extent).await;
    read.map_err(|source| ReadError { what: "the image", key: lease.key().clone(), extent, source })
}

async fn read_nmstate(lease: Lease, extent: Extent) -> Result<Bytes, ReadError> {
    let what = "the nmstate archive of the image";
    let read = lease.read_nmstate(extent).await;
    read.map_err(|source| ReadError { what, key: lease.key().clone(), extent, source })
}

impl Piece {
    /// Begins the read, or goes on with it.
    fn advance(self, context: &mut Context<'_>) -> Self {
        match self {
            Self::Reading(mut read) => match read.as_mut().poll(context) {
                Poll::Ready(bytes) => Self::Here(bytes),
                Poll::Pending => Self::Reading(read),
            },
            other => other,
        }
    }
}

impl Body for PlanBody {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        if let Some((extent, source)) = self.delivery.take_failure() {
            self.segments.clear();
            self.ahead = None;
            let key = self.lease.key().clone();
            return Poll::Ready(Some(Err(ReadError { what: "the image", key, extent, source })));
        }
        let Some(piece) = self.ahead.take().or_else(|| self.next_piece()) else {
            return Poll::Ready(None);
        };
        let piece = match piece {
            Piece::InMemory(outbox, extent) => {
                Piece::Here(Ok(outbox.put(&self.lease, extent, &self.delivery)))
            }
            other => other.advance(context),
        };
        match piece {
            Piece::Here(Ok(bytes)) => {
                self.remaining -= bytes.len() as u64;
                self.ahead = self.next_piece().map(|piece| piece.advance(context));
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Piece::Here(Err(error)) => {
                self.segments.clear();
                Poll::Ready(Some(Err(error)))
            }
            other => {
                self.ahead = Some(other);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0 && self.delivery.is_complete()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
