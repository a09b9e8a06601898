use std::io;

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;

use crate::blocking::blocking;
use crate::{Blob, Error};

/// A [`Blob`] as an [`io::Read`], for blocking code; see [`Blob::read_with`].
///
/// Errors arrive as [`io::Error`]s around an [`Error`]. The end of the stream is reported only when the blob is
/// verified; a download that was cancelled is an error too.
#[derive(Debug)]
pub struct BlobReader {
    chunks: mpsc::Receiver<Message>,
    current: Bytes,
    state: State,
}

/// As [`Blob::chunk`] gives them. The end is said, not concluded from silence.
type Message = Option<Result<Bytes, Error>>;

#[derive(Clone, Copy, Debug)]
enum State {
    Reading,
    Verified,
    Failed,
}

impl Blob {
    /// Chunks on their way between the two threads, each up to 400 KiB (hyper's read buffer).
    const IN_FLIGHT: usize = 8;

    /// The one bridge from downloads to blocking code: runs `work` on the thread pool for blocking work, and feeds it
    /// the blob.
    ///
    /// A bounded channel lies between the two, so a slow reader slows the download and memory stays constant. They
    /// live and die together: if `work` ends early the rest is not fetched, and if this future is dropped the reader
    /// gets an error.
    pub async fn read_with<T: Send + 'static>(
        self,
        work: impl FnOnce(BlobReader) -> T + Send + 'static,
    ) -> T {
        let (sender, chunks) = mpsc::channel(Self::IN_FLIGHT);
        let reader = BlobReader { chunks, current: Bytes::new(), state: State::Reading };
        tokio::join!(blocking(move || work(reader)), self.feed(sender)).0
    }

    /// Sends every chunk and then the end, unless nobody listens any more.
    async fn feed(mut self, reader: mpsc::Sender<Message>) {
        loop {
            let message = tokio::select! {
                biased;
                () = reader.closed() => return,
                message = self.chunk() => message,
            };
            let last = !matches!(message, Some(Ok(_)));
            if reader.send(message).await.is_err() || last {
                return;
            }
        }
    }
}

impl BlobReader {
    /// Reads what is left, so that the blob is judged even if the caller needs none of it.
    pub fn finish(mut self) -> io::Result<()> {
        while !self.fill()?.is_empty() {
            self.current.clear();
        }
        Ok(())
    }

    /// Bytes to read; none at the verified end.
    fn fill(&mut self) -> io::Result<&mut Bytes> {
        if self.current.is_empty() {
            self.current = match self.state {
                State::Reading => self.receive()?,
                State::Verified => Bytes::new(),
                State::Failed => return Err(io::Error::other("the download has failed before")),
            };
        }
        Ok(&mut self.current)
    }

    fn receive(&mut self) -> io::Result<Bytes> {
        self.state = State::Failed;
        match self.chunks.blocking_recv() {
            Some(Some(chunk)) => {
                let chunk = chunk?;
                self.state = State::Reading;
                Ok(chunk)
            }
            Some(None) => {
                self.state = State::Verified;
                Ok(Bytes::new())
            }
            None => Err(io::Error::other("the download was cancelled")),
        }
    }
}

/// To be used where blocking is allowed, as in [`tokio::task::spawn_blocking`]; elsewhere it panics.
impl io::Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill()?;
        let length = bytes.len().min(buffer.len());
        bytes.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl io::BufRead for BlobReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill().map(|bytes| &**bytes)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use tokio::sync::oneshot;

    use crate::blob::Source;
    use crate::subject::Subject;
    use crate::{Blob, Descriptor, Digest, RedactedUrl};

    const CHUNKS: usize = 100;

    fn blob(source: Source) -> Blob {
        let bytes = [0; CHUNKS];
        let descriptor = Descriptor {
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            media_type: String::new(),
            platform: None,
        };
        let subject = Subject::blob(&"quay.io/a/b".parse().unwrap(), &descriptor);
        let url = RedactedUrl::from(&"https://quay.io/".parse().unwrap());
        Blob::new(subject, &descriptor, url, source)
    }

    #[tokio::test]
    async fn a_slow_reader_slows_the_download() {
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let chunks = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(&[0]))
        });
        let (start, started) = std::sync::mpsc::channel();
        let work = blob(Box::pin(chunks.take(CHUNKS))).read_with(move |mut reader| {
            started.recv().unwrap();
            io::copy(&mut reader, &mut io::sink())
        });
        let look = async {
            // With one thread, a download that could go on would.
            for _ in 0..10 * CHUNKS {
                tokio::task::yield_now().await;
            }
            start.send(()).unwrap();
            taken.load(Ordering::Relaxed)
        };
        let (read, taken) = tokio::join!(work, look);
        assert_eq!(taken, Blob::IN_FLIGHT + 1, "the channel's, and one that waits");
        assert_eq!(read.unwrap(), CHUNKS as u64);
    }

    #[tokio::test]
    async fn a_reader_that_ends_early_cancels_a_download_that_hangs() {
        assert_eq!(blob(Box::pin(stream::pending())).read_with(|_| 7).await, 7);
    }

    #[tokio::test]
    async fn a_cancelled_download_is_not_the_end_of_the_bytes() {
        let (answer, answered) = oneshot::channel();
        let work = blob(Box::pin(stream::pending())).read_with(move |mut reader| {
            let read = [reader.read(&mut [0]).is_err(), reader.read(&mut [0]).is_err()];
            answer.send(read).unwrap();
        });
        tokio::select! {
            biased;
            () = work => panic!("the download hangs"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(answered.await.unwrap(), [true, true]);
    }
}
