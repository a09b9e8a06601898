//! `sendfile(2)` under hyper: bytes of an image go from the page cache to the socket and never enter this process.
//!
//! Hyper wants the bytes of a body as memory. A body that knows its connection's [`Outbox`] puts the extent there and gives
//! hyper a placeholder of the same length instead. Hyper queues what it is given, in order and without copying it, because
//! the socket says that it writes vectors; so what comes out of hyper as a placeholder is replaced by the extent at
//! the head of the outbox. It saves more than half of the CPU time of a download.
//!
//! That hyper does not copy is its behaviour, not its promise. The placeholder is random, and if any of it is found in
//! bytes that are to be sent, the connection breaks rather than send them.
//!
//! Only HTTP/1 without TLS can do this; elsewhere there is no outbox.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use image_store::Lease;
use live_iso::Extent;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use uuid::Uuid;

/// The most that one placeholder stands for.
const LEN_MAX: usize = 1 << 20;

/// The least: a copy of so much holds a whole [`PERIOD`] at a multiple of it.
const LEN_MIN: usize = 2 * PERIOD;

/// How often the placeholder repeats itself.
const PERIOD: usize = 16;

static PLACEHOLDER: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(Uuid::new_v4().as_bytes().repeat(LEN_MAX / PERIOD)));

/// What a connection sends from files, in the order of the placeholders that stand for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Mutex<VecDeque<Parcel>>>);

#[derive(Debug)]
struct Parcel {
    lease: Lease,
    extent: Extent,
}

impl Outbox {
    /// The most bytes that one extent may have.
    pub(crate) const LEN_MAX: u64 = LEN_MAX as u64;

    /// Takes an extent to be sent, and gives what hyper shall be told to send. Not if the extent is too long, or too
    /// short for its placeholder to be recognised, or would have to be fetched from the disk first, which must not
    /// happen where sockets are written.
    pub(crate) fn put(&self, lease: &Lease, extent: Extent) -> Option<Bytes> {
        let len = usize::try_from(extent.len).ok().filter(|len| (LEN_MIN..=LEN_MAX).contains(len))?;
        if !lease.is_cached(extent) {
            return None;
        }
        self.parcels().push_back(Parcel { lease: lease.clone(), extent });
        Some(PLACEHOLDER.slice(..len))
    }

    fn parcels(&self) -> MutexGuard<'_, VecDeque<Parcel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what the next `len` bytes of placeholder stand for, or the beginning of it.
    fn send(&self, socket: &TcpStream, len: usize) -> io::Result<usize> {
        let mut parcels = self.parcels();
        let parcel =
            parcels.front_mut().ok_or_else(|| io::Error::other("a placeholder stands for nothing"))?;
        let extent = Extent { len: parcel.extent.len.min(len as u64), ..parcel.extent };
        let sent = socket.try_io(Interest::WRITABLE, || parcel.lease.send_to(socket, extent))?;
        parcel.extent.offset += sent as u64;
        parcel.extent.len -= sent as u64;
        if parcel.extent.len == 0 {
            parcels.pop_front();
        }
        Ok(sent)
    }
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

    fn poll_send(&self, context: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.outbox.send(&self.stream, len) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }
}

fn is_placeholder(bytes: &[u8]) -> bool {
    PLACEHOLDER.as_ptr_range().contains(&bytes.as_ptr())
}

/// Fails if bytes of the placeholder are among these: as many as the shortest extent has, wherever they begin.
fn refuse_copies(bytes: &[u8]) -> io::Result<()> {
    let is_rotated =
        |window: &[u8]| PLACEHOLDER[..2 * PERIOD].windows(PERIOD).any(|pattern| pattern == window);
    if bytes.chunks_exact(PERIOD).any(is_rotated) {
        return Err(io::Error::other("bytes that only stand for others were copied"));
    }
    Ok(())
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
        let buffers = &buffers[buffers.iter().take_while(|buffer| buffer.is_empty()).count()..];
        match buffers.first() {
            Some(first) if is_placeholder(first) => self.poll_send(context, first.len()),
            _ => {
                let ordinary = buffers.iter().take_while(|buffer| !is_placeholder(buffer)).count();
                let ordinary = &buffers[..ordinary];
                for buffer in ordinary {
                    refuse_copies(buffer)?;
                }
                Pin::new(&mut self.stream).poll_write_vectored(context, ordinary)
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
mod tests {
    use bytes::Bytes;

    use super::{LEN_MIN, PERIOD, PLACEHOLDER, is_placeholder, refuse_copies};

    #[test]
    fn a_placeholder_is_known_by_its_place() {
        assert!(is_placeholder(&PLACEHOLDER[5..40]));
        assert!(!is_placeholder(&Bytes::copy_from_slice(&PLACEHOLDER[5..40])));
    }

    #[test]
    fn a_copied_placeholder_is_refused_wherever_it_is() {
        for start in 0..=PERIOD {
            for before in 0..2 * PERIOD {
                let copy = [&vec![b'x'; before], &PLACEHOLDER[start..start + LEN_MIN], b"more"].concat();
                assert!(refuse_copies(&copy).is_err(), "from {start}, behind {before} bytes");
            }
        }
        assert!(refuse_copies(&[b'x'; 4096]).is_ok());
        assert!(refuse_copies(b"HTTP/1.1 200 OK\r\n\r\n").is_ok());
    }
}
