//! What the status of our object says of a plan that was written, or could not be.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::crd::{CoreosImageServiceStatus, ReleaseStatus};
use crate::plan::{Plan, Problem};
use crate::select::Outcome;

/// What the API server takes of a condition's message.
const LONGEST_MESSAGE: usize = 32_768;

/// How much is said of one release, in characters: hundreds of them make one object.
const LONGEST_REASON: usize = 512;

/// The status. A condition whose status stays keeps the time of its last change.
pub(crate) fn of(
    plan: &Plan,
    failure: Option<String>,
    previous: Option<&CoreosImageServiceStatus>,
) -> CoreosImageServiceStatus {
    let releases = match &plan.outcomes {
        Some(outcomes) => outcomes.iter().map(release).collect(),
        None => previous.map(|previous| previous.releases.clone()).unwrap_or_default(),
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

fn release(outcome: &Outcome) -> ReleaseStatus {
    let facts = outcome.facts.as_ref();
    ReleaseStatus {
        name: outcome.name.clone(),
        pullspec: outcome.pullspec.clone(),
        version: facts.map(|facts| facts.version.to_string()),
        arches: facts.map(|facts| facts.arches.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        os_builds: facts
            .map(|facts| {
                facts.os_builds.iter().map(|(arch, build)| (arch.to_string(), build.to_string())).collect()
            })
            .unwrap_or_default(),
        state: outcome.state,
        message: outcome.message.chars().take(LONGEST_REASON).collect(),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
