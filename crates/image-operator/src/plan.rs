//! What has to be written so that the cluster is as the admin wants it: made in one go from what is seen and known.

use std::collections::{BTreeMap, BTreeSet};

use coreos_names::WithCauses;
use feed_format::{FEED_NAME, SecretText};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use oci_registry::Config;
use release_payload::release_images::Architectures;
use release_payload::{OsImageEntry, Reference};
use serde_json::{Value, json};

use crate::crd::{CoreosImageServiceSpec, DeploymentRef, NAME, ReleaseState};
use crate::feed;
use crate::inputs::{Own, Seen};
use crate::policy::Policy;
use crate::readings::Readings;
use crate::select::{self, Candidate, Desired, Facts, Known, Listed, Observed, Outcome};

/// How much is said of why a feed is not written, in characters: an event takes 1024.
const LONGEST_REFUSAL: usize = 900;

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// What our object is called and which one it is.
    pub(crate) owner: Owner,
    /// The feed; `None` while it must stay as it is.
    pub(crate) feed: Option<FeedPlan>,
    /// AgentServiceConfig's list; `None` while it must stay as it is.
    pub(crate) os_images: Option<OsImagesPlan>,
    /// What runs the image service, where that is ours to set.
    pub(crate) deployment: Option<DeploymentRef>,
    /// What became of each set; `None` while that is not known.
    pub(crate) outcomes: Option<Vec<Outcome>>,
    /// The release images of the feed.
    pub(crate) listed: BTreeMap<Reference, Listed>,
    /// What is known of them.
    pub(crate) facts: BTreeMap<Reference, Facts>,
    /// Why there is no feed although one could be made: image services would refuse it.
    pub(crate) refused: Option<Problem>,
    /// What is waited for before anything can be written.
    pub(crate) waiting: Vec<String>,
    /// What needs a person.
    pub(crate) problems: Vec<Problem>,
}

/// The CoreosImageService that all is written for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
}

/// The ConfigMap's and the Secret's contents.
#[derive(Clone, Debug)]
pub(crate) struct FeedPlan {
    pub(crate) config: BTreeMap<&'static str, String>,
    /// `None` leaves the Secret as it is.
    pub(crate) pull_secret: Option<SecretText>,
}

/// `spec.osImages` of the AgentServiceConfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OsImagesPlan {
    pub(crate) current: Value,
    pub(crate) wanted: Value,
    /// The object that was seen, so that none is made where it was deleted meanwhile.
    pub(crate) uid: String,
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// One word for programs.
    pub(crate) reason: &'static str,
    /// A sentence for people.
    pub(crate) message: String,
}

impl Problem {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Owner {
    /// Makes what we write go with our object.
    pub(crate) fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "coreos-image-service.io/v1alpha1".to_owned(),
            kind: "CoreosImageService".to_owned(),
            name: NAME.to_owned(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

impl Plan {
    /// Decides what to write, and has unknown release images read.
    pub(crate) fn make(
        own: &Own,
        seen: Result<Seen, Vec<String>>,
        readings: &mut Readings,
        listed: &BTreeMap<Reference, Listed>,
    ) -> Self {
        let owner =
            Owner { uid: own.metadata.uid.clone().unwrap_or_default(), generation: own.metadata.generation };
        let plan = Self { owner, ..Self::default() };
        let spec = match &own.spec {
            Ok(spec) => spec,
            Err(problem) => return plan.with_problem(Problem::new("InvalidSpec", problem)),
        };
        let policy = match Policy::try_from(&spec.policy) {
            Ok(policy) => policy,
            Err(error) => {
                return plan.with_problem(Problem::new("InvalidSpec", WithCauses(&error).to_string()));
            }
        };
        match seen {
            Ok(seen) => plan.fill(spec, policy, seen, readings, listed),
            Err(waiting) => Self { waiting, ..plan },
        }
    }

    fn fill(
        mut self,
        spec: &CoreosImageServiceSpec,
        policy: Policy,
        seen: Seen,
        readings: &mut Readings,
        listed: &BTreeMap<Reference, Listed>,
    ) -> Self {
        if !seen.stale.is_empty() {
            self.problems.push(Problem::new("SourcesUnreadable", seen.stale.join("; ")));
        }
        let (access, problems) = feed::access(&seen);
        self.problems.extend(problems);
        // Parts that are good each by itself may be too much together.
        if let Err(problems) = access.added_to(Config::default()) {
            return self.refuse("FeedRefused", &problems.join("; "));
        }

        let Seen { sets, installs, os_image_versions, arches, agent, .. } = seen;
        readings.reach_by(&access);
        let mut observed = Observed {
            sets,
            installs,
            os_image_versions,
            arches,
            policy,
            known: readings.known(),
            listed: listed.clone(),
        };
        let pullspecs = |candidates: Vec<Candidate>| -> BTreeSet<Reference> {
            candidates.into_iter().filter_map(|candidate| candidate.pullspec.ok()).collect()
        };
        readings.want(&pullspecs(select::candidates(&observed)), listed);
        observed.known = readings.known();
        let desired = select::select(&observed);

        // Each change of the two restarts pods: what is not settled yet would restart them twice.
        let settled = desired.outcomes.iter().all(|outcome| outcome.state != ReleaseState::Pending);
        let all_known = desired
            .listed
            .keys()
            .all(|pullspec| observed.known.get(pullspec).is_some_and(|known| known.facts.is_some()));
        if spec.fill_os_images {
            match agent {
                // A release of which only the feed tells could not be named in the list.
                Some(_) if !(settled && all_known) => {}
                Some(agent) => {
                    let wanted = os_images(&desired, &observed.known);
                    // An empty list means "the default" to its owner: dozens of images.
                    if wanted.is_empty() {
                        self.problems.push(Problem::new(
                            "OsImagesEmpty",
                            "no release gives an entry for osImages of the AgentServiceConfig; it stays as it is",
                        ));
                    } else {
                        let (current, uid) = (agent.os_images, agent.uid);
                        self.os_images = Some(OsImagesPlan { current, wanted: wanted.into(), uid });
                    }
                }
                None => self.problems.push(Problem::new(
                    "AgentServiceConfigMissing",
                    "fillOsImages is set, but there is no AgentServiceConfig named agent",
                )),
            }
        }
        match feed::config_data(&desired.releases, &access) {
            Ok(config) => self.feed = Some(FeedPlan { config, pull_secret: access.pull_secret }),
            Err(error) => self = self.refuse("FeedTooLarge", &error.to_string()),
        }
        if settled {
            self.deployment.clone_from(&spec.deployment_ref);
        }
        let failed: Vec<_> = desired
            .outcomes
            .iter()
            .filter(|outcome| outcome.state == ReleaseState::Failed)
            .map(|outcome| format!("{}: {}", outcome.name, outcome.message))
            .collect();
        if !failed.is_empty() {
            self.problems.push(Problem::new("ReleasesFailed", failed.join("; ")));
        }
        let facts = |pullspec: &Reference| observed.known.get(pullspec)?.facts.clone();
        self.facts =
            desired.listed.keys().filter_map(|pullspec| Some((pullspec.clone(), facts(pullspec)?))).collect();
        self.listed = desired.listed;
        self.outcomes = Some(desired.outcomes);
        self
    }

    /// The feed stays as it is, and above all else this is said.
    fn refuse(mut self, reason: &'static str, why: &str) -> Self {
        let why: String = why.chars().take(LONGEST_REFUSAL).collect();
        let problem = Problem::new(reason, format!("{FEED_NAME} stays as it is: {why}"));
        self.problems.insert(0, problem.clone());
        self.refused = Some(problem);
        self
    }

    fn with_problem(mut self, problem: Problem) -> Self {
        self.problems.push(problem);
        self
    }
}

/// An entry for each release and architecture. A release whose OS build nobody states is left to the feed.
fn os_images(desired: &Desired, known: &BTreeMap<Reference, Known>) -> Vec<Value> {
    let mut named = BTreeSet::new();
    let mut entries = Vec::new();
    for release in &desired.releases {
        let Architectures::Listed(arches) = &release.architectures else { continue };
        let facts = known.get(&release.pullspec).and_then(|known| known.facts.as_ref());
        for &arch in arches {
            let Some(build) = facts.and_then(|facts| facts.os_builds.get(&arch)) else { continue };
            if named.insert((release.version.to_string(), arch)) {
                let entry = OsImageEntry {
                    openshift_version: release.version.clone(),
                    arch,
                    os_build: build.clone(),
                    release: release.pullspec.clone(),
                };
                entries.push(json!(entry.of_agent_service_config()));
            }
        }
    }
    entries
}
