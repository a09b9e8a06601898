use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use release_payload::Reference;

use crate::crd::{CoreosImageServiceStatus, NAME, ReleaseState};
use crate::kinds;
use crate::plan::{Owner, Problem};
use crate::select::{self, Listed, Outcome};
use crate::watched::problem as said_by;

/// A hub that gets hundreds of sets at once needs no event for each; the status has them all.
const MOST_AT_ONCE: usize = 50;
/// What the API server takes of a note.
const LONGEST_NOTE: usize = 1024;

/// What became of each set, as far as events told of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reported(BTreeMap<String, (ReleaseState, String)>);

struct News {
    set: String,
    type_: EventType,
    reason: &'static str,
    note: String,
}

impl Reported {
    /// What an earlier process told of, so that a restart is no news.
    pub(super) fn from_status(status: Option<&CoreosImageServiceStatus>) -> Self {
        let releases = status.into_iter().flat_map(|status| &status.releases);
        Self(
            releases
                .map(|release| (release.name.clone(), (release.state, release.pullspec.clone())))
                .collect(),
        )
    }

    /// Tells of what has changed. An event is no promise: one that cannot be written is logged and forgotten.
    pub(super) async fn publish(
        &mut self,
        outcomes: &[Outcome],
        listed: &BTreeMap<Reference, Listed>,
        recorder: &Recorder,
        regarding: &ObjectReference,
    ) {
        let news = self.news(outcomes, listed);
        if news.len() > MOST_AT_ONCE {
            tracing::info!(
                events.left_out = news.len() - MOST_AT_ONCE,
                "more has changed than events can tell"
            );
        }
        for news in news.into_iter().take(MOST_AT_ONCE) {
            let resource = kinds::cluster_image_set();
            let event = Event {
                type_: news.type_,
                reason: news.reason.to_owned(),
                note: Some(news.note),
                action: "Select".to_owned(),
                secondary: Some(ObjectReference {
                    api_version: Some(resource.api_version),
                    kind: Some(resource.kind),
                    name: Some(news.set),
                    ..ObjectReference::default()
                }),
            };
            publish(&event, recorder, regarding).await;
        }
    }

    fn news(&mut self, outcomes: &[Outcome], listed: &BTreeMap<Reference, Listed>) -> Vec<News> {
        let stays =
            |written: &str| select::pullspec(written).is_ok_and(|pullspec| listed.contains_key(&pullspec));
        let mut before = std::mem::take(&mut self.0);
        let mut news = Vec::new();
        let mut tell = |set: &str, type_, reason, note: String| {
            let note = note.chars().take(LONGEST_NOTE).collect();
            news.push(News { set: set.to_owned(), type_, reason, note });
        };
        for Outcome { name, pullspec, facts, state, message } in outcomes {
            let was = before.remove(name);
            let (was, was_pullspec) =
                was.as_ref().map_or((None, ""), |(state, pullspec)| (Some(*state), pullspec.as_str()));
            let version = facts.as_ref().map_or_else(|| pullspec.clone(), |facts| facts.version.to_string());
            match (was, state) {
                (Some(ReleaseState::Listed), ReleaseState::Listed) if was_pullspec == pullspec => {}
                (_, ReleaseState::Listed) => {
                    tell(
                        name,
                        EventType::Normal,
                        "ReleaseAdded",
                        format!("{version} of {name} is listed: {message}"),
                    );
                }
                (Some(ReleaseState::Listed), ReleaseState::Skipped | ReleaseState::Pending)
                    if !stays(was_pullspec) =>
                {
                    tell(
                        name,
                        EventType::Normal,
                        "ReleaseRemoved",
                        format!("{version} of {name} is listed no more: {message}"),
                    );
                }
                (was, ReleaseState::Failed) if was != Some(ReleaseState::Failed) => {
                    tell(name, EventType::Warning, "ReleaseFailed", format!("{name}: {message}"));
                }
                _ => {}
            }
            // Reading it again, after a restart for instance, is no news; failing again then is none, either.
            let fails_still = *state == ReleaseState::Pending
                && was == Some(ReleaseState::Failed)
                && was_pullspec == pullspec;
            let keeps_listed =
                *state == ReleaseState::Pending && was == Some(ReleaseState::Listed) && stays(was_pullspec);
            let told = match was {
                _ if keeps_listed => (ReleaseState::Listed, was_pullspec.to_owned()),
                _ if fails_still => (ReleaseState::Failed, pullspec.clone()),
                _ => (*state, pullspec.clone()),
            };
            self.0.insert(name.clone(), told);
        }
        for (name, (was, pullspec)) in before {
            if was == ReleaseState::Listed && stays(&pullspec) {
                self.0.insert(name, (was, pullspec));
            } else if was == ReleaseState::Listed {
                let note = format!("{pullspec} of {name} is listed no more: nothing asks for it");
                tell(&name, EventType::Normal, "ReleaseRemoved", note);
            }
        }
        news
    }
}

/// Tells of something that needs a person, about our object.
pub(super) async fn warn(problem: &Problem, recorder: &Recorder, regarding: &ObjectReference) {
    let event = Event {
        type_: EventType::Warning,
        reason: problem.reason.to_owned(),
        note: Some(problem.message.chars().take(LONGEST_NOTE).collect()),
        action: "Write".to_owned(),
        secondary: None,
    };
    publish(&event, recorder, regarding).await;
}

async fn publish(event: &Event, recorder: &Recorder, regarding: &ObjectReference) {
    if let Err(error) = recorder.publish(event, regarding).await {
        tracing::warn!(error = said_by(&error), event.reason = event.reason, "an event cannot be written");
    }
}

/// Our object, as events name it.
pub(super) fn regarding(namespace: &str, owner: &Owner) -> ObjectReference {
    ObjectReference {
        api_version: Some("coreos-image-service.io/v1alpha1".to_owned()),
        kind: Some("CoreosImageService".to_owned()),
        name: Some(NAME.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: Some(owner.uid.clone()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, state: ReleaseState, pullspec: &str) -> Outcome {
        Outcome { name: name.into(), pullspec: pullspec.into(), facts: None, state, message: "why".into() }
    }

    fn reasons(news: &[News]) -> Vec<(&str, &str)> {
        news.iter().map(|news| (news.set.as_str(), news.reason)).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        use ReleaseState::{Failed, Listed, Pending, Skipped};
        let mut reported = Reported::default();
        let first = [outcome("a", Listed, "r/1"), outcome("b", Failed, "r/2"), outcome("c", Pending, "r/3")];
        assert_eq!(
            reasons(&reported.news(&first, &BTreeMap::new())),
            [("a", "ReleaseAdded"), ("b", "ReleaseFailed")]
        );
        assert!(reported.news(&first, &BTreeMap::new()).is_empty());
        let second = [outcome("a", Listed, "r/9"), outcome("b", Listed, "r/2"), outcome("c", Skipped, "r/3")];
        assert_eq!(
            reasons(&reported.news(&second, &BTreeMap::new())),
            [("a", "ReleaseAdded"), ("b", "ReleaseAdded")]
        );
        let mut failing = Reported::default();
        failing.news(&[outcome("b", Failed, "r/2")], &BTreeMap::new());
        assert!(failing.news(&[outcome("b", Pending, "r/2")], &BTreeMap::new()).is_empty());
        assert!(failing.news(&[outcome("b", Failed, "r/2")], &BTreeMap::new()).is_empty());
        assert_eq!(
            reasons(&failing.news(&[outcome("b", Listed, "r/2")], &BTreeMap::new())),
            [("b", "ReleaseAdded")]
        );
        let third = [outcome("b", Skipped, "r/2")];
        assert_eq!(
            reasons(&reported.news(&third, &BTreeMap::new())),
            [("b", "ReleaseRemoved"), ("a", "ReleaseRemoved")]
        );
    }
}
