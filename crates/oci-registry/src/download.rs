use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use coreos_names::WithCauses;
use futures_util::stream;

use crate::blob::{Source, SourceError};
use crate::client::Inner;
use crate::pace::Pace;
use crate::reply::Reply;
use crate::rounds::Rounds;
use crate::trail::Trail;
use crate::{Blob, Descriptor, Error, PullSource, Reference};

/// The bytes of one blob, fetched over as many connections as it takes.
///
/// When one breaks, the registry is asked for the rest (never where it redirected to: presigned links expire), or some
/// other source is. Nothing is verified here: whatever is pieced together is judged as a whole by [`Blob`].
pub(crate) struct Download {
    client: Arc<Inner>,
    blob: Descriptor,
    rounds: Rounds,
    trail: Arc<Trail>,
    body: Source,
    pace: Pace,
    /// How many bytes of the body are handed out already, for want of ranges.
    skip: u64,
    /// How many bytes have been handed out.
    offset: u64,
    /// How many had been when it was last said to get on.
    got_to: u64,
    /// Who has been asked for the whole since then, for wrong ranges.
    started_over: Vec<Reference>,
}

/// The rest of a blob, from one source.
pub(crate) struct Opened {
    pub(crate) reply: Reply,
    /// How much of it is not asked for.
    pub(crate) skip: u64,
}

impl Download {
    /// Whoever gets so much further, in however many pieces, gets on, and may break as often as it likes.
    const PROGRESS: u64 = 1 << 20;

    /// Begins with an answer to the first request of `rounds` that had one.
    pub(crate) fn start(
        client: Arc<Inner>,
        blob: &Descriptor,
        rounds: Rounds,
        place: Reference,
        opened: Opened,
    ) -> Blob {
        let Opened { reply, skip } = opened;
        let subject = rounds.subject().clone();
        let places = rounds.places().cloned().collect();
        let experience = Arc::clone(&client.experience);
        let image = subject.reference().clone();
        let trail = Arc::new(Trail::of_many(image, places, experience, reply.url.clone(), place));
        let download = Self {
            pace: Pace::new(client.min_rate),
            client,
            blob: blob.clone(),
            rounds,
            trail: Arc::clone(&trail),
            body: reply.into_source(),
            skip,
            offset: 0,
            got_to: 0,
            started_over: Vec::new(),
        };
        Blob::with_trail(subject, blob, trail, download.into_source())
    }

    /// The future that fetches the next bytes is kept in the stream: whoever stops waiting for them loses nothing.
    fn into_source(self) -> Source {
        Box::pin(stream::unfold(Some(self), |download| async {
            let mut download = download?;
            match download.next().await {
                Ok(chunk) => Some((Ok(chunk?), Some(download))),
                Err(cause) => Some((Err(cause), None)),
            }
        }))
    }

    /// The next bytes; `None` when there are none, too soon or not.
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        loop {
            let cause = match self.pace.next(&mut self.body).await {
                Some(Ok(chunk)) => {
                    let chunk = self.unseen(chunk);
                    if chunk.is_empty() {
                        continue;
                    }
                    self.offset = self.offset.saturating_add(chunk.len() as u64);
                    return Ok(Some(chunk));
                }
                Some(Err(cause)) => Some(cause),
                None => None,
            };
            // However it ended: all is there.
            if self.offset >= self.blob.size {
                return Ok(None);
            }
            if let Err(error) = self.resume(cause).await {
                return match error {
                    // Says no more than whoever reports that the blob broke off.
                    Error::Truncated { source: None, .. } => Ok(None),
                    Error::Truncated { source: Some(cause), .. } => Err(cause),
                    error => Err(error.into()),
                };
            }
        }
    }

    /// A chunk without what has been handed out before.
    fn unseen(&mut self, mut chunk: Bytes) -> Bytes {
        let seen = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip -= seen as u64;
        chunk.advance(seen);
        chunk
    }

    /// Finds somebody who has the rest.
    async fn resume(&mut self, cause: Option<SourceError>) -> Result<(), Error> {
        // Closes the connection, if there is still one.
        self.body = Box::pin(stream::empty());
        let (url, resumed) = self.trail.position();
        let (digest, size) = (self.blob.digest, self.blob.size);
        let broken = Error::Truncated {
            subject: self.rounds.subject().clone(),
            url,
            expected: size,
            received: self.offset,
            resumed,
            source: cause,
        };
        tracing::info!(
            blob.digest = %digest, blob.size = size, blob.received = self.offset, error = %WithCauses(&broken),
            "a download broke off"
        );
        let got_on = self.offset - self.got_to >= Self::PROGRESS;
        if got_on || !self.rounds.is_resuming() {
            self.rounds.resume(&self.client.resume);
        }
        if got_on {
            self.got_to = self.offset;
            self.started_over.clear();
        } else {
            self.rounds.failed(broken);
        }

        loop {
            let source = self.rounds.next().await?;
            match self.open(&source).await {
                Ok(Opened { reply, skip }) => {
                    tracing::info!(
                        blob.digest = %digest, blob.size = size, blob.received = self.offset,
                        source.url = %reply.url, from_the_beginning = skip > 0, "a download goes on"
                    );
                    self.trail.resumed(reply.url.clone(), source.reference);
                    self.rounds.answered();
                    (self.skip, self.body) = (skip, reply.into_source());
                    self.pace = Pace::new(self.client.min_rate);
                    return Ok(());
                }
                Err(error) => self.rounds.failed(error),
            }
        }
    }

    /// The rest, from this source. One that cannot count is asked once for the whole.
    async fn open(&mut self, source: &PullSource) -> Result<Opened, Error> {
        match self.client.open(source, &self.blob, self.offset).await {
            Err(wrong @ Error::WrongRange { .. }) if !self.started_over.contains(&source.reference) => {
                self.started_over.push(source.reference.clone());
                tracing::debug!(error = %WithCauses(&wrong), "asking for the whole");
                match self.client.open_whole(source, &self.blob, self.offset).await {
                    Err(error) if !error.is_retryable() && !error.is_wrong_content() => Err(wrong),
                    other => other,
                }
            }
            other => other,
        }
    }
}
