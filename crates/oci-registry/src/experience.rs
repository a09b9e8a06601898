use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Digest, PullSource, Reference};

/// What earlier requests have taught about the places that an image may be pulled from.
///
/// The admin's order is the first word, not the last: a mirror that is down costs its time-out once and not with every
/// request, one that delivered wrong bytes is asked when nobody else is left.
#[derive(Debug, Default)]
pub(crate) struct Experience(Mutex<HashMap<String, Record>>);

/// The places of one repository, by their names.
#[derive(Debug, Default)]
struct Record {
    answered_last: Option<(String, Instant)>,
    distrusted: BTreeSet<String>,
    /// What came from several places and was wrong, and who is not to begin with it next time, the last one least.
    doubtful: HashMap<Digest, Vec<String>>,
}

impl Experience {
    /// How long a place is preferred to those before it. Then they get another chance.
    const PREFERENCE: Duration = Duration::from_mins(10);

    /// Brings the sources of an image into the order in which they are to be asked.
    pub(crate) fn rank(&self, image: &Reference, sources: &mut [PullSource]) {
        self.with(image, |record| {
            let preferred =
                record.answered_last.as_ref().filter(|(_, since)| since.elapsed() < Self::PREFERENCE);
            let doubted = image.digest().and_then(|digest| record.doubtful.get(&digest));
            sources.sort_by_cached_key(|source| {
                let place = name(&source.reference);
                (
                    record.distrusted.contains(&place),
                    doubted.and_then(|doubted| doubted.iter().position(|doubted| *doubted == place)),
                    preferred.is_none_or(|(preferred, _)| *preferred != place),
                )
            });
        });
    }

    /// Notes that `place` had what was asked for.
    pub(crate) fn answered(&self, image: &Reference, place: &Reference) {
        self.with(image, |record| {
            let place = name(place);
            if record.answered_last.as_ref().is_none_or(|(last, since)| {
                // One that goes on answering must not keep the others from their chance.
                *last != place || since.elapsed() >= Self::PREFERENCE
            }) {
                record.answered_last = Some((place, Instant::now()));
            }
        });
    }

    /// Notes that `place` delivered wrong bytes.
    pub(crate) fn distrust(&self, image: &Reference, place: &Reference) {
        self.with(image, |record| record.distrusted.insert(name(place)));
    }

    /// Notes that `image`, a blob by its digest, has to come from one place alone, and that it did not from `place`.
    pub(crate) fn doubt(&self, image: &Reference, place: &Reference) {
        let Some(digest) = image.digest() else { return };
        self.with(image, |record| {
            let (doubted, place) = (record.doubtful.entry(digest).or_default(), name(place));
            doubted.retain(|doubted| *doubted != place);
            doubted.push(place);
        });
    }

    /// Whether `image` has to come from one place alone.
    pub(crate) fn is_doubtful(&self, image: &Reference) -> bool {
        self.with(image, |record| image.digest().is_some_and(|digest| record.doubtful.contains_key(&digest)))
    }

    /// Whether `place` has never delivered wrong bytes.
    pub(crate) fn trusts(&self, image: &Reference, place: &Reference) -> bool {
        self.with(image, |record| !record.distrusted.contains(&name(place)))
    }

    fn with<T>(&self, image: &Reference, work: impl FnOnce(&mut Record) -> T) -> T {
        work(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name(image)).or_default())
    }
}

fn name(reference: &Reference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

#[cfg(test)]
mod tests {
    use super::Experience;
    use crate::{PullSource, Reference};

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn ranked(experience: &Experience, image: &str) -> Vec<String> {
        let source = |text| PullSource { reference: reference(text), insecure: false };
        let mut sources = ["a.lab/x:t", "b.lab/x:t", "quay.io/x:t"].map(source);
        experience.rank(&reference(image), &mut sources);
        sources.iter().map(|source| source.reference.registry().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_answered_is_asked_first_for_a_while() {
        let experience = Experience::default();
        let image = reference("quay.io/x:t");
        assert_eq!(ranked(&experience, "quay.io/x:t"), ["a.lab", "b.lab", "quay.io"]);
        experience.answered(&image, &reference("quay.io/x:t"));
        assert_eq!(ranked(&experience, "quay.io/x:other"), ["quay.io", "a.lab", "b.lab"]);
        assert_eq!(ranked(&experience, "quay.io/y:t"), ["a.lab", "b.lab", "quay.io"]);

        tokio::time::advance(Experience::PREFERENCE / 2).await;
        experience.answered(&image, &image);
        tokio::time::advance(Experience::PREFERENCE / 2).await;
        assert_eq!(ranked(&experience, "quay.io/x:t"), ["a.lab", "b.lab", "quay.io"]);
        experience.answered(&image, &image);
        assert_eq!(ranked(&experience, "quay.io/x:t"), ["quay.io", "a.lab", "b.lab"]);
    }

    #[tokio::test]
    async fn who_could_not_deliver_alone_begins_with_nothing_else_before_the_others() {
        let experience = Experience::default();
        let digest = crate::Digest::of(b"blob");
        let blob = reference("quay.io/x:t").with_digest(digest);
        let image = format!("quay.io/x@{digest}");
        for (failed, order) in [
            ("a.lab/x:t", ["b.lab", "quay.io", "a.lab"]),
            ("b.lab/x:t", ["quay.io", "a.lab", "b.lab"]),
            ("quay.io/x:t", ["a.lab", "b.lab", "quay.io"]),
            ("a.lab/x:t", ["b.lab", "quay.io", "a.lab"]),
        ] {
            experience.doubt(&blob, &reference(failed));
            assert_eq!(ranked(&experience, &image), order);
        }
        assert!(experience.is_doubtful(&blob) && !experience.is_doubtful(&reference("quay.io/x:t")));
        assert_eq!(ranked(&experience, "quay.io/x:t"), ["a.lab", "b.lab", "quay.io"]);
    }

    #[tokio::test]
    async fn who_delivered_wrong_bytes_is_asked_last_even_if_it_answers() {
        let experience = Experience::default();
        let image = reference("quay.io/x:t");
        experience.distrust(&image, &reference("a.lab/x:t"));
        assert_eq!(ranked(&experience, "quay.io/x:t"), ["b.lab", "quay.io", "a.lab"]);
        experience.answered(&image, &reference("a.lab/x:t"));
        assert_eq!(ranked(&experience, "quay.io/x:t"), ["b.lab", "quay.io", "a.lab"]);
        assert!(!experience.trusts(&image, &reference("a.lab/x:t")) && experience.trusts(&image, &image));
    }
}
