use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

use crate::blob::{Source, SourceError};

/// How fast a blob has to come: a gigabyte from a peer that trickles takes days, and is never silent.
#[derive(Clone, Copy, Debug)]
pub struct MinRate {
    /// So many bytes have to arrive
    pub bytes: u64,
    /// in this time, again and again. Only time that is spent waiting for the peer counts.
    pub within: Duration,
}

impl Default for MinRate {
    fn default() -> Self {
        Self { bytes: 1 << 20, within: Duration::from_mins(5) }
    }
}

/// How one connection keeps to it.
pub(crate) struct Pace {
    rate: MinRate,
    /// Since both were last as much as they have to be.
    bytes: u64,
    waited: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("fewer than {} bytes came within {:?}", .0.bytes, .0.within)]
struct TooSlow(MinRate);

impl Pace {
    pub(crate) const fn new(rate: MinRate) -> Self {
        Self { rate, bytes: 0, waited: Duration::ZERO }
    }

    /// The next bytes of `source`, or an error if they have come too slowly.
    pub(crate) async fn next(&mut self, source: &mut Source) -> Option<Result<Bytes, SourceError>> {
        let start = Instant::now();
        let left = self.rate.within.saturating_sub(self.waited);
        let Ok(next) = timeout(left, source.next()).await else {
            return Some(Err(TooSlow(self.rate).into()));
        };
        self.waited = self.waited.saturating_add(start.elapsed());
        if let Some(Ok(chunk)) = &next {
            self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        }
        if self.bytes >= self.rate.bytes {
            *self = Self::new(self.rate);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use tokio::time::sleep;

    use super::{MinRate, Pace};
    use crate::blob::Source;

    const SECOND: Duration = Duration::from_secs(1);

    /// A byte each second.
    fn trickle() -> Source {
        let byte = || async { Ok(Bytes::from_static(&[0])) };
        Box::pin(stream::repeat_with(byte).then(|byte| async {
            sleep(SECOND).await;
            byte.await
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn who_trickles_is_left() {
        let mut pace = Pace::new(MinRate { bytes: 100, within: Duration::from_millis(60_500) });
        let mut source = trickle();
        for _ in 0..60 {
            pace.next(&mut source).await.unwrap().unwrap();
        }
        let error = pace.next(&mut source).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "fewer than 100 bytes came within 60.5s");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_fast_enough_may_take_any_time_and_so_may_the_reader() {
        let mut pace = Pace::new(MinRate { bytes: 50, within: Duration::from_millis(60_500) });
        let mut source = trickle();
        for _ in 0..500 {
            pace.next(&mut source).await.unwrap().unwrap();
            sleep(100 * SECOND).await;
        }
    }
}
