//! A file over as many connections as it takes.

use std::fmt;
use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use outbound_http::{retry_after, total_of_rest};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_ENCODING, HeaderValue};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::retry::Tries;
use super::transport::{Reply, Resume, Transport};
use super::{Config, Error, MinRate, OriginUrl, validator};
use crate::RetryPolicy;
use crate::blocking::blocking;

/// Where the bytes of a download go. Its methods may block: they are called on the thread pool for blocking work.
pub trait Sink: Send + 'static {
    /// How many bytes it holds.
    fn written(&self) -> u64;
    /// The strong validator of the file that these bytes are of. Without one they cannot be gone on with.
    fn validator(&self) -> Option<&str>;
    /// Throws away all bytes; those to come are of the file that `validator` names.
    fn restart(&mut self, validator: Option<&str>) -> io::Result<()>;
    /// Bytes are to come. `total` is the size that the whole file will have, if the server states it.
    fn begin(&mut self, total: Option<u64>) -> io::Result<()>;
    /// Takes the next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What a download has to hold while it keeps a server busy, where only so many may run at a time.
pub trait Permission: Send {
    /// Lets others go first: the download waits to try again.
    fn give_back(&mut self);
    /// Waits until the download may go on.
    fn regain(&mut self) -> impl Future<Output = ()> + Send;
}

/// Any number of downloads may run.
impl Permission for () {
    fn give_back(&mut self) {}

    async fn regain(&mut self) {}
}

/// The web servers that images come from.
pub struct Origin {
    transport: Transport,
    tries: u32,
    retry: RetryPolicy,
    limits: Limits,
}

/// What an answer's body is held to.
#[derive(Clone, Copy)]
struct Limits {
    max_size: u64,
    min_rate: MinRate,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("retry", &self.retry).finish_non_exhaustive()
    }
}

impl Origin {
    /// Chunks on their way to the sink, each up to 400 KiB (hyper's read buffer).
    const IN_FLIGHT: usize = 8;

    /// A request that brings less than this counts as one that brought nothing.
    const WORTH_A_REQUEST: u64 = 1 << 20;

    /// A client; proxies are those of the environment.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { tries, retry, max_size, min_rate, .. } = config;
        let limits = Limits { max_size, min_rate };
        Ok(Self { transport: Transport::new(config)?, tries, retry, limits })
    }

    /// Writes the file at `url` into `sink`, after what that holds already.
    ///
    /// The sink is given back in any case, with all the bytes there are: after a failure another call goes on with it.
    /// If this future is dropped, so is the sink, as soon as it has written what was on its way.
    pub async fn download<S: Sink>(&self, url: &OriginUrl, sink: S) -> (S, Result<(), Error>) {
        self.download_permitted(url, sink, &mut ()).await
    }

    /// The same, with a permission that is held already. It is given back while a server that brought nothing is left
    /// alone before the next try.
    pub async fn download_permitted<S: Sink>(
        &self,
        url: &OriginUrl,
        mut sink: S,
        permission: &mut impl Permission,
    ) -> (S, Result<(), Error>) {
        let mut tries = Tries::new(self.tries, self.retry);
        // The size is remembered as long as the sink holds bytes of a file that has it.
        let mut total = None;
        let mut furthest = sink.written();
        loop {
            let (returned, result) = self.request(url, sink, &mut total).await;
            sink = returned;
            let Err(error) = result else { return (sink, Ok(())) };
            if sink.written() >= furthest.saturating_add(Self::WORTH_A_REQUEST) {
                furthest = sink.written();
                tries.renew();
            } else {
                permission.give_back();
            }
            if let Err(error) = tries.next_after(error).await {
                return (sink, Err(error));
            }
            permission.regain().await;
        }
    }

    /// One request, and as many bytes as it brings.
    async fn request<S: Sink>(
        &self,
        url: &OriginUrl,
        sink: S,
        total: &mut Option<u64>,
    ) -> (S, Result<(), Error>) {
        let offset = sink.written();
        let validator =
            sink.validator().filter(|_| offset > 0).and_then(|text| HeaderValue::from_str(text).ok());
        let resume = validator.as_ref().map(|validator| Resume { offset, validator });
        let reply = match self.transport.get(url, resume.as_ref()).await {
            Ok(reply) => reply,
            Err(error) => return (sink, Err(error)),
        };
        let start = match Start::of(&reply, resume.is_some().then_some(offset), sink.validator(), *total) {
            Ok(start) => start,
            Err((error, keep)) => {
                let sink = if keep { sink } else { lend(sink, |sink| drop(sink.restart(None))).await.0 };
                return (sink, Err(error));
            }
        };
        *total = start.total;
        let limits = self.limits;
        let limit = limits.max_size;
        if start.total.is_some_and(|total| total > limit) {
            return (sink, Err(Error::TooLarge { url: reply.url, limit }));
        }
        let prepare = move |sink: &mut S| {
            if !start.resumes {
                sink.restart(start.validator.as_deref())?;
            }
            sink.begin(start.total)
        };
        match lend(sink, prepare).await {
            (sink, Ok(())) => transfer(reply, sink, start.total, limits).await,
            (sink, Err(error)) => (sink, Err(Error::Sink(error))),
        }
    }
}

/// What an answer is the beginning of.
struct Start {
    /// Whether the bytes follow those that are there, or are all from the first.
    resumes: bool,
    total: Option<u64>,
    validator: Option<String>,
}

impl Start {
    /// Judges an answer to a request for everything, or for the rest from `offset` on. With an error comes whether what
    /// is there can still be gone on with.
    fn of(
        reply: &Reply,
        offset: Option<u64>,
        current: Option<&str>,
        known_total: Option<u64>,
    ) -> Result<Self, (Error, bool)> {
        let (status, headers) = (reply.response.status(), reply.response.headers());
        let url = || reply.url.clone();
        let refused =
            || Error::Status { url: url(), status, retry_after: retry_after(headers, SystemTime::now()) };
        let encoding = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
        if let (true, Some(encoding)) = (status.is_success(), encoding) {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect();
            return Err((Error::Encoded { url: url(), encoding }, true));
        }
        match (status, offset) {
            (StatusCode::OK, _) => Ok(Self {
                resumes: false,
                total: reply.response.content_length(),
                validator: validator::strong(headers).map(str::to_owned),
            }),
            (StatusCode::PARTIAL_CONTENT, Some(offset)) => {
                let total = total_of_rest(headers, offset);
                let same_size = known_total.is_none() || known_total == total;
                let same_file = current.is_some_and(|current| !validator::contradicts(headers, current));
                if total.is_some() && same_size && same_file {
                    Ok(Self { resumes: true, total, validator: None })
                } else {
                    Err((Error::WrongPart { url: url(), offset }, false))
                }
            }
            // The file has become shorter, or ends where the connection did.
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => Err((refused(), false)),
            _ => Err((refused(), true)),
        }
    }
}

/// Brings the body of an answer into the sink, which writes on a thread of its own while further bytes arrive.
async fn transfer<S: Sink>(
    mut reply: Reply,
    mut sink: S,
    total: Option<u64>,
    Limits { max_size: limit, min_rate }: Limits,
) -> (S, Result<(), Error>) {
    let offset = sink.written();
    let mut received = offset;
    let (chunks, arriving) = mpsc::channel(Origin::IN_FLIGHT);
    let writer = tokio::task::spawn_blocking(move || {
        let written = write(&mut sink, arriving);
        (sink, written)
    });
    let mut pace = Pace::new(min_rate);
    let end = loop {
        let Ok(chunk) = tokio::time::timeout_at(pace.deadline, reply.response.chunk()).await else {
            let MinRate { bytes, within } = min_rate;
            break Err(Error::TooSlow { url: reply.url, bytes, within });
        };
        match chunk {
            Ok(Some(chunk)) => {
                received = received.saturating_add(chunk.len() as u64);
                pace.count(chunk.len() as u64);
                if total.is_some_and(|total| received > total) {
                    break Err(Error::WrongPart { url: reply.url, offset });
                }
                if received > limit {
                    break Err(Error::TooLarge { url: reply.url, limit });
                }
                let waiting = Instant::now();
                if chunks.send(chunk).await.is_err() {
                    // The writer has an error to tell.
                    break Ok(());
                }
                // A slow disk is none of the server's fault.
                pace.deadline += waiting.elapsed();
            }
            Ok(None) if total.is_none_or(|total| total == received) => break Ok(()),
            Ok(None) => break Err(Error::BrokenOff { url: reply.url, received, total, source: None }),
            Err(error) => {
                let source = Some(error.without_url());
                break Err(Error::BrokenOff { url: reply.url, received, total, source });
            }
        }
    };
    drop(chunks);
    let (sink, written) = joined(writer).await;
    (sink, written.map_err(Error::Sink).and(end))
}

/// Whether bytes come fast enough.
struct Pace {
    rate: MinRate,
    /// Bytes that are still to come before the deadline.
    missing: u64,
    deadline: Instant,
}

impl Pace {
    fn new(rate: MinRate) -> Self {
        Self { rate, missing: rate.bytes, deadline: Instant::now() + rate.within }
    }

    fn count(&mut self, bytes: u64) {
        self.missing = self.missing.saturating_sub(bytes);
        if self.missing == 0 {
            *self = Self::new(self.rate);
        }
    }
}

fn write(sink: &mut impl Sink, mut chunks: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(chunk) = chunks.blocking_recv() {
        sink.write(&chunk)?;
    }
    Ok(())
}

/// Lends the sink to the thread pool for blocking work.
async fn lend<S: Sink, T: Send + 'static>(
    mut sink: S,
    work: impl FnOnce(&mut S) -> T + Send + 'static,
) -> (S, T) {
    blocking(move || {
        let result = work(&mut sink);
        (sink, result)
    })
    .await
}

async fn joined<T>(task: JoinHandle<T>) -> T {
    task.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
