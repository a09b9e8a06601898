//! What stays listed although nothing that was read asks for it.
//!
//! A set whose release image changes, an installation that moves to another set: for a while only the new release is
//! asked for, and it is still unread. Hosts go on booting from the one before until then.

use std::collections::{BTreeMap, BTreeSet};

use coreos_names::OpenshiftVersion;
use release_payload::Reference;

use super::rank::Verdict;
use super::{Candidate, Listed, Observed};
use crate::crd::ReleaseState;

/// The releases that stay, and the sets that are not settled.
pub(super) struct Carried<'a> {
    listed: &'a BTreeMap<Reference, Listed>,
    unsettled: BTreeSet<&'a str>,
    waiting: BTreeMap<&'a str, Waiting<'a>>,
    failed: BTreeSet<&'a Reference>,
    any_pending: bool,
    any_failed: bool,
}

/// An installation whose set gives no release yet.
struct Waiting<'a> {
    set: &'a str,
    set_exists: bool,
}

impl<'a> Carried<'a> {
    pub(super) fn new(observed: &'a Observed, candidates: &'a [Candidate], verdicts: &[Verdict]) -> Self {
        let with = |state: ReleaseState| {
            candidates
                .iter()
                .zip(verdicts)
                .filter(move |(_, verdict)| verdict.0 == state)
                .map(|(candidate, _)| candidate)
        };
        let failed = || with(ReleaseState::Failed);
        let unsettled: BTreeSet<_> =
            failed().chain(with(ReleaseState::Pending)).map(|candidate| candidate.name.as_str()).collect();
        let exist: BTreeSet<_> = observed.sets.iter().map(|set| set.name.as_str()).collect();
        let waiting = observed.installs.iter().filter_map(|(install, set)| {
            let set_exists = exist.contains(set.as_str());
            let waits = !set_exists || unsettled.contains(set.as_str());
            waits.then_some((install.as_str(), Waiting { set, set_exists }))
        });
        Self {
            listed: &observed.listed,
            waiting: waiting.collect(),
            unsettled,
            failed: failed().filter_map(|candidate| candidate.pullspec.as_ref().ok()).collect(),
            any_pending: with(ReleaseState::Pending).next().is_some(),
            any_failed: failed().next().is_some(),
        }
    }

    /// While anything is unread, everything stays. After that a release stays for a set whose new image cannot be read,
    /// and for an installation whose new set cannot, or is not there yet.
    fn stays(&self, pullspec: &Reference, listed: &Listed) -> bool {
        self.any_pending
            || self.failed.contains(pullspec)
            || self.any_failed && listed.sets.is_empty()
            || listed.sets.iter().any(|set| self.unsettled.contains(set.as_str()))
            || self.waiting_for_more(listed).next().is_some()
    }

    /// The installations of a release that wait for another one. Where the very set is gone for which it was listed,
    /// nobody has moved: somebody took it away.
    fn waiting_for_more<'b>(&self, listed: &'b Listed) -> impl Iterator<Item = &'b String> {
        listed.installs.iter().filter(|install| {
            let waiting = self.waiting.get(install.as_str());
            waiting.is_some_and(|Waiting { set, set_exists }| *set_exists || !listed.sets.contains(*set))
        })
    }

    /// The newest release that stays for a set.
    pub(super) fn version_for(&self, set: &str) -> Option<&OpenshiftVersion> {
        let waits_for_it =
            |install: &String| self.waiting.get(install.as_str()).is_some_and(|waiting| waiting.set == set);
        let its = self
            .listed
            .values()
            .filter(|listed| listed.sets.contains(set) || self.waiting_for_more(listed).any(waits_for_it));
        its.map(|listed| &listed.entry.version).max()
    }

    /// Adds what stays to what is wanted anyway.
    pub(super) fn add_to(&self, wanted: &mut BTreeMap<Reference, Listed>) {
        for (pullspec, listed) in self.listed {
            let for_unsettled =
                || listed.sets.iter().filter(|set| self.unsettled.contains(set.as_str())).cloned();
            if let Some(wanted) = wanted.get_mut(pullspec) {
                wanted.sets.extend(for_unsettled());
                wanted.installs.extend(self.waiting_for_more(listed).cloned());
            } else if self.stays(pullspec, listed) {
                let installs = self.waiting_for_more(listed).cloned().collect();
                wanted.insert(pullspec.clone(), Listed { installs, ..listed.clone() });
            }
        }
    }
}
