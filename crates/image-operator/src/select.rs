//! What is seen becomes what is wanted: a pure function, with no clock and no network.
//!
//! It works in two steps, because a set tells neither its version nor its architectures. [`candidates`] says which release
//! images the policy could take, so that only their metadata is read; [`select`] decides with what was found in them.
//! Taking everything is never the default: a hub can have hundreds of sets, a terabyte of images.

mod candidate;
mod listed;
mod rank;

use std::collections::{BTreeMap, BTreeSet};

use coreos_names::{Arch, OpenshiftVersion, OsBuild};
use release_payload::Reference;
use release_payload::release_images::{Architectures, ReleaseImage};

use crate::crd::ReleaseState;
use crate::policy::Policy;

pub(crate) use candidate::pullspec;
pub use candidate::{Candidate, ImageSet, Why, candidates};
use listed::Carried;

/// What a release image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The release's version.
    pub version: OpenshiftVersion,
    /// The architectures that it is for.
    pub arches: BTreeSet<Arch>,
    /// The operating system's build of each, where the payload states it.
    pub os_builds: BTreeMap<Arch, OsBuild>,
}

/// What is known of a release image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What it says, now or when it was last read.
    pub facts: Option<Facts>,
    /// Why it could not be read the last time.
    pub failure: Option<String>,
}

/// All that the decision is made from.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Every ClusterImageSet.
    pub sets: Vec<ImageSet>,
    /// The set that each AgentClusterInstall refers to, by its `namespace/name`.
    pub installs: BTreeMap<String, String>,
    /// `osImageVersion` of every InfraEnv that has one.
    pub os_image_versions: BTreeSet<OpenshiftVersion>,
    /// The architectures of the InfraEnvs, and the hub's own.
    pub arches: BTreeSet<Arch>,
    /// The admin's wish.
    pub policy: Policy,
    /// What is known of release images, by their pullspec.
    pub known: BTreeMap<Reference, Known>,
    /// What the image service is told of at present, by pullspec. It stays while anything is still unread.
    pub listed: BTreeMap<Reference, Listed>,
}

/// A release that the image service is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its entry.
    pub entry: ReleaseImage,
    /// The sets that it is there for; empty where that is not known.
    pub sets: BTreeSet<String>,
    /// The AgentClusterInstalls that it is there for, by their `namespace/name`.
    pub installs: BTreeSet<String>,
}

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The list for the image service, the newest release first.
    pub releases: Vec<ReleaseImage>,
    /// The same by pullspec, with the sets that each is there for.
    pub listed: BTreeMap<Reference, Listed>,
    /// Every set that the policy looks at, by name.
    pub outcomes: Vec<Outcome>,
}

/// What became of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The set's name.
    pub name: String,
    /// Its release image as written.
    pub pullspec: String,
    /// What is known of it.
    pub facts: Option<Facts>,
    /// What became of it.
    pub state: ReleaseState,
    /// Why.
    pub message: String,
}

/// Decides. The order of the input does not matter. Where every candidate was read and every set that installations refer
/// to is there, neither does `listed`.
pub fn select(observed: &Observed) -> Desired {
    let candidates = candidates(observed);
    let wanted_arches = observed.policy.architectures.as_ref().unwrap_or(&observed.arches);
    let verdicts = rank::verdicts(observed, &candidates, wanted_arches);

    let mut listed = BTreeMap::<Reference, Listed>::new();
    let mut outcomes = Vec::with_capacity(candidates.len());
    let carried = Carried::new(observed, &candidates, &verdicts);
    let mut installs = BTreeMap::<&str, Vec<&String>>::new();
    for (install, set) in &observed.installs {
        installs.entry(set).or_default().push(install);
    }
    for (candidate, verdict) in candidates.iter().zip(verdicts) {
        let known = candidate.pullspec.as_ref().ok().and_then(|pullspec| observed.known.get(pullspec));
        let facts = known.and_then(|known| known.facts.clone());
        let (state, mut message) = verdict;
        if let (ReleaseState::Listed, Ok(pullspec), Some(facts)) = (state, &candidate.pullspec, &facts) {
            let listed = listed.entry(pullspec.clone()).or_insert_with(|| Listed {
                entry: release(pullspec, facts, wanted_arches),
                sets: BTreeSet::new(),
                installs: BTreeSet::new(),
            });
            listed.sets.insert(candidate.name.clone());
            let its = installs.get(candidate.name.as_str()).into_iter().flatten();
            listed.installs.extend(its.map(|install| (*install).clone()));
            if let Some(failure) = known.and_then(|known| known.failure.as_ref()) {
                message = format!("{message}; what was known before is used, since {failure}");
            }
        }
        if state == ReleaseState::Failed
            && let Some(version) = carried.version_for(&candidate.name)
        {
            message = format!("{message}; {version} stays listed meanwhile");
        }
        outcomes.push(Outcome {
            name: candidate.name.clone(),
            pullspec: candidate.written.clone(),
            facts,
            state,
            message,
        });
    }
    carried.add_to(&mut listed);
    let mut releases: Vec<_> = listed.values().map(|listed| listed.entry.clone()).collect();
    releases.sort_by(|one, other| {
        other.version.cmp(&one.version).then_with(|| one.pullspec.cmp(&other.pullspec))
    });
    Desired { releases, listed, outcomes }
}

/// The entry of the list. It answers to its own version and, if no newer one does, to its minor version.
pub(crate) fn release(pullspec: &Reference, facts: &Facts, wanted: &BTreeSet<Arch>) -> ReleaseImage {
    let minor = format!("{}.{}", facts.version.major(), facts.version.minor());
    ReleaseImage {
        // Two numbers and a dot are always a version.
        openshift_version: minor.parse().unwrap_or_else(|_| facts.version.clone()),
        version: facts.version.clone(),
        architectures: Architectures::Listed(facts.arches.intersection(wanted).copied().collect()),
        pullspec: pullspec.clone(),
        os_stream: None,
        version_alias: facts.version.clone(),
    }
}

#[cfg(test)]
mod tests;
