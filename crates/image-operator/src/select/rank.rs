//! Which candidates are taken once their versions are known.

use std::collections::{BTreeMap, BTreeSet};

use coreos_names::{Arch, OpenshiftVersion};

use super::candidate::{Candidate, Why};
use super::{Facts, Observed};
use crate::crd::ReleaseState;

pub(super) type Verdict = (ReleaseState, String);

/// The verdict on each candidate, in their order.
pub(super) fn verdicts(
    observed: &Observed,
    candidates: &[Candidate],
    wanted: &BTreeSet<Arch>,
) -> Vec<Verdict> {
    let mut verdicts: Vec<_> =
        candidates.iter().map(|candidate| on_its_own(observed, candidate, wanted)).collect();
    keep_the_newest(observed, candidates, wanted, &mut verdicts);
    keep_the_maximum(observed, candidates, &mut verdicts);
    verdicts
}

/// What can be said of a candidate without looking at the others.
fn on_its_own(observed: &Observed, candidate: &Candidate, wanted: &BTreeSet<Arch>) -> Verdict {
    let pullspec = match &candidate.pullspec {
        Ok(pullspec) => pullspec,
        Err(problem) => return (ReleaseState::Failed, format!("spec.releaseImage: {problem}")),
    };
    let known = observed.known.get(pullspec);
    let Some(facts) = known.and_then(|known| known.facts.as_ref()) else {
        return match known.and_then(|known| known.failure.as_ref()) {
            Some(failure) => (ReleaseState::Failed, failure.clone()),
            None => (ReleaseState::Pending, "the release image has not been read yet".to_owned()),
        };
    };
    let skipped = |why: String| (ReleaseState::Skipped, why);
    if !facts.version.payload_has_iso() {
        return skipped(format!("release {} is older than 4.11 and holds no live ISO", facts.version));
    }
    if facts.arches.is_disjoint(wanted) {
        return skipped(format!(
            "it is for {}; wanted are {}",
            listed(&facts.arches),
            if wanted.is_empty() { "none".to_owned() } else { listed(wanted) }
        ));
    }
    match &observed.policy.minimum_version {
        Some(minimum) if !candidate.why.in_use() && facts.version < *minimum => {
            skipped(format!("release {} is older than minimumVersion {minimum}", facts.version))
        }
        _ => (ReleaseState::Listed, candidate.why.reason().to_owned()),
    }
}

/// Of visible and unlabelled sets the newest of each minor version and architecture are taken.
///
/// While some are still unread nobody knows which these are. What is listed stays until then, and nothing is added, so
/// that no image is fetched only to be superseded a moment later.
fn keep_the_newest(
    observed: &Observed,
    candidates: &[Candidate],
    wanted: &BTreeSet<Arch>,
    verdicts: &mut [Verdict],
) {
    let newest = |candidate: &Candidate| candidate.why == Why::Newest;
    let unread = candidates
        .iter()
        .zip(verdicts.iter())
        .any(|(candidate, verdict)| newest(candidate) && verdict.0 == ReleaseState::Pending);

    let mut versions: BTreeMap<(u64, u64, Arch), BTreeSet<&OpenshiftVersion>> = BTreeMap::new();
    for (candidate, verdict) in candidates.iter().zip(verdicts.iter()) {
        let Some(facts) = facts(observed, candidate).filter(|_| newest(candidate)) else { continue };
        if verdict.0 == ReleaseState::Listed {
            for &arch in facts.arches.intersection(wanted) {
                let minor = (facts.version.major(), facts.version.minor(), arch);
                versions.entry(minor).or_default().insert(&facts.version);
            }
        }
    }
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        let Some(facts) = facts(observed, candidate).filter(|_| newest(candidate)) else { continue };
        if verdict.0 != ReleaseState::Listed {
            continue;
        }
        let is_listed =
            candidate.pullspec.as_ref().is_ok_and(|pullspec| observed.listed.contains_key(pullspec));
        let among_newest = facts.arches.intersection(wanted).any(|&arch| {
            let minor = (facts.version.major(), facts.version.minor(), arch);
            let newer = versions
                .get(&minor)
                .map_or(0, |versions| versions.iter().filter(|version| ***version > facts.version).count());
            newer < observed.policy.newest_per_minor
        });
        if unread {
            if !is_listed {
                *verdict = (ReleaseState::Pending, "other release images have not been read yet".to_owned());
            }
        } else if !among_newest {
            *verdict = (
                ReleaseState::Skipped,
                format!("there are newer releases of {}.{}", facts.version.major(), facts.version.minor()),
            );
        }
    }
}

/// Leaves out the oldest where there are more than `maxReleases` beside those in use.
fn keep_the_maximum(observed: &Observed, candidates: &[Candidate], verdicts: &mut [Verdict]) {
    let Some(maximum) = observed.policy.max_releases else { return };
    let mut optional: Vec<_> = candidates
        .iter()
        .enumerate()
        .filter(|(index, candidate)| !candidate.why.in_use() && verdicts[*index].0 == ReleaseState::Listed)
        .filter_map(|(index, candidate)| {
            Some((
                candidate.why,
                &facts(observed, candidate)?.version,
                candidate.pullspec.as_ref().ok()?,
                index,
            ))
        })
        .collect();
    optional.sort_by(|(why, version, pullspec, index), other| {
        why.cmp(&other.0)
            .then_with(|| other.1.cmp(version))
            .then_with(|| pullspec.cmp(&other.2))
            .then_with(|| index.cmp(&other.3))
    });
    let mut taken = BTreeSet::new();
    for (_, _, pullspec, index) in optional {
        // Two sets with the same release image are one release.
        if taken.len() < maximum {
            taken.insert(pullspec);
        }
        if !taken.contains(pullspec) {
            verdicts[index] =
                (ReleaseState::Skipped, format!("there are {maximum} before it, which is maxReleases"));
        }
    }
}

fn facts<'a>(observed: &'a Observed, candidate: &Candidate) -> Option<&'a Facts> {
    observed.known.get(candidate.pullspec.as_ref().ok()?)?.facts.as_ref()
}

fn listed(arches: &BTreeSet<Arch>) -> String {
    arches.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(", ")
}
