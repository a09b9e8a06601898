//! Answers of a source, kept for a moment.
//!
//! Virtual media reads an ISO in thousands of small ranges. Requests that need the same at the same time share one
//! call, and the answer serves later ones for as long as the admin allows. Only who shows the same credentials gets it,
//! for all others are the source's to judge. A failure is told to those who waited for it, and forgotten.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Credentials, InfraEnv, InfraEnvError, InfraEnvId, InfraEnvSource, Purpose};

/// Beyond this it is no moment any more.
const MAX_LIFETIME: Duration = Duration::from_hours(24);

/// How many answers are kept or waited for.
const MAX_ANSWERS: usize = 256;

/// How much memory the kept answers have together.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A source whose answers are used more than once.
pub struct Reusing<S>(Arc<Inner<S>>);

struct Inner<S> {
    source: S,
    lifetime: Duration,
    /// Makes the hashes of credentials worthless elsewhere.
    salt: Uuid,
    answers: Mutex<VecDeque<(Key, Answer)>>,
}

/// What an answer depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    id: InfraEnvId,
    purpose: Purpose,
    credentials: [u8; 32],
}

type Outcome = Result<InfraEnv, InfraEnvError>;
type Asking = BoxFuture<'static, Outcome>;

enum Answer {
    /// Being asked for. When all who wait are gone, so is the call.
    Expected(WeakShared<Asking>),
    Kept {
        infra_env: InfraEnv,
        until: Instant,
    },
}

impl<S> Reusing<S> {
    /// Keeps each answer of `source` for `lifetime` after it came, but not for more than a day. Where that is zero,
    /// everything is always asked for.
    pub fn new(source: S, lifetime: Duration) -> Self {
        let (lifetime, answers) = (lifetime.min(MAX_LIFETIME), Mutex::default());
        Self(Arc::new(Inner { source, lifetime, salt: Uuid::new_v4(), answers }))
    }
}

impl<S: fmt::Debug> fmt::Debug for Reusing<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reusing").field("source", &self.0.source).field("lifetime", &self.0.lifetime).finish()
    }
}

#[async_trait]
impl<S: InfraEnvSource> InfraEnvSource for Reusing<S> {
    async fn infra_env(&self, id: InfraEnvId, purpose: Purpose, credentials: &Credentials) -> Outcome {
        if self.0.lifetime.is_zero() {
            return self.0.source.infra_env(id, purpose, credentials).await;
        }
        let key = Key { id, purpose, credentials: credentials.hash(self.0.salt) };
        match self.0.find(key, credentials) {
            Found::Kept(infra_env) => Ok(infra_env),
            Found::Expected(asking) => asking.await,
        }
    }
}

enum Found {
    Kept(InfraEnv),
    Expected(Shared<Asking>),
}

impl<S: InfraEnvSource> Inner<S> {
    /// Finds what is there, or begins to ask.
    fn find(self: &Arc<Self>, key: Key, credentials: &Credentials) -> Found {
        let mut answers = self.answers();
        forget_expired(&mut answers);
        match answers.iter().find(|(found, _)| *found == key).map(|(_, answer)| answer) {
            Some(Answer::Kept { infra_env, .. }) => return Found::Kept(infra_env.clone()),
            Some(Answer::Expected(asking)) => {
                if let Some(asking) = asking.upgrade() {
                    return Found::Expected(asking);
                }
            }
            None => {}
        }
        let asking = Arc::clone(self).ask(key, credentials.clone()).boxed().shared();
        if let Some(expected) = asking.downgrade() {
            put(&mut answers, key, Answer::Expected(expected));
        }
        Found::Expected(asking)
    }

    async fn ask(self: Arc<Self>, key: Key, credentials: Credentials) -> Outcome {
        let outcome = self.source.infra_env(key.id, key.purpose, &credentials).await;
        let mut answers = self.answers();
        match &outcome {
            Ok(infra_env) => {
                let until = Instant::now() + self.lifetime;
                put(&mut answers, key, Answer::Kept { infra_env: infra_env.clone(), until });
                tokio::spawn(forget_at(Arc::downgrade(&self), until));
            }
            Err(_) => answers.retain(|(found, _)| *found != key),
        }
        outcome
    }

    fn answers(&self) -> MutexGuard<'_, VecDeque<(Key, Answer)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets what has expired by then, though nobody asks: answers hold secrets.
async fn forget_at<S>(inner: Weak<Inner<S>>, until: Instant) {
    tokio::time::sleep_until(until).await;
    if let Some(inner) = inner.upgrade() {
        forget_expired(&mut inner.answers.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn forget_expired(answers: &mut VecDeque<(Key, Answer)>) {
    let now = Instant::now();
    answers.retain(|(_, answer)| !matches!(answer, Answer::Kept { until, .. } if *until <= now));
}

/// Adds the latest answer in place of another one to the same question, and drops the oldest ones beyond the bounds.
fn put(answers: &mut VecDeque<(Key, Answer)>, key: Key, answer: Answer) {
    answers.retain(|(found, _)| *found != key);
    answers.push_back((key, answer));
    let mut bytes: usize = answers.iter().map(|(_, answer)| answer.size()).sum();
    while answers.len() > MAX_ANSWERS || bytes > MAX_BYTES {
        let Some((_, oldest)) = answers.pop_front() else { return };
        bytes -= oldest.size();
    }
}

impl Answer {
    /// How much memory it takes, roughly.
    fn size(&self) -> usize {
        match self {
            Self::Expected(_) => 0,
            Self::Kept { infra_env: InfraEnv { ignition, kernel_arguments, ramdisk, .. }, .. } => {
                let arguments = kernel_arguments.iter().flatten().map(String::len).sum::<usize>();
                ignition.len() + arguments + ramdisk.as_ref().map_or(0, Bytes::len)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::StatusCode;
    use tokio::sync::{Notify, Semaphore};

    use super::super::Part;
    use super::*;

    /// Answers with the number of the call, and only when allowed.
    #[derive(Debug)]
    struct Counting {
        calls: AtomicUsize,
        asked: Notify,
        allowed: Semaphore,
        size: usize,
    }

    #[async_trait]
    impl InfraEnvSource for Arc<Counting> {
        async fn infra_env(&self, _: InfraEnvId, _: Purpose, credentials: &Credentials) -> Outcome {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            self.asked.notify_one();
            self.allowed.acquire().await.unwrap().forget();
            if matches!(credentials, Credentials::Anonymous) {
                return Err(InfraEnvError::Refused {
                    part: Part::Ignition,
                    status: StatusCode::UNAUTHORIZED,
                });
            }
            let mut ignition = call.to_string().into_bytes();
            ignition.resize(self.size.max(ignition.len()), b' ');
            let ignition = Bytes::from(ignition);
            Ok(InfraEnv { ignition, last_modified: None, kernel_arguments: None, ramdisk: None })
        }
    }

    const LIFETIME: Duration = Duration::from_secs(1);

    fn reusing(allowed: usize, size: usize) -> (Arc<Counting>, Reusing<Arc<Counting>>) {
        let (calls, asked, allowed) = (AtomicUsize::new(0), Notify::new(), Semaphore::new(allowed));
        let source = Arc::new(Counting { calls, asked, allowed, size });
        (Arc::clone(&source), Reusing::new(source, LIFETIME))
    }

    fn id(number: usize) -> InfraEnvId {
        format!("00000000-0000-0000-0000-{number:012}").parse().unwrap()
    }

    fn key(text: &str) -> Credentials {
        Credentials::ApiKey(text.into())
    }

    async fn ask(
        reusing: &Reusing<Arc<Counting>>,
        number: usize,
        credentials: &Credentials,
    ) -> Option<String> {
        let infra_env = reusing.infra_env(id(number), Purpose::FullIso, credentials).await.ok()?;
        let number = &infra_env.ignition[..infra_env.ignition.len().min(8)];
        Some(String::from_utf8(number.to_vec()).unwrap().trim().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_serves_for_its_lifetime() {
        let (source, reusing) = reusing(usize::MAX >> 3, 0);
        for (advance, expected) in [(0, "0"), (999, "0"), (1, "1"), (500, "1"), (5000, "2")] {
            tokio::time::advance(Duration::from_millis(advance)).await;
            assert_eq!(ask(&reusing, 1, &key("k")).await.as_deref(), Some(expected), "after {advance} ms");
        }
        assert_eq!(source.calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_forgotten_when_it_expires_though_nobody_asks() {
        let (_, reusing) = reusing(usize::MAX >> 3, 0);
        ask(&reusing, 1, &key("k")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(990)).await;
        assert_eq!(reusing.0.answers().len(), 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(reusing.0.answers().len(), 0);
    }

    #[tokio::test]
    async fn who_asks_something_else_or_shows_something_else_gets_an_answer_of_his_own() {
        let (_, reusing) = reusing(usize::MAX >> 3, 0);
        let header = |text: &'static str| axum::http::HeaderValue::from_static(text).into();
        let mut answers = Vec::new();
        for credentials in [
            key("k"),
            key("kk"),
            Credentials::ImageToken(header("k")),
            Credentials::Authorization(header("k")),
        ] {
            for number in [1, 2] {
                answers.push(ask(&reusing, number, &credentials).await.unwrap());
            }
            let other = reusing.infra_env(id(1), Purpose::NetworkBoot, &credentials).await.unwrap();
            answers.push(String::from_utf8(other.ignition.to_vec()).unwrap());
        }
        assert_eq!(answers, (0..12).map(|call| call.to_string()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_asks_at_the_same_time_shares_one_call() {
        let (source, reusing) = reusing(0, 0);
        let key = key("k");
        let all = futures_util::future::join_all((0..10).map(|_| ask(&reusing, 1, &key)));
        let (answers, ()) = tokio::join!(all, async {
            source.asked.notified().await;
            source.allowed.add_permits(1);
        });
        assert!(answers.iter().all(|answer| answer.as_deref() == Some("0")), "{answers:?}");
    }

    #[tokio::test]
    async fn a_failure_is_shared_but_never_kept() {
        let (source, reusing) = reusing(0, 0);
        let all = futures_util::future::join_all((0..10).map(|_| ask(&reusing, 1, &Credentials::Anonymous)));
        let (answers, ()) = tokio::join!(all, async {
            source.asked.notified().await;
            source.allowed.add_permits(1);
        });
        assert!(answers.iter().all(Option::is_none));
        assert_eq!(source.calls.load(Ordering::SeqCst), 1);
        source.allowed.add_permits(1);
        assert_eq!(ask(&reusing, 1, &Credentials::Anonymous).await, None);
        assert_eq!(source.calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_call_goes_on_while_anybody_waits_and_ends_with_the_last_of_them() {
        let (source, reusing) = reusing(0, 0);
        let key = key("k");
        {
            let mut first = Box::pin(ask(&reusing, 1, &key));
            let mut second = Box::pin(ask(&reusing, 1, &key));
            assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
            drop(first);
            source.allowed.add_permits(1);
            assert_eq!(second.await.as_deref(), Some("0"));
        }
        {
            let alone = Box::pin(ask(&reusing, 2, &key));
            assert!(alone.now_or_never().is_none());
        }
        source.allowed.add_permits(1);
        assert_eq!(ask(&reusing, 2, &key).await.as_deref(), Some("2"), "call 1 ended with its only client");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_much_is_kept() {
        for (size, kept) in [(0, MAX_ANSWERS), (MAX_BYTES / 4, 4)] {
            let (source, reusing) = reusing(usize::MAX >> 3, size);
            for number in 0..=kept {
                ask(&reusing, number, &key("k")).await.unwrap();
            }
            assert_eq!(ask(&reusing, 1, &key("k")).await.as_deref(), Some("1"), "still there");
            assert_eq!(source.calls.load(Ordering::SeqCst), kept + 1);
            ask(&reusing, 0, &key("k")).await.unwrap();
            assert_eq!(source.calls.load(Ordering::SeqCst), kept + 2, "the oldest was dropped");
        }
    }
}
