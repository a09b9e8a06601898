//! What is tried with a pull secret.

use oci_registry::{Config, Reference, Retry};

use super::{InvalidSettings, Merged, images, registry};

/// Everything that `pull-secret check` needs to know, checked.
#[derive(Debug)]
pub(crate) struct PullSecretSettings {
    /// How registries are asked, with which pull secret.
    pub(crate) registry: Config,
    /// The images of RELEASE_IMAGES.
    pub(crate) releases: Vec<Reference>,
}

impl PullSecretSettings {
    pub(crate) fn validate(merged: &Merged) -> Result<Self, InvalidSettings> {
        let mut problems = merged.problems();
        if merged.text("PULL_SECRET").or(merged.text("PULL_SECRET_FILE")).is_none() {
            problems.add("nothing to check: give PULL_SECRET or PULL_SECRET_FILE".to_owned());
        }
        // Somebody is waiting for the answer.
        let retry = Retry { tries: 2, ..Retry::default() };
        let registry = Config { retry, ..registry::read(merged, true, &mut problems, &mut Vec::new()) };
        let releases = images::pullspecs(merged, &mut problems);
        problems.finish(Some(Self { registry, releases }))
    }
}
