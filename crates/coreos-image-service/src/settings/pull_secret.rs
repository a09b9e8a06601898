//! What is tried with a pull secret.

use std::time::Duration;

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
        let registry = impatient(registry::read(merged, true, &mut problems, &mut Vec::new()));
        let releases = images::pullspecs(merged, &mut problems);
        problems.finish(Some(Self { registry, releases }))
    }
}

/// Somebody is waiting for the answer: a registry has a minute for it, however dead or slow it is.
fn impatient(config: Config) -> Config {
    let within = Duration::from_secs(20);
    let retry = Retry { tries: 2, longest_delay: Duration::from_secs(10), ..config.retry };
    Config { retry, read_timeout: within, request_timeout: within, ..config }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oci_registry::{Config, Retry};

    use super::impatient;

    #[test]
    fn a_check_takes_no_longer_than_a_minute() {
        let Config { retry, request_timeout, .. } = impatient(Config::default());
        let Retry { tries, longest_delay, .. } = retry;
        assert!(tries > 1 && tries * request_timeout + (tries - 1) * longest_delay < Duration::from_mins(1));
    }
}
