//! Settings, in three steps: as typed (environment and flags) -> merged -> validated. Only the last leaves this module.
//!
//! [`table`] lists every setting once; flags, help and the README's table are made from or tested against it.

mod images;
mod infra_envs;
mod listeners;
mod merged;
mod mirrors;
mod operator;
mod pull_secret;
mod pull_secret_sync;
pub(crate) mod registry;
mod serve;
pub(crate) mod signatures;
pub(crate) mod table;

use coreos_names::WithCauses;

pub(crate) use images::{FeedSource, ImageSettings};
pub(crate) use infra_envs::InfraEnvs;
pub(crate) use listeners::{ListenPort, Listeners, TlsFiles};
pub(crate) use merged::Merged;
pub(crate) use operator::OperatorSettings;
pub(crate) use pull_secret::PullSecretSettings;
pub(crate) use pull_secret_sync::PullSecretSyncSettings;
pub(crate) use registry::ReleaseSettings;
pub(crate) use serve::ServeSettings;

/// The settings cannot be used. Every problem is named.
#[derive(Debug, thiserror::Error)]
#[error("the settings cannot be used:\n  {}", problems.join("\n  "))]
pub(crate) struct InvalidSettings {
    problems: Vec<String>,
}

impl InvalidSettings {
    /// What was found only when a setting was put to use.
    pub(crate) fn in_use(variable: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { problems: vec![format!("{variable}: {}", WithCauses(error))] }
    }
}

/// Collects problems while values are read, so that all of them are reported at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub(crate) fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    /// The value of a validation that found no problem.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, InvalidSettings> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(InvalidSettings { problems: self.0 }),
        }
    }
}
