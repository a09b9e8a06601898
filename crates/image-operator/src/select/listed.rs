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
    failed: BTreeSet<&'a Reference>,
    any_pending: bool,
    any_failed: bool,
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
        Self {
            listed: &observed.listed,
            unsettled: failed()
                .chain(with(ReleaseState::Pending))
                .map(|candidate| candidate.name.as_str())
                .collect(),
            failed: failed().filter_map(|candidate| candidate.pullspec.as_ref().ok()).collect(),
            any_pending: with(ReleaseState::Pending).next().is_some(),
            any_failed: failed().next().is_some(),
        }
    }

    /// While anything is unread, everything stays. After that a release stays for a set whose new image cannot be read.
    fn stays(&self, pullspec: &Reference, Listed { sets, .. }: &Listed) -> bool {
        self.any_pending
            || self.failed.contains(pullspec)
            || self.any_failed && sets.is_empty()
            || sets.iter().any(|set| self.unsettled.contains(set.as_str()))
    }

    /// The newest release that stays for a set.
    pub(super) fn version_for(&self, set: &str) -> Option<&OpenshiftVersion> {
        let its = self.listed.values().filter(|listed| listed.sets.contains(set));
        its.map(|listed| &listed.entry.version).max()
    }

    /// Adds what stays to what is wanted anyway.
    pub(super) fn add_to(&self, wanted: &mut BTreeMap<Reference, Listed>) {
        for (pullspec, listed) in self.listed {
            let for_unsettled =
                || listed.sets.iter().filter(|set| self.unsettled.contains(set.as_str())).cloned();
            if let Some(wanted) = wanted.get_mut(pullspec) {
                wanted.sets.extend(for_unsettled());
            } else if self.stays(pullspec, listed) {
                wanted.insert(pullspec.clone(), listed.clone());
            }
        }
    }
}
