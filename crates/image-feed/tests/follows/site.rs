//! A feed at work and what it hands on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image_feed::{Environment, Feed, Source};
use image_store::Catalog;
use oci_registry::Config;
use provision::Desired;
use release_payload::release_images;
use serde_json::json;
use test_support::install_crypto_provider;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Enough for the slowest machine; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// A pull secret that suits every registry.
pub(crate) const PULL_SECRET: &str = r#"{"auths":{}}"#;

/// A list of releases by their pullspecs, in the format of `RELEASE_IMAGES`.
pub(crate) fn releases(pullspecs: &[&str]) -> String {
    let entry = |url: &&str| json!({"openshift_version": "4.18", "version": "4.18.1", "cpu_architecture": "x86_64", "url": url});
    json!(pullspecs.iter().map(entry).collect::<Vec<_>>()).to_string()
}

pub(crate) struct Site {
    pub(crate) catalog: Arc<Catalog>,
    list: watch::Receiver<Desired>,
    feed: JoinHandle<()>,
}

impl Site {
    /// The environment asks for `r.io/environment:1` and has no pull secret, unless in a file.
    pub(crate) fn start(source: Source, pull_secret_file: Option<PathBuf>) -> Self {
        install_crypto_provider();
        let environment = Environment {
            os_images: Vec::new(),
            releases: release_images::parse(&releases(&["r.io/environment:1"])).unwrap(),
            registry: Config::default(),
            has_pull_secret: pull_secret_file.is_some(),
        };
        let catalog = Arc::new(Catalog::default());
        let (feed, list) = Feed::new(environment, pull_secret_file, source, Arc::clone(&catalog)).unwrap();
        Self { catalog, list, feed: tokio::spawn(feed.run()) }
    }

    pub(crate) fn list(&self) -> Desired {
        self.list.borrow().clone()
    }

    pub(crate) fn pullspecs(&self) -> Vec<String> {
        self.list().releases.iter().map(|release| release.pullspec.to_string()).collect()
    }

    /// Waits until the list is complete and these are the releases in it.
    pub(crate) async fn until(&self, pullspecs: &[&str]) {
        let is_so = |site: &Self| site.list().is_complete && site.pullspecs() == pullspecs;
        self.wait(&format!("the list is {pullspecs:?}"), is_so).await;
    }

    pub(crate) async fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "waited too long until {what}; {:?} {:?}", self.list(), self.catalog.list());
    }

    /// Waits until so many lists were refused.
    pub(crate) async fn until_refused(&self, count: u64) {
        self.wait("a list was refused", |site| site.catalog.statistics().refused_lists() == count).await;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.feed.abort();
    }
}
