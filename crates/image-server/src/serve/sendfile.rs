//! `sendfile(2)` under hyper: bytes of an image go from the page cache to the socket and never enter this process.
//!
//! Hyper wants the bytes of a body as memory. A body that knows its connection's [`Outbox`] puts the extent there and gives
//! hyper a placeholder of the same length instead. Hyper queues what it is given, in order and without copying it, because
//! the socket says that it writes vectors; so what comes out of hyper as a placeholder is replaced by the extent at
//! the head of the outbox. It saves more than half of the CPU time of a download.
//!
//! That hyper does not copy is its behaviour, not its promise. A placeholder notices when it is dropped before its extent
//! was sent, and its bytes are random: if any of them are found where they could have been copied to, the connection
//! breaks rather than send them.
//!
//! Hyper also drops a body when it has queued the last of it, which may be long before its client has taken it. So the
//! outbox keeps the body, and all that it holds, until its extents are sent.
//!
//! What the system has in memory when an extent is queued may have been dropped when its turn comes. `sendfile(2)` would
//! wait for the disk then, and a thread of the runtime with it; such pieces are read elsewhere and sent as memory.
//!
//! Only HTTP/1 without TLS can do this; elsewhere there is no outbox.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use image_store::Lease;
use live_iso::Extent;
use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::socket::Queued;

/// The most that one placeholder stands for.
const LEN_MAX: usize = 1 << 20;

/// The least: a copy of so much holds a whole [`PERIOD`] from its beginning.
const LEN_MIN: usize = 2 * PERIOD;

/// How often the placeholder repeats itself.
const PERIOD: usize = 16;

/// How much of an extent that is not in memory is read at once, and held for a client that may be slow.
const PIECE: u64 = 256 * 1024;

/// How long what was found in memory counts as being there. Asking costs a tenth of a download's CPU time where it is done
/// before each piece.
const STAYS: Duration = Duration::from_millis(100);

static PLACEHOLDER: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(Uuid::new_v4().as_bytes().repeat(LEN_MAX / PERIOD)));

static PATTERN: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new(&PLACEHOLDER[..PERIOD]).into_owned());

/// What a connection sends from files, in the order of the placeholders that stand for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    parcels: VecDeque<Parcel>,
    /// How many parcels there have been, which numbers them.
    count: u64,
    /// What hyper is through with, with the number of the last parcel before its end.
    ended: VecDeque<(u64, Body)>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// A placeholder is gone that nothing was sent for, or something cannot be sent.
    Broken,
    /// There is no socket any more.
    Closed,
}

/// How far the extents of one body are sent.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    unsent: AtomicU64,
    failure: Mutex<Option<(Extent, io::Error)>>,
}

impl Delivery {
    /// Whether everything that was put into an outbox is sent.
    pub(crate) fn is_complete(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) == 0
    }

    /// What could not be read when its turn came, once.
    pub(crate) fn take_failure(&self) -> Option<(Extent, io::Error)> {
        self.failure().take()
    }

    fn failure(&self) -> MutexGuard<'_, Option<(Extent, io::Error)>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Parcel {
    number: u64,
    lease: Lease,
    /// What is still to be sent.
    extent: Extent,
    delivery: Arc<Delivery>,
    /// When it was last found in memory.
    seen: Instant,
    cold: Option<Cold>,
}

/// The beginning of an extent that the system had not in memory when its turn came.
enum Cold {
    Reading(BoxFuture<'static, io::Result<Bytes>>),
    Read(Bytes),
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parcel")
            .field("number", &self.number)
            .field("extent", &self.extent)
            .field("is_cold", &self.cold.is_some())
            .finish_non_exhaustive()
    }
}

/// A placeholder in somebody's hands.
struct Slip {
    outbox: Outbox,
    number: u64,
    len: usize,
}

impl AsRef<[u8]> for Slip {
    fn as_ref(&self) -> &[u8] {
        &PLACEHOLDER[..self.len]
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        let mut queue = self.outbox.queue();
        if queue.parcels.iter().any(|parcel| parcel.number == self.number) {
            queue.state = State::Broken;
        }
    }
}

impl Outbox {
    /// The most bytes that one extent may have.
    pub(crate) const LEN_MAX: u64 = LEN_MAX as u64;

    /// Whether an extent can be put here. Not if it is too long, or too short for its placeholder to be recognised, or
    /// would have to be fetched from the disk first.
    pub(crate) fn takes(lease: &Lease, extent: Extent) -> bool {
        (LEN_MIN as u64..=Self::LEN_MAX).contains(&extent.len) && lease.is_cached(extent)
    }

    /// Takes an extent to be sent, and gives what hyper shall be told to send, at once and before anything else.
    pub(crate) fn put(&self, lease: &Lease, extent: Extent, delivery: &Arc<Delivery>) -> Bytes {
        let mut queue = self.queue();
        queue.count += 1;
        let number = queue.count;
        let (lease, delivery) = (lease.clone(), Arc::clone(delivery));
        delivery.unsent.fetch_add(extent.len, Ordering::Relaxed);
        queue.parcels.push_back(Parcel { number, lease, extent, delivery, seen: Instant::now(), cold: None });
        drop(queue);
        let len = usize::try_from(extent.len).map_or(LEN_MAX, |len| len.min(LEN_MAX));
        Bytes::from_owner(Slip { outbox: self.clone(), number, len })
    }

    /// Keeps a body that hyper is through with until everything before its end is sent.
    pub(super) fn keep(&self, mut body: Body) {
        let mut queue = self.queue();
        match queue.state {
            State::Open => {
                if let Some(last) = queue.parcels.back().map(|parcel| parcel.number) {
                    queue.ended.push_back((last, body));
                }
            }
            State::Broken => {
                drop(queue);
                tell_failure(&mut body);
            }
            State::Closed => {}
        }
    }

    /// Drops what will never be sent, and what only it kept alive.
    fn close(&self) {
        let mut queue = self.queue();
        if queue.state == State::Open {
            queue.state = State::Closed;
        }
        let (parcels, ended) = (std::mem::take(&mut queue.parcels), std::mem::take(&mut queue.ended));
        // Bodies may hold this outbox.
        drop(queue);
        drop(parcels);
        drop(ended);
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if any of these bytes may have been copied from a placeholder.
    fn refuse_copies(&self, buffers: &[IoSlice<'_>]) -> io::Result<()> {
        let queue = self.queue();
        if queue.state == State::Broken {
            return Err(io::Error::other("a placeholder was dropped, and nothing sent for it"));
        }
        let may_be_copies = !queue.parcels.is_empty();
        drop(queue);
        if may_be_copies && buffers.iter().any(|buffer| PATTERN.find(buffer).is_some()) {
            return Err(io::Error::other("bytes that only stand for others were copied"));
        }
        Ok(())
    }

    /// Sends what the next `len` bytes of placeholder stand for, or the beginning of it.
    fn poll_send(
        &self,
        context: &mut Context<'_>,
        socket: &mut TcpStream,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        let mut queue = self.queue();
        let parcel = match queue.parcels.front_mut() {
            Some(parcel) if parcel.extent.len == len as u64 => parcel,
            _ => return Poll::Ready(Err(io::Error::other("a placeholder stands for nothing"))),
        };
        let sent = ready!(parcel.poll_send(context, socket));
        if let Err(error) = &sent {
            queue.state = if is_of_the_connection(error) { State::Closed } else { State::Broken };
            let mut ended = std::mem::take(&mut queue.ended);
            drop(queue);
            for (_, body) in &mut ended {
                tell_failure(body);
            }
            return Poll::Ready(sent);
        }
        if parcel.extent.len == 0 {
            let number = parcel.number;
            queue.parcels.pop_front();
            let still = queue.ended.partition_point(|(last, _)| *last <= number);
            let ended: Vec<_> = queue.ended.drain(..still).collect();
            drop(queue);
            drop(ended);
        }
        Poll::Ready(sent)
    }
}

/// Lets a body that has nothing more to give tell those around it why it was not sent.
fn tell_failure(body: &mut Body) {
    let _ = pin!(body).poll_frame(&mut Context::from_waker(Waker::noop()));
}

impl Parcel {
    fn poll_send(&mut self, context: &mut Context<'_>, socket: &mut TcpStream) -> Poll<io::Result<usize>> {
        let sent = ready!(match &self.cold {
            None => self.poll_sendfile(context, socket),
            Some(_) => self.poll_send_cold(context, socket),
        })?;
        self.extent.offset += sent as u64;
        self.extent.len -= sent as u64;
        self.delivery.unsent.fetch_sub(sent as u64, Ordering::Relaxed);
        Poll::Ready(Ok(sent))
    }

    fn poll_sendfile(
        &mut self,
        context: &mut Context<'_>,
        socket: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(socket.poll_write_ready(context))?;
            // Here and not above, because waiting for the client can take minutes.
            if self.seen.elapsed() > STAYS && !self.lease.is_cached(self.extent) {
                let lease = self.lease.clone();
                let (piece, _) = self.extent.split_at(PIECE);
                self.cold = Some(Cold::Reading(Box::pin(async move { lease.read(piece).await })));
                return self.poll_send_cold(context, socket);
            }
            self.seen = Instant::now();
            let mut sent = 0;
            let result = socket.try_io(Interest::WRITABLE, || {
                // A socket that has taken a part is asked at once for the rest: a moment later its client has emptied it
                // by a bit, and they would be at it both at the same time, little by little.
                while sent < self.extent.len {
                    let (_, rest) = self.extent.split_at(sent);
                    sent += self.lease.send_to(&*socket, rest)? as u64;
                }
                Ok(())
            });
            match result {
                // What went wrong behind it will do so again.
                _ if sent > 0 => return Poll::Ready(Ok(usize::try_from(sent).unwrap_or(LEN_MAX))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if !is_of_the_connection(&error) => return Poll::Ready(Err(self.failed(error))),
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => return Poll::Ready(Ok(0)),
            }
        }
    }

    fn poll_send_cold(
        &mut self,
        context: &mut Context<'_>,
        socket: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        if let Some(Cold::Reading(reading)) = &mut self.cold {
            match ready!(reading.as_mut().poll(context)) {
                Ok(bytes) => self.cold = Some(Cold::Read(bytes)),
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
        }
        let Some(Cold::Read(bytes)) = &mut self.cold else {
            return Poll::Ready(Err(io::Error::other("nothing was read")));
        };
        let sent = ready!(Pin::new(socket).poll_write(context, bytes))?;
        let _ = bytes.split_to(sent);
        if bytes.is_empty() {
            self.cold = None;
        }
        Poll::Ready(Ok(sent))
    }

    /// Notes for the body what could not be read, and gives the connection another reason to end.
    fn failed(&self, error: io::Error) -> io::Error {
        let (piece, _) = self.extent.split_at(PIECE);
        *self.delivery.failure() = Some((piece, error));
        io::Error::other("an image cannot be read")
    }
}

/// Whether an error says that the client is gone or cannot be reached, and not that the file cannot be read.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(
        error.kind(),
        E::BrokenPipe
            | E::ConnectionAborted
            | E::ConnectionReset
            | E::HostUnreachable
            | E::NetworkDown
            | E::NetworkUnreachable
            | E::NotConnected
            | E::TimedOut
    )
}

/// A socket that sends parcels where it is given placeholders.
#[derive(Debug)]
pub(super) struct SendfileStream {
    stream: TcpStream,
    outbox: Outbox,
}

impl SendfileStream {
    pub(super) fn new(stream: TcpStream, outbox: Outbox) -> Self {
        Self { stream, outbox }
    }
}

impl Queued for SendfileStream {
    fn untaken(&self) -> Option<u32> {
        self.stream.untaken()
    }
}

impl Drop for SendfileStream {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

fn is_placeholder(bytes: &[u8]) -> bool {
    PLACEHOLDER.as_ptr_range().contains(&bytes.as_ptr())
}

impl AsyncRead for SendfileStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for SendfileStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(buffer)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, outbox } = &mut *self;
        let buffers = &buffers[buffers.iter().take_while(|buffer| buffer.is_empty()).count()..];
        match buffers.first() {
            Some(first) if is_placeholder(first) => outbox.poll_send(context, stream, first.len()),
            _ => {
                let ordinary = buffers.iter().take_while(|buffer| !is_placeholder(buffer)).count();
                let ordinary = &buffers[..ordinary];
                outbox.refuse_copies(ordinary)?;
                Pin::new(stream).poll_write_vectored(context, ordinary)
            }
        }
    }

    /// Hyper queues what it is given, instead of copying it, only if this is true.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
