//! Whether a client uses its connection, told by what it sends, by the responses it waits for, and by what it takes of
//! them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::Version;
use tokio::sync::watch;
use tokio::time::Instant;

use super::patience::Patience;

/// How often within the time that a client may take nothing it is looked whether it has.
const LOOKS: u32 = 10;

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    phase: watch::Sender<Phase>,
    writes: Mutex<Writes>,
    patience: Patience,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The head of a request is awaited or arriving.
    Head { since: Instant },
    /// So many requests have no complete response yet.
    Serving { requests: usize },
    /// All responses are complete, but may have to be sent yet.
    Idle { since: Instant, version: Version },
}

#[derive(Clone, Copy, Debug)]
struct Writes {
    last: Instant,
    /// The system takes nothing more, because the client is slow or takes nothing.
    blocked: Option<Blocked>,
}

/// What the client was last seen taking.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    since: Instant,
    /// So many bytes were left then, where it can be told.
    untaken: Option<u32>,
}

/// Why a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client asks for nothing.
    Request,
    /// The client does not take what it has asked for.
    Response,
}

impl Activity {
    pub(super) fn new(patience: Patience) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            phase: watch::Sender::new(Phase::Head { since: now }),
            writes: Mutex::new(Writes { last: now, blocked: None }),
            patience,
        })
    }

    /// From now on requests can come.
    pub(super) fn connected(&self) {
        self.phase.send_replace(Phase::Head { since: Instant::now() });
    }

    /// A request's head is complete.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Serving {
        self.phase.send_modify(|phase| {
            let others = if let Phase::Serving { requests } = phase { *requests } else { 0 };
            *phase = Phase::Serving { requests: others + 1 };
        });
        Serving { activity: Arc::clone(self), version }
    }

    /// Waits until the client has taken longer than it may.
    ///
    /// Whoever waits polls the connection, too, whenever this wakes, and first: a socket that is blocked looks then
    /// whether its client has taken anything.
    pub(super) async fn overdue(&self) -> Overdue {
        let mut phases = self.phase.subscribe();
        loop {
            let (deadline, overdue) = self.deadline(*phases.borrow_and_update());
            if deadline <= Instant::now() {
                return overdue;
            }
            let look = deadline.min(Instant::now() + self.patience.stall / LOOKS);
            // A change or the time: either way there is a deadline to be found again. The sender is `self`.
            let _ = tokio::time::timeout_at(look, phases.changed()).await;
        }
    }

    /// When the client will be overdue if nothing happens until then.
    fn deadline(&self, phase: Phase) -> (Instant, Overdue) {
        let writes = *self.writes();
        match (phase, writes.blocked) {
            (Phase::Head { since }, _) => (since + self.patience.head, Overdue::Request),
            (_, Some(Blocked { since, .. })) => (since + self.patience.stall, Overdue::Response),
            // The client waits for us. This is when to look again; it cannot have blocked for longer by then.
            (Phase::Serving { .. }, None) => (Instant::now() + self.patience.stall, Overdue::Response),
            (Phase::Idle { since, .. }, None) => {
                (since.max(writes.last) + self.patience.idle, Overdue::Request)
            }
        }
    }

    /// Bytes came. Behind a response they begin a new head, unless they are frames of HTTP/2, which may mean
    /// anything.
    pub(super) fn read(&self) {
        self.phase.send_if_modified(|phase| {
            let begins = matches!(phase, Phase::Idle { version, .. } if *version < Version::HTTP_2);
            if begins {
                *phase = Phase::Head { since: Instant::now() };
            }
            begins
        });
    }

    /// The system took bytes.
    pub(super) fn wrote(&self) {
        *self.writes() = Writes { last: Instant::now(), blocked: None };
    }

    /// The system takes nothing; of what it took before, so much is untaken by the client.
    pub(super) fn blocked(&self, untaken: Option<u32>) {
        let mut writes = self.writes();
        if writes.blocked.is_none_or(|blocked| blocked.untaken != untaken) {
            writes.blocked = Some(Blocked { since: Instant::now(), untaken });
        }
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub(super) struct Serving {
    activity: Arc<Activity>,
    version: Version,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.activity.phase.send_modify(|phase| {
            *phase = match *phase {
                Phase::Serving { requests } if requests > 1 => Phase::Serving { requests: requests - 1 },
                _ => Phase::Idle { since: Instant::now(), version: self.version },
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::http::Version;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::super::socket::{Queued, Socket};
    use super::{Activity, Overdue, Patience};

    impl Queued for DuplexStream {
        fn untaken(&self) -> Option<u32> {
            None
        }
    }

    /// A connection that takes 1 KiB before its client takes any.
    fn connection() -> (Arc<Activity>, Socket<DuplexStream>, DuplexStream) {
        let activity = Activity::new(Patience::default());
        let (ours, clients) = duplex(1024);
        (Arc::clone(&activity), Socket::new(ours, activity), clients)
    }

    /// After how long the client is overdue, and why.
    async fn overdue(activity: &Activity) -> (Duration, Overdue) {
        let before = Instant::now();
        let overdue = activity.overdue().await;
        (before.elapsed(), overdue)
    }

    const HEAD: (Duration, Overdue) = (Duration::from_secs(3), Overdue::Request);
    const IDLE: (Duration, Overdue) = (Duration::from_mins(3), Overdue::Request);
    const STALL: (Duration, Overdue) = (Duration::from_mins(10), Overdue::Response);

    #[tokio::test(start_paused = true)]
    async fn a_connection_begins_with_a_head() {
        let (activity, _socket, _client) = connection();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(overdue(&activity).await.0, Duration::from_secs(1));
        activity.connected();
        assert_eq!(overdue(&activity).await, HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_for_10_minutes_is_overdue() {
        let (activity, mut socket, _client) = connection();
        let _serving = activity.begin(Version::HTTP_11);
        let begun = Instant::now();
        let download = async {
            socket.write_all(&[0; 1024]).await.unwrap();
            // What the service itself takes its time for is not the client's fault.
            sleep(Duration::from_hours(1)).await;
            socket.write_all(&[0; 1]).await.unwrap();
        };
        tokio::select! {
            overdue = activity.overdue() => assert_eq!(overdue, Overdue::Response),
            () = download => panic!("the client took a byte"),
        }
        assert_eq!(begun.elapsed(), Duration::from_mins(70));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_byte_now_and_then_is_never_overdue() {
        let (activity, mut socket, mut client) = connection();
        let _serving = activity.begin(Version::HTTP_11);
        let begun = Instant::now();
        let download = async {
            socket.write_all(&[0; 1024 + 100]).await.unwrap();
        };
        let slow = async {
            loop {
                sleep(Duration::from_secs(599)).await;
                client.read_u8().await.unwrap();
            }
        };
        tokio::select! {
            () = download => assert_eq!(begun.elapsed(), Duration::from_secs(59_900)),
            overdue = overdue(&activity) => panic!("{overdue:?}"),
            () = slow => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_less_than_makes_the_socket_writable_is_not_overdue() {
        let activity = Activity::new(Patience::default());
        let _serving = activity.begin(Version::HTTP_11);
        let begun = Instant::now();
        // As the connection does whenever it is polled.
        let looks = async {
            for minute in 0.. {
                // A byte every 9 minutes, and the last one after an hour and a half.
                activity.blocked(Some(1_000_000 - (minute / 9).min(10)));
                sleep(Duration::from_mins(1)).await;
            }
        };
        tokio::select! {
            biased;
            () = looks => {}
            overdue = activity.overdue() => assert_eq!(overdue, Overdue::Response),
        }
        assert_eq!(begun.elapsed(), Duration::from_mins(90 + 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_complete_but_not_taken_yet_has_the_time_of_a_download() {
        let (activity, mut socket, mut client) = connection();
        drop(activity.begin(Version::HTTP_11));
        let mut rest = tokio::spawn(async move {
            socket.write_all(&[0; 1025]).await.unwrap();
            socket
        });
        // So that it is blocked before anybody looks.
        tokio::task::yield_now().await;
        tokio::select! {
            overdue = overdue(&activity) => assert_eq!(overdue, STALL),
            _ = &mut rest => panic!("the client took a byte"),
        }
        client.read_u8().await.unwrap();
        let _socket = rest.await.unwrap();
        assert_eq!(overdue(&activity).await, IDLE, "from the last byte on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_for_3_minutes_at_most_and_a_further_head_takes_3_seconds() {
        let (activity, mut socket, mut client) = connection();
        let first = activity.begin(Version::HTTP_11);
        drop(activity.begin(Version::HTTP_11));
        drop(first);
        assert_eq!(overdue(&activity).await, IDLE);
        client.write_all(b"G").await.unwrap();
        socket.read_u8().await.unwrap();
        assert_eq!(overdue(&activity).await, HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_http_2_between_requests_begin_no_head() {
        let (activity, mut socket, mut client) = connection();
        drop(activity.begin(Version::HTTP_2));
        client.write_all(b"G").await.unwrap();
        socket.read_u8().await.unwrap();
        assert_eq!(overdue(&activity).await, IDLE);
    }
}
