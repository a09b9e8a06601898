//! What the status of our object says of a plan that was written, or could not be.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use release_payload::Reference;
use release_payload::release_images::Architectures;

use crate::crd::{CoreosImageServiceStatus, KeptRelease, ReleaseState, ReleaseStatus};
use crate::plan::{Plan, Problem};
use crate::select::{self, Facts, Listed, Outcome};

/// What the API server takes of a condition's message.
const LONGEST_MESSAGE: usize = 32_768;

/// How much is said of one release, in characters: hundreds of them make one object.
const LONGEST_REASON: usize = 512;

/// How much of the names of installations is written down, in bytes: a hub can have thousands, and an object a megabyte.
/// Those beyond are known to the process that runs, and to none after it.
const LONGEST_NAMES: usize = 256 << 10;

/// The status. A condition whose status stays keeps the time of its last change.
pub(crate) fn of(
    plan: &Plan,
    failure: Option<String>,
    previous: Option<&CoreosImageServiceStatus>,
) -> CoreosImageServiceStatus {
    let (kept, releases) = match &plan.outcomes {
        Some(outcomes) => {
            let mut names = Names { room: LONGEST_NAMES };
            // Those that nothing else tells of go first.
            let kept = kept(plan, outcomes, &mut names);
            (kept, outcomes.iter().map(|outcome| release(outcome, plan, &mut names)).collect())
        }
        None => {
            previous.map(|previous| (previous.kept.clone(), previous.releases.clone())).unwrap_or_default()
        }
    };
    let listed = match &plan.feed {
        Some(_) if failure.is_none() => count(plan.listed.len()),
        _ => previous.map(|previous| previous.listed).unwrap_or_default(),
    };
    let ready = ready(plan, failure, listed);
    let degraded = degraded(&plan.problems);
    let conditions = [("Ready", ready), ("Degraded", degraded)]
        .map(|(type_, said)| condition(type_, said, plan.owner.generation, previous));
    CoreosImageServiceStatus {
        observed_generation: plan.owner.generation,
        listed,
        conditions: conditions.into(),
        releases,
        kept,
    }
}

/// What a condition says.
struct Said {
    holds: bool,
    reason: &'static str,
    message: String,
}

fn ready(plan: &Plan, failure: Option<String>, listed: u32) -> Said {
    let no = |reason, message| Said { holds: false, reason, message };
    if let Some(failure) = failure {
        no("WriteFailed", failure)
    } else if !plan.waiting.is_empty() {
        no("Waiting", plan.waiting.join("; "))
    } else if plan.feed.is_some() {
        let message = format!("{listed} releases are listed in coreos-image-service-feed");
        Said { holds: true, reason: "Written", message }
    } else {
        let Problem { reason, message } =
            plan.problems.first().cloned().unwrap_or_else(|| Problem::new("Waiting", ""));
        no(reason, message)
    }
}

fn degraded(problems: &[Problem]) -> Said {
    let message: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    Said {
        holds: !problems.is_empty(),
        reason: problems.first().map_or("AsExpected", |problem| problem.reason),
        message: message.join("; "),
    }
}

fn condition(
    type_: &str,
    Said { holds, reason, message }: Said,
    observed_generation: Option<i64>,
    previous: Option<&CoreosImageServiceStatus>,
) -> Condition {
    let status = if holds { "True" } else { "False" };
    let before = previous
        .and_then(|previous| previous.conditions.iter().find(|condition| condition.type_ == type_))
        .filter(|before| before.status == status);
    // The API server keeps whole seconds; what is compared later must not differ by less.
    let now = || Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default());
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(LONGEST_MESSAGE).collect(),
        observed_generation,
        last_transition_time: before.map_or_else(now, |before| before.last_transition_time.clone()),
    }
}

fn release(outcome: &Outcome, plan: &Plan, names: &mut Names) -> ReleaseStatus {
    let facts = outcome.facts.as_ref();
    let installs = listed_as(outcome).and_then(|pullspec| Some(&plan.listed.get(&pullspec)?.installs));
    ReleaseStatus {
        name: outcome.name.clone(),
        pullspec: outcome.pullspec.clone(),
        version: facts.map(|facts| facts.version.to_string()),
        arches: facts.map(|facts| texts(&facts.arches)).unwrap_or_default(),
        os_builds: facts.map(os_builds).unwrap_or_default(),
        state: outcome.state,
        message: outcome.message.chars().take(LONGEST_REASON).collect(),
        installations: installs.map(|installs| names.take(installs)).unwrap_or_default(),
    }
}

/// What is listed beside the release images that the sets have now.
fn kept(plan: &Plan, outcomes: &[Outcome], names: &mut Names) -> Vec<KeptRelease> {
    let current: BTreeSet<_> = outcomes.iter().filter_map(listed_as).collect();
    let mut kept: Vec<_> = plan.listed.iter().filter(|(pullspec, _)| !current.contains(pullspec)).collect();
    kept.sort_by(|(_, one), (_, other)| other.entry.version.cmp(&one.entry.version));
    kept.into_iter()
        .map(|(pullspec, Listed { entry, sets, installs })| {
            let facts = plan.facts.get(pullspec);
            let of_entry = || match &entry.architectures {
                Architectures::Listed(arches) => texts(arches),
                Architectures::OfPayload => Vec::new(),
            };
            KeptRelease {
                pullspec: pullspec.to_string(),
                version: entry.version.to_string(),
                arches: facts.map_or_else(of_entry, |facts| texts(&facts.arches)),
                os_builds: facts.map(os_builds).unwrap_or_default(),
                sets: sets.iter().cloned().collect(),
                installations: names.take(installs),
            }
        })
        .collect()
}

fn listed_as(outcome: &Outcome) -> Option<Reference> {
    let is_listed = outcome.state == ReleaseState::Listed;
    is_listed.then(|| select::pullspec(&outcome.pullspec).ok()).flatten()
}

fn texts<'a, T: ToString + 'a>(values: impl IntoIterator<Item = &'a T>) -> Vec<String> {
    values.into_iter().map(ToString::to_string).collect()
}

fn os_builds(facts: &Facts) -> BTreeMap<String, String> {
    facts.os_builds.iter().map(|(arch, build)| (arch.to_string(), build.to_string())).collect()
}

/// Room for the names of installations.
struct Names {
    room: usize,
}

impl Names {
    /// As many of the names as there is room for.
    fn take(&mut self, names: &BTreeSet<String>) -> Vec<String> {
        let fitting = names.iter().take_while(|name| {
            let rest = self.room.checked_sub(name.len());
            self.room = rest.unwrap_or_default();
            rest.is_some()
        });
        fitting.cloned().collect()
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
