//! What the admin wants, made from the spec of a [`crate::crd::CoreosImageService`] with every default filled in.

use std::collections::{BTreeMap, BTreeSet};

use coreos_names::{Arch, OpenshiftVersion};

use crate::crd::{Architecture, IncludeSpec, PolicySpec};

/// A label or an annotation: `true` takes a set, `false` leaves a visible or unlabelled one out.
pub const INCLUDE: &str = "coreos-image-service.io/include";

/// The label of sets that ACM shows: `true`.
pub const VISIBLE: &str = "visible";
/// The label that the controller which keeps sets from git gives to every one of its own.
pub const CHANNEL: &str = "channel";
/// The label with a set's version.
pub const RELEASE_TAG: &str = "releaseTag";

/// The names of labels and annotations that decide whether a set is taken. No others are worth the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
}

impl Marks {
    /// Those that a policy looks at.
    pub(crate) fn of(spec: &PolicySpec) -> Self {
        let include = spec.include.as_ref();
        let labels = include.into_iter().flat_map(|include| include.match_labels.keys());
        let annotations = include.into_iter().flat_map(|include| include.match_annotations.keys());
        Self {
            labels: [INCLUDE, VISIBLE, CHANNEL, RELEASE_TAG]
                .map(str::to_owned)
                .into_iter()
                .chain(labels.cloned())
                .collect(),
            annotations: [INCLUDE.to_owned()].into_iter().chain(annotations.cloned()).collect(),
        }
    }

    /// The labels that count.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        kept(&self.labels, labels)
    }

    /// The annotations that count.
    pub(crate) fn annotations(&self, annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        kept(&self.annotations, annotations)
    }
}

fn kept(names: &BTreeSet<String>, from: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    names.iter().filter_map(|name| Some((name.clone(), from.get(name)?.clone()))).collect()
}

/// Which sets are taken beside those in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `None` for the architectures that are in use.
    pub architectures: Option<BTreeSet<Arch>>,
    /// Labels that a set must carry to be taken, all of them.
    pub labels: BTreeMap<String, String>,
    /// Annotations that it must carry as well.
    pub annotations: BTreeMap<String, String>,
    /// Whether sets with `visible: "true"` are taken.
    pub visible: bool,
    /// Whether sets without a label `channel` are taken.
    pub unlabelled: bool,
    /// How many releases of a minor version are taken of those two.
    pub newest_per_minor: usize,
    /// The oldest release that is taken without being in use.
    pub minimum_version: Option<OpenshiftVersion>,
    /// How many releases are taken beside those in use.
    pub max_releases: Option<usize>,
}

impl Default for Policy {
    /// Takes nothing but what is in use and what carries [`INCLUDE`].
    fn default() -> Self {
        Self {
            architectures: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            visible: false,
            unlabelled: false,
            newest_per_minor: 1,
            minimum_version: None,
            max_releases: None,
        }
    }
}

/// A part of the spec cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Not a version.
    #[error("spec.policy.minimumVersion")]
    MinimumVersion(#[from] coreos_names::InvalidOpenshiftVersion),
    /// A list without any, by which nothing at all would be taken.
    #[error("spec.policy.architectures: the list is empty; without it those in use are taken")]
    NoArchitectures,
}

impl TryFrom<&PolicySpec> for Policy {
    type Error = InvalidPolicy;

    fn try_from(spec: &PolicySpec) -> Result<Self, InvalidPolicy> {
        let IncludeSpec { match_labels, match_annotations } = spec.include.clone().unwrap_or_default();
        if spec.architectures.as_ref().is_some_and(Vec::is_empty) {
            return Err(InvalidPolicy::NoArchitectures);
        }
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            architectures: spec
                .architectures
                .as_ref()
                .map(|arches| arches.iter().copied().map(Arch::from).collect()),
            labels: match_labels,
            annotations: match_annotations,
            visible: spec.visible,
            unlabelled: spec.unlabelled,
            newest_per_minor: count(spec.newest_per_minor.unwrap_or(1)),
            minimum_version: spec.minimum_version.as_deref().map(str::parse).transpose()?,
            max_releases: spec.max_releases.map(count),
        })
    }
}

impl From<Architecture> for Arch {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::X86_64 => Self::X86_64,
            Architecture::Arm64 => Self::Arm64,
            Architecture::Ppc64le => Self::Ppc64le,
            Architecture::S390x => Self::S390x,
        }
    }
}
