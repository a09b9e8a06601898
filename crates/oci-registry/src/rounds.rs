use std::mem;
use std::sync::Arc;
use std::time::Duration;

use coreos_names::WithCauses;
use tokio::time::{Instant, sleep_until};

use crate::error::FailedSource;
use crate::experience::Experience;
use crate::subject::Subject;
use crate::{Error, PullSource, Reference, ResumePatience, Retry};

/// Whom to ask next for one thing, and when.
///
/// Every source is asked once, one right after the other. Only when all have failed is there a wait, each for as long as
/// it asked for, and those are asked again that may recover: as often as [`Retry`] says, or, once there is something to
/// lose, as long as [`ResumePatience`] says. (Taking the request as an `AsyncFn` would read better, but
/// makes futures that no task may be spawned with: rust-lang/rust#110338.)
#[derive(Debug)]
pub(crate) struct Rounds {
    subject: Subject,
    candidates: Vec<Candidate>,
    /// Which of them is being asked.
    asked: usize,
    /// Before everything else.
    start: Instant,
    retry: Retry,
    /// How long the rest is waited for, and since when. `None` as long as nobody has begun.
    resuming: Option<(ResumePatience, Instant)>,
    experience: Arc<Experience>,
}

#[derive(Debug)]
struct Candidate {
    source: PullSource,
    /// How often it has failed without getting anything done.
    failures: u32,
    /// When it may be asked. `None`: no more.
    due: Option<Instant>,
    /// What it said last.
    error: Option<Error>,
}

impl Rounds {
    /// Starts with the sources of an image; there must be one.
    pub(crate) fn new(
        subject: Subject,
        mut sources: Vec<PullSource>,
        retry: Retry,
        experience: Arc<Experience>,
    ) -> Self {
        experience.rank(subject.reference(), &mut sources);
        let start = Instant::now();
        let candidate = |source| Candidate { source, failures: 0, due: Some(start), error: None };
        let candidates = sources.into_iter().map(candidate).collect();
        Self { subject, candidates, asked: 0, start, retry, resuming: None, experience }
    }

    /// Waits for the next source to be asked. An error if none is left.
    pub(crate) async fn next(&mut self) -> Result<PullSource, Error> {
        let due = |(_, candidate): &(usize, &Candidate)| candidate.due;
        let next = self.candidates.iter().enumerate().filter(|next| due(next).is_some()).min_by_key(due);
        let Some((index, Candidate { source, due: Some(due), .. })) = next else {
            return Err(self.give_up());
        };
        let source = source.clone();
        if *due > Instant::now() {
            tracing::debug!(source.reference = %source.reference, "waiting to ask again");
            sleep_until(*due).await;
        }
        self.asked = index;
        Ok(source)
    }

    /// Notes that the source which was asked did not have it.
    pub(crate) fn failed(&mut self, error: Error) {
        let Candidate { source, failures, due, error: last } = &mut self.candidates[self.asked];
        *failures = failures.saturating_add(1);
        let delay = match &self.resuming {
            None => self.retry.delay(*failures, &error),
            Some((patience, since)) => patience.delay(*failures, &error, since.elapsed()),
        };
        // Later than those that are still to be asked for the first time.
        *due = delay.map(|delay| Instant::now() + delay.max(Duration::from_nanos(1)));
        tracing::debug!(
            source.reference = %source.reference, error = %WithCauses(&error), ask_again_in = ?delay,
            "a source failed"
        );
        if error.is_wrong_content() {
            self.experience.distrust(self.subject.reference(), &source.reference);
        }
        *last = Some(error);
    }

    /// Notes that the source which was asked has it.
    pub(crate) fn answered(&self) {
        if self.candidates.len() > 1 {
            let source = &self.candidates[self.asked].source;
            self.experience.answered(self.subject.reference(), &source.reference);
        }
    }

    /// Gives the rest of what has been begun all the time that `patience` allows, from now on. Whoever may recover is
    /// asked again, first of all whoever was asked last: it got on.
    pub(crate) fn resume(&mut self, patience: &ResumePatience) {
        let now = Instant::now();
        for Candidate { failures, due, error, .. } in &mut self.candidates {
            *failures = 0;
            if let (None, Some(error)) = (&due, error) {
                *due = patience.delay(1, error, Duration::ZERO).map(|delay| now + delay);
            }
        }
        let mut current = self.candidates.remove(self.asked);
        current.due = Some(self.start);
        self.candidates.insert(0, current);
        self.asked = 0;
        if self.experience.is_doubtful(self.subject.reference()) {
            // Only what comes from one place alone shows whether that place is good.
            self.candidates.truncate(1);
        }
        self.resuming = Some((patience.clone(), now));
    }

    /// Whether something has been begun.
    pub(crate) const fn is_resuming(&self) -> bool {
        self.resuming.is_some()
    }

    /// What is asked for.
    pub(crate) const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The places it may come from.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Reference> {
        self.candidates.iter().map(|candidate| &candidate.source.reference)
    }

    fn give_up(&mut self) -> Error {
        let image = self.subject.reference();
        if let (Some(_), [alone]) = (&self.resuming, self.candidates.as_slice())
            && self.experience.is_doubtful(image)
        {
            self.experience.doubt(image, &alone.source.reference);
        }
        let failed = |candidate: Candidate| {
            Some(FailedSource { reference: candidate.source.reference, error: candidate.error? })
        };
        let mut attempts: Vec<_> = mem::take(&mut self.candidates).into_iter().filter_map(failed).collect();
        match attempts.len() {
            1 => attempts.remove(0).error,
            _ => Error::Unavailable { subject: self.subject.clone(), attempts },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Rounds;
    use crate::experience::Experience;
    use crate::subject::Subject;
    use crate::{Answer, Error, PullSource, RedactedUrl, ResumePatience, Retry};

    const SECOND: Duration = Duration::from_secs(1);

    fn rounds(hosts: &[&str]) -> Rounds {
        let source = |host: &&str| {
            let reference = format!("{host}/a/b:t").parse().unwrap();
            PullSource { reference, insecure: false }
        };
        let subject = Subject::manifest(&"quay.io/a/b:t".parse().unwrap());
        let retry = Retry { tries: 3, first_delay: SECOND, longest_delay: 30 * SECOND };
        Rounds::new(subject, hosts.iter().map(source).collect(), retry, Arc::<Experience>::default())
    }

    fn limited(seconds: Option<u32>) -> Error {
        let url = RedactedUrl::from(&"https://quay.io/".parse().unwrap());
        let retry_after = seconds.map(|seconds| seconds * SECOND);
        Error::RateLimited { url, retry_after, answer: Answer::default() }
    }

    fn missing() -> Error {
        let subject = Subject::manifest(&"quay.io/a/b:t".parse().unwrap());
        Error::NotFound { subject, answer: Answer::default() }
    }

    /// Who is asked and after how many seconds, if every one of them always fails so.
    async fn asked(mut rounds: Rounds, fail: impl Fn(&str) -> Error) -> (Vec<(String, u64)>, Error) {
        let start = Instant::now();
        let mut asked = Vec::new();
        loop {
            match rounds.next().await {
                Ok(source) => {
                    let host = source.reference.registry();
                    asked.push((host.to_owned(), start.elapsed().as_secs()));
                    rounds.failed(fail(host));
                }
                Err(error) => return (asked, error),
            }
        }
    }

    fn shown(asked: &[(String, u64)]) -> Vec<(&str, u64)> {
        asked.iter().map(|(host, second)| (host.as_str(), *second)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_asked_at_once_and_only_then_is_waited() {
        let (asked, error) = asked(rounds(&["a.lab", "b.lab", "quay.io"]), |host| {
            if host == "b.lab" { missing() } else { limited(None) }
        })
        .await;
        assert_eq!(
            shown(&asked),
            [
                ("a.lab", 0),
                ("b.lab", 0),
                ("quay.io", 0),
                ("a.lab", 1),
                ("quay.io", 1),
                ("a.lab", 3),
                ("quay.io", 3)
            ]
        );
        let Error::Unavailable { attempts, .. } = &error else { panic!("{error:?}") };
        assert_eq!(attempts.len(), 3);
        assert!(error.is_retryable() && !error.is_not_found());
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_is_left_alone_for_as_long_as_it_asks() {
        let (asked, error) = asked(rounds(&["a.lab", "b.lab", "quay.io"]), |host| match host {
            "a.lab" => limited(Some(10)),
            "b.lab" => limited(Some(3600)),
            _ => limited(None),
        })
        .await;
        assert_eq!(
            shown(&asked),
            [
                ("a.lab", 0),
                ("b.lab", 0),
                ("quay.io", 0),
                ("quay.io", 1),
                ("quay.io", 3),
                ("a.lab", 10),
                ("a.lab", 20)
            ]
        );
        assert_eq!(error.retry_after(), None, "one of them asked for nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_has_the_last_word_itself() {
        let (asked, error) = asked(rounds(&["quay.io"]), |_| limited(None)).await;
        assert_eq!(shown(&asked), [("quay.io", 0), ("quay.io", 1), ("quay.io", 3)]);
        assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    }

    const PATIENCE: ResumePatience = ResumePatience {
        longest_outage: Duration::from_secs(40),
        first_delay: SECOND,
        longest_delay: Duration::from_secs(8),
    };

    #[tokio::test(start_paused = true)]
    async fn who_got_on_is_asked_first_and_who_may_recover_again() {
        let mut rounds = rounds(&["a.lab", "b.lab", "quay.io"]);
        for error in [limited(None), missing()] {
            rounds.next().await.unwrap();
            rounds.failed(error);
        }
        assert_eq!(rounds.next().await.unwrap().reference.registry(), "quay.io");
        rounds.resume(&PATIENCE);
        let (asked, _) = asked(rounds, |_| limited(None)).await;
        let (first, rest) = asked.split_first().unwrap();
        assert_eq!(first.0, "quay.io");
        assert!(rest.iter().all(|(host, _)| host != "b.lab"), "{rest:?}");
        assert!(rest.iter().any(|(host, _)| host == "a.lab"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_is_asked_for_as_long_as_the_outage_may_last() {
        let mut rounds = rounds(&["quay.io"]);
        rounds.next().await.unwrap();
        rounds.resume(&PATIENCE);
        let (shown_at, error) = asked(rounds, |_| limited(None)).await;
        let seconds: Vec<_> = shown_at.iter().map(|(_, second)| *second).collect();
        assert_eq!(seconds, [0, 1, 3, 7, 15, 23, 31, 39]);
        assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_a_minute_gets_it_if_the_outage_may_last_so_long() {
        for (longest_outage, expected) in [(Duration::from_secs(150), vec![0, 60, 120]), (SECOND, vec![0])] {
            let mut rounds = rounds(&["quay.io"]);
            rounds.next().await.unwrap();
            rounds.resume(&ResumePatience { longest_outage, ..PATIENCE });
            let (asked, _) = asked(rounds, |_| limited(Some(60))).await;
            assert_eq!(asked.iter().map(|(_, second)| *second).collect::<Vec<_>>(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_begins_anew_whenever_the_download_gets_on() {
        let mut rounds = rounds(&["quay.io"]);
        for _ in 0..5 {
            rounds.next().await.unwrap();
            rounds.resume(&PATIENCE);
            for _ in 0..6 {
                rounds.next().await.unwrap();
                rounds.failed(limited(None));
            }
        }
        rounds.next().await.unwrap();
    }
}
