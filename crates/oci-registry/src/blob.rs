use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};

use crate::redacted_url::RedactedUrl;
use crate::subject::Subject;
use crate::trail::Trail;
use crate::verify::{Flaw, Verifier};
use crate::{Descriptor, Digest, Error};

/// Where the bytes come from. Everything that finds bytes (a file, or as many connections as it takes) lies below this
/// line, everything that judges them above it.
pub(crate) type Source = Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>;
pub(crate) type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// The bytes of one blob, on their way.
///
/// They are counted and hashed as they pass. The last of them is handed out only when size and digest are right, so
/// whoever has seen the end has seen the right bytes, and whoever has not must throw away what it has.
pub struct Blob {
    subject: Subject,
    trail: Arc<Trail>,
    verifier: Verifier,
    /// The last chunk, until the verdict. Kept here and not in a future, which may be dropped half-way.
    last: Option<Bytes>,
    /// `None` once everything is said, be it good or bad.
    source: Option<Source>,
}

impl Blob {
    /// All of `source` comes from `url`.
    pub(crate) fn new(subject: Subject, blob: &Descriptor, url: RedactedUrl, source: Source) -> Self {
        Self::with_trail(subject, blob, Arc::new(Trail::of_one(url)), source)
    }

    /// Whoever feeds `source` tells `trail` where the bytes come from.
    pub(crate) fn with_trail(subject: Subject, blob: &Descriptor, trail: Arc<Trail>, source: Source) -> Self {
        Self {
            subject,
            trail,
            verifier: Verifier::new(blob.digest, blob.size),
            last: None,
            source: Some(source),
        }
    }

    /// The digest the bytes are held against.
    pub const fn digest(&self) -> Digest {
        self.verifier.expected()
    }

    /// How many bytes there will be.
    pub const fn size(&self) -> u64 {
        self.verifier.size()
    }

    /// The next bytes, never none. `None` after the last, which are verified, and after an error.
    ///
    /// Nothing is lost when the future is dropped before it is done.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        let next = self.next().await;
        if !matches!(next, Ok(Some(_))) || self.verifier.is_full() {
            self.source = None;
        }
        next.transpose()
    }

    /// All bytes at once, if they are no more than `limit`.
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes, Error> {
        if self.size() > limit {
            return Err(Error::TooLarge { subject: self.subject, limit });
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes.freeze())
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(source) = &mut self.source {
            match source.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    self.verifier.push(&chunk).map_err(|flaw| self.error(flaw))?;
                    if !self.verifier.is_full() {
                        return Ok(Some(chunk));
                    }
                    // All there should be: kept back until the source has ended and the digest is right.
                    self.last = Some(chunk);
                }
                Some(Err(cause)) => {
                    return Err(self.broken_off(self.verifier.received(), Some(cause)));
                }
                None => {
                    self.verifier.finish().map_err(|flaw| self.error(flaw))?;
                    return Ok(self.last.take());
                }
            }
        }
        Ok(None)
    }

    fn error(&self, flaw: Flaw) -> Error {
        let subject = self.subject.clone();
        match flaw {
            Flaw::Truncated { received } => self.broken_off(received, None),
            Flaw::TooLong => self.trail.blame(Error::TooLong { subject, expected: self.size() }),
            Flaw::DigestMismatch { actual } => {
                self.trail.blame(Error::DigestMismatch { subject, expected: self.digest(), actual })
            }
        }
    }

    fn broken_off(&self, received: u64, source: Option<SourceError>) -> Error {
        let (url, resumed) = self.trail.position();
        Error::Truncated {
            subject: self.subject.clone(),
            url,
            expected: self.size(),
            received,
            resumed,
            source,
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = self.verifier.received();
        f.debug_struct("Blob")
            .field("subject", &self.subject)
            .field("received", &received)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Blob, SourceError};
    use crate::subject::Subject;
    use crate::{Descriptor, Digest, RedactedUrl, Reference};
    use bytes::Bytes;
    use futures_util::{FutureExt as _, stream};
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn nothing_is_lost_when_a_reader_loses_patience() {
        let reference: Reference = "quay.io/a/b".parse().unwrap();
        let (digest, size) = (Digest::of(b"ab"), 2);
        let descriptor = Descriptor { digest, size, media_type: String::new(), platform: None };
        let (sender, mut receiver) = mpsc::unbounded_channel::<Result<Bytes, SourceError>>();
        let source = Box::pin(stream::poll_fn(move |context| receiver.poll_recv(context)));
        let url = RedactedUrl::from(&"https://quay.io/".parse().unwrap());
        let mut blob = Blob::new(Subject::blob(&reference, &descriptor), &descriptor, url, source);

        assert!(blob.chunk().now_or_never().is_none());
        sender.send(Ok("a".into())).unwrap();
        assert_eq!(blob.chunk().await.unwrap().unwrap(), "a");
        sender.send(Ok("b".into())).unwrap();
        assert!(blob.chunk().now_or_never().is_none(), "the last chunk is kept back until the end is seen");
        drop(sender);
        assert_eq!(blob.chunk().await.unwrap().unwrap(), "b");
        assert!(blob.chunk().await.is_none());
    }
}
