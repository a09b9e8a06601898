//! The list in use: what was read is turned into it, and what cannot be is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use coreos_names::WithCauses;
use feed_format::{Documents, PULL_SECRET, SecretText};
use image_store::Catalog;
use oci_registry::{Config, Registry};
use provision::Desired;
use release_payload::release_images::ReleaseImage;
use tokio::sync::watch;

use crate::list::{self, Environment};

/// All that was read at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reports {
    pub(crate) documents: Documents,
    pub(crate) pull_secret_file: Option<SecretText>,
    /// Whether releases count without a pull secret: there was one when this was read by an earlier process.
    pub(crate) had_pull_secret: bool,
    pub(crate) is_complete: bool,
}

/// What is asked for and how registries are asked, as it was handed on.
#[derive(Debug)]
pub(crate) struct ListInUse {
    environment: Environment,
    /// Whether the first list was handed on.
    has_started: bool,
    /// How registries are asked.
    config: Config,
    lists: watch::Sender<Desired>,
    catalog: Arc<Catalog>,
    /// What the list in use was made of; `None` as long as that is the environment's alone for want of better.
    applied: Option<Reports>,
    /// What is wrong with the newest list, if that was said.
    problem: Option<String>,
    /// What is wrong with the file of the environment's pull secret, if that was said.
    problem_of_file: Option<String>,
    said_that_there_is_no_pull_secret: bool,
    /// Whether there was a pull secret at some time. From then on one that is missing is a mishap.
    had_pull_secret: bool,
    /// The releases of which it was said that the pull secret does not help with them.
    asked_anonymously: BTreeSet<String>,
}

impl ListInUse {
    /// The environment's part, which was checked before and serves whatever becomes of the rest. `is_alone` says that there
    /// is no other. Fails only if registries cannot be asked as the environment says.
    pub(crate) fn new(
        environment: Environment,
        catalog: Arc<Catalog>,
        is_alone: bool,
    ) -> Result<(Self, watch::Receiver<Desired>), oci_registry::Error> {
        let registry = Registry::new(environment.registry.clone())?;
        let config = environment.registry.clone();
        warn_of_pull_secret(&config);
        let desired = Desired { os_images: Vec::new(), releases: Vec::new(), registry, is_complete: false };
        let (lists, desired) = watch::channel(desired);
        let mut list = Self {
            environment,
            has_started: false,
            config,
            lists,
            catalog,
            applied: None,
            problem: None,
            problem_of_file: None,
            said_that_there_is_no_pull_secret: false,
            had_pull_secret: false,
            asked_anonymously: BTreeSet::new(),
        };
        list.apply(Reports { is_complete: is_alone, ..Reports::default() })
            .unwrap_or_else(|problems| list.refuse(&problems));
        list.applied = None;
        Ok((list, desired))
    }

    /// From here on every list takes the place of one that may have been acted on.
    pub(crate) fn start(&mut self) {
        self.has_started = true;
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.lists.borrow().is_complete
    }

    pub(crate) fn applied(&self) -> Option<&Reports> {
        self.applied.as_ref()
    }

    /// Whether there is a pull secret, with these documents.
    pub(crate) fn has_pull_secret(&self, documents: &Documents) -> bool {
        self.environment.has_pull_secret || documents.access.pull_secret.is_some()
    }

    /// Nothing newer was read: what was wrong is mended.
    pub(crate) fn is_the_newest(&mut self) {
        self.problem = None;
        self.show_problems();
    }

    /// Says what is wrong with the file of the environment's pull secret.
    pub(crate) fn set_problem_of_file(&mut self, problem: Option<String>) {
        self.problem_of_file = problem;
        self.show_problems();
    }

    /// Makes a list of it and hands that on.
    pub(crate) fn apply(&mut self, reports: Reports) -> Result<(), Vec<String>> {
        let Reports { documents, had_pull_secret, is_complete, .. } = &reports;
        let has_pull_secret = self.has_pull_secret(documents);
        if self.had_pull_secret && !has_pull_secret {
            return Err(vec![format!("{PULL_SECRET}: it was there, and is not any more")]);
        }
        let list = list::list(&self.environment, documents, has_pull_secret || *had_pull_secret);
        let access = |reports: &Reports| (reports.documents.access.clone(), reports.pull_secret_file.clone());
        let used = self.applied.as_ref().map_or_else(Default::default, access);
        let registry = if used == access(&reports) {
            Ok(None)
        } else {
            documents.access.added_to(self.environment.registry.clone()).and_then(|config| {
                let client = Registry::new(config.clone());
                let client = client.map_err(|error| vec![WithCauses(&error).to_string()])?;
                Ok(Some((client, config)))
            })
        };
        let (list, registry) = match (list, registry) {
            (Ok(list), Ok(registry)) => (list, registry),
            (list, registry) => {
                return Err([list.err(), registry.err()].into_iter().flatten().flatten().collect());
            }
        };
        if list.without_pull_secret > 0 && !self.said_that_there_is_no_pull_secret {
            self.said_that_there_is_no_pull_secret = true;
            tracing::info!(
                releases = list.without_pull_secret,
                "there is no pull secret: releases are left alone until there is one"
            );
        }
        let (of_environment, of_feed) = (list.of_environment, list.of_feed());
        self.catalog.set_list_entries(of_environment, of_feed);
        self.problem = None;
        self.show_problems();
        if self.has_started {
            self.catalog.statistics().count_applied_list();
            tracing::info!(
                entries.environment = of_environment,
                entries.feed = of_feed,
                is_complete,
                registries = if registry.is_some() { "asked anew" } else { "asked as before" },
                "another list of images is in use"
            );
        }
        let client = registry.map(|(client, config)| {
            warn_of_pull_secret(&config);
            self.config = config;
            self.asked_anonymously.clear();
            client
        });
        // The pull secret of a feed that is only remembered is still to come.
        if !had_pull_secret {
            self.warn_of_anonymous(&list.releases);
        }
        self.lists.send_modify(|desired| {
            desired.os_images = list.os_images;
            desired.releases = list.releases;
            desired.is_complete = *is_complete;
            if let Some(client) = client {
                desired.registry = client;
            }
        });
        self.had_pull_secret |= has_pull_secret;
        self.applied = Some(reports);
        Ok(())
    }

    /// Says in the report what cannot be used.
    fn show_problems(&self) {
        let problems: Vec<_> = self.problem.iter().chain(&self.problem_of_file).cloned().collect();
        self.catalog.set_list_problem(Some(problems.join("; ")).filter(|problems| !problems.is_empty()));
    }

    /// Tells what is wrong. The list in use stays.
    pub(crate) fn refuse(&mut self, problems: &[String]) {
        self.catalog.statistics().count_refused_list();
        let problems = problems.join("; ");
        tracing::error!(problems, "the list of images cannot be used; the one before it stays");
        self.problem = Some(problems);
        self.show_problems();
    }

    /// Says once which releases the pull secret will not help with.
    fn warn_of_anonymous(&mut self, releases: &[ReleaseImage]) {
        let secret = self.config.credentials.current();
        for ReleaseImage { pullspec, .. } in releases {
            if pullspec.path().is_none()
                && matches!(secret.lookup(pullspec), Ok(None))
                && self.asked_anonymously.insert(pullspec.to_string())
            {
                let near_miss =
                    secret.near_miss(pullspec).map(|miss| format!("; {miss}")).unwrap_or_default();
                tracing::warn!(
                    "the pull secret has no entry for {pullspec}, which is asked anonymously{near_miss}"
                );
            }
        }
    }
}

/// Says what is odd about the pull secret.
fn warn_of_pull_secret(config: &Config) {
    for warning in config.credentials.current().warnings() {
        tracing::warn!("{warning}");
    }
}
