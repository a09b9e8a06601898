//! The feed: what it reads is turned into lists, and what cannot be is told once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coreos_names::WithCauses;
use feed_format::{Documents, PULL_SECRET, SecretText};
use image_store::Catalog;
use oci_registry::{Config, PullSecret, Registry};
use provision::Desired;
use release_payload::release_images::ReleaseImage;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use crate::cluster::{Cluster, Reading, Readings};
use crate::directory::{self, Contents, Files, Unreadable};
use crate::list::{self, Environment};
use crate::memory::{Memory, Remembered};

/// Where lists come from beside the environment.
#[derive(Debug)]
pub enum Source {
    /// Nowhere.
    None,
    /// A directory with a file for each of [`feed_format::CONFIGURATION`], and one for [`feed_format::PULL_SECRET`]. None of the files
    /// needs to be there.
    Directory(PathBuf),
    /// A ConfigMap and a Secret called [`feed_format::FEED_NAME`].
    Cluster(Cluster),
}

/// Follows what the environment and a source ask for.
#[derive(Debug)]
pub struct Feed {
    environment: Environment,
    files: Files,
    /// What is in the directory.
    documents: Result<Option<Documents>, Unreadable>,
    /// The same, as it was read last. A file that was there then and is not now may be back at once.
    read: Option<Documents>,
    pull_secret_file: PullSecretFile,
    readings: Option<Readings>,
    /// What the cluster has, as it was read last.
    reading: Option<Reading>,
    /// Where it is kept for the next start.
    memory: Option<Memory>,
    /// What an earlier process has read of the cluster; it counts until that is read anew.
    remembered: Option<Remembered>,
    ticks: Interval,
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
    /// What could not be used the last time, and whether that was said.
    refused: Option<(Result<Reports, Unreadable>, bool)>,
    said_that_there_is_no_pull_secret: bool,
    /// Whether there was a pull secret at some time. From then on one that is missing is a mishap.
    had_pull_secret: bool,
    /// The releases of which it was said that the pull secret does not help with them.
    asked_anonymously: BTreeSet<String>,
}

/// The file with the environment's pull secret. The client reads it itself, and goes on with the last good one.
#[derive(Debug, Default)]
struct PullSecretFile {
    /// The last good one, by which a change is known.
    last: Option<SecretText>,
    /// What was wrong with it the last time, and whether that was said.
    problem: Option<(String, bool)>,
}

/// All that was read at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reports {
    documents: Documents,
    pull_secret_file: Option<SecretText>,
    /// Whether releases count without a pull secret: there was one when this was read by an earlier process.
    had_pull_secret: bool,
    is_complete: bool,
}

impl Feed {
    /// Reads what can be read without waiting. The first list is there when this returns.
    ///
    /// `pull_secret_file` is where the environment's pull secret was read from, if from a file; it is read again when it
    /// changes. Fails only if registries cannot be asked as the environment says.
    pub fn new(
        environment: Environment,
        pull_secret_file: Option<PathBuf>,
        source: Source,
        catalog: Arc<Catalog>,
    ) -> Result<(Self, watch::Receiver<Desired>), oci_registry::Error> {
        let (directory, readings, memory) = match source {
            Source::None => (None, None, None),
            Source::Directory(directory) => (Some(directory), None, None),
            Source::Cluster(cluster) => {
                let memory = cluster.memory();
                (None, Some(cluster.watch()), memory)
            }
        };
        let remembered = memory.as_ref().and_then(Memory::recall).cloned();
        let mut ticks = tokio::time::interval(directory::INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let registry = Registry::new(environment.registry.clone())?;
        let config = environment.registry.clone();
        warn_of_pull_secret(&config);
        let desired = Desired { os_images: Vec::new(), releases: Vec::new(), registry, is_complete: false };
        let (lists, list) = watch::channel(desired);
        let mut feed = Self {
            environment,
            files: Files { directory, pull_secret: pull_secret_file },
            documents: Ok(None),
            read: None,
            pull_secret_file: PullSecretFile::default(),
            readings,
            reading: None,
            memory,
            remembered,
            ticks,
            has_started: false,
            config,
            lists,
            catalog,
            applied: None,
            problem: None,
            refused: None,
            said_that_there_is_no_pull_secret: false,
            had_pull_secret: false,
            asked_anonymously: BTreeSet::new(),
        };
        // The environment's part was checked before and serves whatever becomes of the rest.
        let is_alone = feed.files.directory.is_none() && feed.readings.is_none();
        feed.apply(Reports { is_complete: is_alone, ..Reports::default() })
            .unwrap_or_else(|problems| feed.refuse(&problems));
        feed.applied = None;
        if !feed.files.is_empty() {
            feed.look(feed.files.read_blocking());
        }
        if feed.remembered.is_some() {
            tracing::info!("beginning with the feed as it was applied last, until it is read again");
        }
        if !feed.files.is_empty() || feed.remembered.is_some() {
            feed.take(false);
        }
        feed.has_started = true;
        Ok((feed, list))
    }

    /// Waits until the list is complete, but no longer than `patience`.
    pub async fn wait_until_complete(&mut self, patience: Duration) {
        let complete = async { while !self.lists.borrow().is_complete && self.step().await {} };
        // The time being up or the list being complete, the service begins.
        let _ = tokio::time::timeout(patience, complete).await;
    }

    /// Follows the sources. Ends at once if there are none; dropped, it stops.
    pub async fn run(mut self) {
        while self.step().await {}
    }

    /// Waits for something to read and takes it. Returns whether there will be more.
    async fn step(&mut self) -> bool {
        if self.readings.is_none() && self.files.is_empty() {
            return false;
        }
        let changed = async {
            match &mut self.readings {
                Some(readings) => readings.changed().await,
                None => std::future::pending().await,
            }
        };
        let is_last_word = tokio::select! {
            changed = changed => {
                let Some(reading) = changed else { return false };
                self.hear(reading);
                true
            }
            _ = self.ticks.tick(), if !self.files.is_empty() => false,
        };
        if !is_last_word {
            self.look(self.files.read().await);
        }
        self.take(is_last_word);
        let is_whole = self.reading.as_ref().is_some_and(|reading| reading.is_whole);
        if let (Some(memory), Some(applied), None) = (&mut self.memory, &self.applied, &self.refused)
            && is_whole
        {
            let has_pull_secret =
                self.environment.has_pull_secret || applied.documents.access.pull_secret.is_some();
            memory.keep(Remembered::of(&applied.documents, has_pull_secret)).await;
        }
        true
    }

    /// Takes note of what is in the files. One that is missing is gone only if it is missing twice.
    fn look(&mut self, Contents { documents, pull_secret }: Contents) {
        self.documents = documents.map(|documents| {
            let documents = documents?;
            let before = self.read.replace(documents.clone());
            Some(documents.or(before.unwrap_or_default()))
        });
        // One that the feed brings takes its place, whatever is in it.
        let of_directory = self.documents.as_ref().ok().and_then(Option::as_ref);
        let of_feed = of_directory.or(self.reading.as_ref().map(|reading| &reading.documents));
        let is_replaced = of_feed.is_some_and(|feed| feed.access.pull_secret.is_some());
        self.judge(pull_secret.filter(|_| !is_replaced));
    }

    /// Judges the environment's pull secret. It may be half written, so it is complained of only when it was read twice.
    fn judge(&mut self, pull_secret: Option<Result<SecretText, Unreadable>>) {
        let result = pull_secret.map(|read| {
            let text = read.map_err(|error| error.to_string())?;
            PullSecret::parse(text.expose()).map_err(|error| error.to_string())?;
            Ok::<_, String>(text)
        });
        let file = &mut self.pull_secret_file;
        let before = file.problem.take();
        match result {
            Some(Ok(text)) => file.last = Some(text),
            Some(Err(problem)) => {
                let is_known = before.as_ref().is_some_and(|(before, _)| *before == problem);
                let was_said = before.is_some_and(|(_, is_said)| is_said);
                if is_known && !was_said {
                    tracing::error!(
                        problem,
                        "PULL_SECRET_FILE cannot be used; the pull secret before it stays"
                    );
                }
                file.problem = Some((problem, is_known));
            }
            None => {}
        }
        self.show_problems();
    }

    /// Says in the report what cannot be used.
    fn show_problems(&self) {
        let of_file = self.pull_secret_file.problem.as_ref().filter(|(_, is_said)| *is_said);
        let of_file = of_file.map(|(problem, _)| format!("PULL_SECRET_FILE: {problem}"));
        let problems: Vec<_> = self.problem.iter().cloned().chain(of_file).collect();
        self.catalog.set_list_problem(Some(problems.join("; ")).filter(|problems| !problems.is_empty()));
    }

    /// Takes note of a reading. One that had to be given up does not take the place of what was known before.
    fn hear(&mut self, reading: Reading) {
        if reading.is_whole {
            self.remembered = None;
        } else if self.remembered.is_some() {
            tracing::warn!("a feed was in use before and may not be read any more; what it was stays in use");
            return;
        }
        self.reading = Some(reading);
    }

    /// Takes over what was read, if it is something else and can be used. What was read from files may be half written:
    /// unless it is the last word, it is complained of only when it was read twice.
    fn take(&mut self, is_last_word: bool) {
        let reports = self.documents.clone().map(|documents| {
            let of_cluster = self.reading.as_ref().map(|reading| reading.documents.clone());
            let read = documents.or(of_cluster);
            let is_complete = read.is_some() || self.readings.is_none();
            let remembered = self.remembered.as_ref().filter(|_| read.is_none());
            Reports {
                had_pull_secret: remembered.is_some_and(|remembered| remembered.had_pull_secret),
                documents: read.or_else(|| Some(remembered?.documents())).unwrap_or_default(),
                pull_secret_file: self.pull_secret_file.last.clone(),
                is_complete,
            }
        });
        if reports.as_ref().ok().is_some_and(|reports| self.applied.as_ref() == Some(reports)) {
            self.refused = None;
            self.problem = None;
            self.show_problems();
            return;
        }
        if self.refused.as_ref().is_some_and(|(refused, is_said)| *refused == reports && *is_said) {
            return;
        }
        let result = match &reports {
            Ok(reports) => self.apply(reports.clone()),
            Err(error) => Err(vec![error.to_string()]),
        };
        match result {
            Ok(()) => self.refused = None,
            Err(problems) => {
                let was_seen = self.refused.as_ref().is_some_and(|(refused, _)| *refused == reports);
                let is_said = is_last_word || was_seen;
                self.refused = Some((reports, is_said));
                if is_said {
                    self.refuse(&problems);
                }
            }
        }
    }

    /// Makes a list of it and hands that on.
    fn apply(&mut self, reports: Reports) -> Result<(), Vec<String>> {
        let Reports { documents, had_pull_secret, is_complete, .. } = &reports;
        let has_pull_secret = self.environment.has_pull_secret || documents.access.pull_secret.is_some();
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

    /// Tells what is wrong. The list in use stays.
    fn refuse(&mut self, problems: &[String]) {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use feed_format::RELEASE_IMAGES;

    use super::*;

    const PULL_SECRET_TEXT: &str = r#"{"auths":{}}"#;

    fn release(pullspec: &str) -> String {
        format!(
            r#"[{{"openshift_version":"4.18","cpu_architecture":"x86_64","version":"4.18.1","url":"{pullspec}"}}]"#
        )
    }

    /// A feed of a directory, and a pull secret that the environment has in a file.
    fn feed(directory: &Path, file: &Path) -> Feed {
        test_support::install_crypto_provider();
        let environment = Environment {
            os_images: Vec::new(),
            releases: Vec::new(),
            registry: Config::default(),
            has_pull_secret: true,
        };
        let source = Source::Directory(directory.to_owned());
        Feed::new(environment, Some(file.to_owned()), source, Arc::default()).unwrap().0
    }

    fn read(feed: &mut Feed) -> Vec<String> {
        feed.look(feed.files.read_blocking());
        feed.take(false);
        feed.lists.borrow().releases.iter().map(|release| release.pullspec.to_string()).collect()
    }

    #[tokio::test]
    async fn a_file_is_gone_when_it_is_missing_twice() {
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, PULL_SECRET_TEXT).unwrap();
        let list = directory.path().join(RELEASE_IMAGES);
        fs::write(&list, release("r.io/a:1")).unwrap();
        let mut feed = feed(directory.path(), file.path());
        for _ in 0..2 {
            fs::remove_file(&list).unwrap();
            assert_eq!(read(&mut feed), ["r.io/a:1"], "it may be back at once");
            fs::write(&list, release("r.io/a:1")).unwrap();
            assert_eq!(read(&mut feed), ["r.io/a:1"]);
        }
        fs::remove_file(&list).unwrap();
        assert_eq!(read(&mut feed), ["r.io/a:1"]);
        assert!(read(&mut feed).is_empty());
    }

    #[tokio::test]
    async fn a_broken_pull_secret_of_the_environment_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, PULL_SECRET_TEXT).unwrap();
        let list = directory.path().join(RELEASE_IMAGES);
        let mut feed = feed(directory.path(), file.path());
        let registry = feed.lists.borrow().registry.clone();
        fs::write(&file, "{").unwrap();
        fs::write(&list, release("r.io/a:1")).unwrap();
        assert_eq!(read(&mut feed), ["r.io/a:1"]);
        assert_eq!(feed.catalog.list().problem, None, "it may be half written");
        fs::write(&list, release("r.io/b:1")).unwrap();
        assert_eq!(read(&mut feed), ["r.io/b:1"]);
        let problem = feed.catalog.list().problem.unwrap();
        assert!(problem.starts_with("PULL_SECRET_FILE: the pull secret is not JSON"), "{problem}");
        assert!(feed.lists.borrow().registry.is_same(&registry));
        assert_eq!(feed.catalog.statistics().refused_lists(), 0, "the list is in use");

        // With another one in its place nobody looks at it.
        fs::write(directory.path().join(PULL_SECRET), PULL_SECRET_TEXT).unwrap();
        read(&mut feed);
        assert_eq!(feed.catalog.list().problem, None);
    }
}
