//! The feed: what there is to read, and when it is believed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use feed_format::{Documents, SecretText};
use image_store::Catalog;
use oci_registry::PullSecret;
use provision::Desired;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use crate::cluster::{Cluster, Reading, Readings};
use crate::directory::{self, Contents, Files, Unreadable};
use crate::in_use::{ListInUse, Reports};
use crate::list::Environment;
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
    list: ListInUse,
    /// What could not be used the last time, and whether that was said.
    refused: Option<(Result<Reports, Unreadable>, bool)>,
}

/// The file with the environment's pull secret. The client reads it itself, and goes on with the last good one.
#[derive(Debug, Default)]
struct PullSecretFile {
    /// The last good one, by which a change is known.
    last: Option<SecretText>,
    /// What was wrong with it the last time, and whether that was said.
    problem: Option<(String, bool)>,
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
        let is_alone = directory.is_none() && readings.is_none();
        let (list, desired) = ListInUse::new(environment, catalog, is_alone)?;
        let mut feed = Self {
            files: Files { directory, pull_secret: pull_secret_file },
            documents: Ok(None),
            read: None,
            pull_secret_file: PullSecretFile::default(),
            readings,
            reading: None,
            memory,
            remembered,
            ticks,
            list,
            refused: None,
        };
        if !feed.files.is_empty() {
            feed.look(feed.files.read_blocking());
        }
        if feed.remembered.is_some() {
            tracing::info!("beginning with the feed as it was applied last, until it is read again");
        }
        if !feed.files.is_empty() || feed.remembered.is_some() {
            feed.take(false);
        }
        feed.list.start();
        Ok((feed, desired))
    }

    /// Waits until the list is complete, but no longer than `patience`.
    pub async fn wait_until_complete(&mut self, patience: Duration) {
        let complete = async { while !self.list.is_complete() && self.step().await {} };
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
        if let (Some(memory), Some(applied), None) = (&mut self.memory, self.list.applied(), &self.refused)
            && is_whole
        {
            let has_pull_secret = self.list.has_pull_secret(&applied.documents);
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
        let problem = self.pull_secret_file.problem.as_ref().filter(|(_, is_said)| *is_said);
        let problem = problem.map(|(problem, _)| format!("PULL_SECRET_FILE: {problem}"));
        self.list.set_problem_of_file(problem);
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
        if reports.as_ref().ok().is_some_and(|reports| self.list.applied() == Some(reports)) {
            self.refused = None;
            self.list.is_the_newest();
            return;
        }
        if self.refused.as_ref().is_some_and(|(refused, is_said)| *refused == reports && *is_said) {
            return;
        }
        let result = match &reports {
            Ok(reports) => self.list.apply(reports.clone()),
            Err(error) => Err(vec![error.to_string()]),
        };
        match result {
            Ok(()) => self.refused = None,
            Err(problems) => {
                let was_seen = self.refused.as_ref().is_some_and(|(refused, _)| *refused == reports);
                let is_said = is_last_word || was_seen;
                self.refused = Some((reports, is_said));
                if is_said {
                    self.list.refuse(&problems);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use feed_format::{PULL_SECRET, RELEASE_IMAGES};
    use oci_registry::Config;

    use super::*;

    const PULL_SECRET_TEXT: &str = r#"{"auths":{}}"#;

    fn release(pullspec: &str) -> String {
        format!(
            r#"[{{"openshift_version":"4.18","cpu_architecture":"x86_64","version":"4.18.1","url":"{pullspec}"}}]"#
        )
    }

    /// A feed of a directory, and a pull secret that the environment has in a file.
    struct Followed {
        feed: Feed,
        desired: watch::Receiver<Desired>,
        catalog: Arc<Catalog>,
    }

    impl Followed {
        fn new(directory: &Path, file: &Path) -> Self {
            test_support::install_crypto_provider();
            let environment = Environment {
                os_images: Vec::new(),
                releases: Vec::new(),
                registry: Config::default(),
                has_pull_secret: true,
            };
            let (source, catalog) = (Source::Directory(directory.to_owned()), Arc::<Catalog>::default());
            let (feed, desired) =
                Feed::new(environment, Some(file.to_owned()), source, Arc::clone(&catalog)).unwrap();
            Self { feed, desired, catalog }
        }

        fn read(&mut self) -> Vec<String> {
            self.feed.look(self.feed.files.read_blocking());
            self.feed.take(false);
            self.desired.borrow().releases.iter().map(|release| release.pullspec.to_string()).collect()
        }
    }

    #[tokio::test]
    async fn a_file_is_gone_when_it_is_missing_twice() {
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, PULL_SECRET_TEXT).unwrap();
        let list = directory.path().join(RELEASE_IMAGES);
        fs::write(&list, release("r.io/a:1")).unwrap();
        let mut feed = Followed::new(directory.path(), file.path());
        for _ in 0..2 {
            fs::remove_file(&list).unwrap();
            assert_eq!(feed.read(), ["r.io/a:1"], "it may be back at once");
            fs::write(&list, release("r.io/a:1")).unwrap();
            assert_eq!(feed.read(), ["r.io/a:1"]);
        }
        fs::remove_file(&list).unwrap();
        assert_eq!(feed.read(), ["r.io/a:1"]);
        assert!(feed.read().is_empty());
    }

    #[tokio::test]
    async fn a_broken_pull_secret_of_the_environment_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, PULL_SECRET_TEXT).unwrap();
        let list = directory.path().join(RELEASE_IMAGES);
        let mut feed = Followed::new(directory.path(), file.path());
        let registry = feed.desired.borrow().registry.clone();
        fs::write(&file, "{").unwrap();
        fs::write(&list, release("r.io/a:1")).unwrap();
        assert_eq!(feed.read(), ["r.io/a:1"]);
        assert_eq!(feed.catalog.list().problem, None, "it may be half written");
        fs::write(&list, release("r.io/b:1")).unwrap();
        assert_eq!(feed.read(), ["r.io/b:1"]);
        let problem = feed.catalog.list().problem.unwrap();
        assert!(problem.starts_with("PULL_SECRET_FILE: the pull secret is not JSON"), "{problem}");
        assert!(feed.desired.borrow().registry.is_same(&registry));
        assert_eq!(feed.catalog.statistics().refused_lists(), 0, "the list is in use");

        // With another one in its place nobody looks at it.
        fs::write(directory.path().join(PULL_SECRET), PULL_SECRET_TEXT).unwrap();
        feed.read();
        assert_eq!(feed.catalog.list().problem, None);
    }
}
