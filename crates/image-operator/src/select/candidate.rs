use std::collections::{BTreeMap, BTreeSet};

use coreos_names::OpenshiftVersion;
use release_payload::Reference;

use super::Observed;
use crate::policy::{CHANNEL, INCLUDE, Policy, RELEASE_TAG, VISIBLE};

/// A ClusterImageSet, as far as the decision needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSet {
    /// Its name.
    pub name: String,
    /// `spec.releaseImage`, as written.
    pub release_image: String,
    /// Its labels, at least those that the policy looks at.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, likewise.
    pub annotations: BTreeMap<String, String>,
}

/// Why a set is looked at. The earlier reasons count more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// An AgentClusterInstall refers to it.
    Referenced,
    /// An InfraEnv asks for its version.
    OsImageVersion,
    /// It carries the label or annotation that the admin takes sets by.
    Included,
    /// It is visible or unlabelled, and the policy takes the newest of those.
    Newest,
}

impl Why {
    /// For people.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Referenced => "an AgentClusterInstall refers to it",
            Self::OsImageVersion => "an InfraEnv asks for its version",
            Self::Included => "its labels or annotations ask for it",
            Self::Newest => "it is among the newest of its minor version",
        }
    }

    /// Whether something on the hub uses it, so that no limit of the policy leaves it out.
    pub(super) const fn in_use(self) -> bool {
        matches!(self, Self::Referenced | Self::OsImageVersion)
    }
}

/// A set that the policy could take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The set's name.
    pub name: String,
    /// Its release image as written.
    pub written: String,
    /// The same, parsed; or why it cannot be.
    pub pullspec: Result<Reference, String>,
    /// Why it is looked at.
    pub why: Why,
}

/// The sets whose metadata the decision needs, by name.
pub fn candidates(observed: &Observed) -> Vec<Candidate> {
    let asked_for = asked_for(observed);
    let referenced: BTreeSet<_> = observed.installs.values().collect();
    let mut candidates: Vec<_> = observed
        .sets
        .iter()
        .filter_map(|set| {
            let why = if referenced.contains(&set.name) {
                Why::Referenced
            } else if asked_for.contains(set.name.as_str()) {
                Why::OsImageVersion
            } else {
                why(set, &observed.policy)?
            };
            Some(Candidate {
                name: set.name.clone(),
                written: set.release_image.clone(),
                pullspec: pullspec(&set.release_image),
                why,
            })
        })
        .collect();
    candidates.sort_by(|one, other| one.name.cmp(&other.name));
    candidates
}

/// A release image as a cluster may name it: in a registry. A folder would be one of this machine, which is not the
/// cluster's to choose.
pub(crate) fn pullspec(written: &str) -> Result<Reference, String> {
    match written.trim().parse::<Reference>() {
        Ok(pullspec) if pullspec.path().is_some() => Err(format!("{pullspec} is in no registry")),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn why(set: &ImageSet, policy: &Policy) -> Option<Why> {
    let include = set.labels.get(INCLUDE).or_else(|| set.annotations.get(INCLUDE)).map(String::as_str);
    let has_all = |wanted: &BTreeMap<String, String>, has: &BTreeMap<String, String>| {
        wanted.iter().all(|(name, value)| has.get(name) == Some(value))
    };
    let matched = !(policy.labels.is_empty() && policy.annotations.is_empty())
        && has_all(&policy.labels, &set.labels)
        && has_all(&policy.annotations, &set.annotations);
    match include {
        Some("true") => Some(Why::Included),
        Some("false") => None,
        _ if matched => Some(Why::Included),
        _ => {
            let visible = policy.visible && set.labels.get(VISIBLE).is_some_and(|visible| visible == "true");
            let unlabelled = policy.unlabelled && set.labels.get(CHANNEL).is_none_or(String::is_empty);
            (visible || unlabelled).then_some(Why::Newest)
        }
    }
}

/// The sets that have a version which InfraEnvs ask for: exactly that one, or of `4.18` the newest.
///
/// Reading the metadata of every set to know would be a gigabyte on a large hub, so the version is taken from where it
/// is known, else from the label `releaseTag` or the name, in which the field's sets carry it.
fn asked_for(observed: &Observed) -> BTreeSet<&str> {
    if observed.os_image_versions.is_empty() {
        return BTreeSet::new();
    }
    let versions: Vec<_> =
        observed.sets.iter().filter_map(|set| Some((stated_version(set, observed)?, set))).collect();
    let mut names = BTreeSet::new();
    for asked in &observed.os_image_versions {
        let is_minor = asked.to_string().bytes().filter(|&byte| byte == b'.').count() == 1;
        let newest = versions
            .iter()
            .map(|(version, _)| version)
            .filter(|version| {
                *version == asked
                    || is_minor && (version.major(), version.minor()) == (asked.major(), asked.minor())
            })
            .max();
        let of_newest = versions.iter().filter(|(version, _)| Some(version) == newest);
        names.extend(of_newest.map(|(_, set)| set.name.as_str()));
    }
    names
}

fn stated_version(set: &ImageSet, observed: &Observed) -> Option<OpenshiftVersion> {
    let known =
        || Some(observed.known.get(&pullspec(&set.release_image).ok()?)?.facts.as_ref()?.version.clone());
    let tag = || version_within(set.labels.get(RELEASE_TAG)?);
    known().or_else(tag).or_else(|| version_within(&set.name))
}

/// The version in a text such as `img4.18.52-multi-appsub` or `4.20.0-rc.1-x86_64`.
fn version_within(text: &str) -> Option<OpenshiftVersion> {
    let start = text.find(|letter: char| letter.is_ascii_digit())?;
    let numbers_end =
        text[start..].find(|letter: char| !(letter.is_ascii_digit() || letter == '.')).map(|at| start + at);
    let (numbers, rest) = text.split_at(numbers_end.unwrap_or(text.len()));
    let numbers = numbers[start..].trim_end_matches('.');
    // Only a whole version says which release it is.
    if numbers.bytes().filter(|&byte| byte == b'.').count() != 2 {
        return None;
    }
    let candidate = rest.strip_prefix('-').and_then(|rest| {
        let (stage, rest) = rest.split_once('.')?;
        let number: &str = &rest[..rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len())];
        (matches!(stage, "ec" | "fc" | "rc") && !number.is_empty()).then(|| format!("-{stage}.{number}"))
    });
    format!("{numbers}{}", candidate.unwrap_or_default()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::version_within;

    #[test]
    fn versions_are_found_in_the_names_of_the_field() {
        for (text, version) in [
            ("img4.18.52-multi-appsub", Some("4.18.52")),
            ("4.20.0-rc.1-x86_64", Some("4.20.0-rc.1")),
            ("img5.0.0-ec.5-multi", Some("5.0.0-ec.5")),
            ("openshift-4.16.10", Some("4.16.10")),
            ("img4.19.3-x86-64-appsub", Some("4.19.3")),
            ("4.18", None),
            ("openshift-v4.18-latest", None),
            ("my-set", None),
            ("1.2.3.4", None),
            ("é4.18.1-é", Some("4.18.1")),
            ("", None),
        ] {
            assert_eq!(version_within(text).map(|version| version.to_string()).as_deref(), version, "{text}");
        }
    }
}
