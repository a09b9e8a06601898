//! A registry, a web server and a data directory, and a provisioner between them.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use coreos_names::{Arch, ImageKind};
use image_store::{Catalog, ImageReport, ImageState, ImageStore, Lease, Limits, Lookup};
use oci_registry::{Config, PullSecret, Registry, ResumePatience, Retry};
use provision::origin::{self, Origin};
use provision::{Desired, Names, Provisioner, RetryPolicy, os_images};
use release_payload::{SignaturePolicy, release_images};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::fixtures::live_iso;
use test_support::install_crypto_provider;
use test_support::origin::OriginServer;
use test_support::payload::{Content, Release, ReleaseBuilder};
use test_support::registry::{TokenRegistry, TokenRegistryBuilder};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const REPOSITORY: &str = "mirror/ocp-release";

/// Enough for the slowest machine; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

const MOMENT: RetryPolicy =
    RetryPolicy { shortest: Duration::from_millis(1), longest: Duration::from_millis(10) };

const A_WHILE: RetryPolicy =
    RetryPolicy { shortest: Duration::from_millis(50), longest: Duration::from_millis(200) };

/// The ISO of a fixture, as content of a payload.
pub(crate) fn content(arch: Arch) -> Content {
    Content::from_file(live_iso(arch)).unwrap()
}

pub(crate) struct Site {
    pub(crate) registry: TokenRegistry,
    pub(crate) origin: OriginServer,
    cdn: Option<String>,
    data: TempDir,
    /// What is asked of releases.
    pub(crate) signatures: Option<SignaturePolicy>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with_cdn(TokenRegistry::builder()).await
    }

    /// With a registry that breaks off at the same place however often the rest is asked for, if told to break off.
    pub(crate) async fn without_ranges() -> Self {
        Self::with_cdn(TokenRegistry::builder().no_ranges()).await
    }

    /// The same with a registry that serves blobs itself.
    pub(crate) async fn without_ranges_and_cdn() -> Self {
        Self::with(TokenRegistry::builder().no_ranges(), false).await
    }

    async fn with_cdn(registry: TokenRegistryBuilder) -> Self {
        Self::with(registry.cdn(), true).await
    }

    async fn with(registry: TokenRegistryBuilder, has_cdn: bool) -> Self {
        install_crypto_provider();
        let registry = registry.user("puller", "secret").start().await;
        let cdn = has_cdn.then(|| registry.cdn_address().to_owned());
        let origin = OriginServer::start().await;
        Self { registry, origin, cdn, data: TempDir::new().unwrap(), signatures: None }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Mirrors a release as `oc adm release mirror` does, all into one repository. Returns the pullspec.
    pub(crate) fn publish_built(&self, release: &Release) -> String {
        for component in &release.components {
            self.registry.publish(REPOSITORY, &component.tag, &component.image);
        }
        self.registry.publish(REPOSITORY, &release.tag, &release.image);
        format!("{}/{REPOSITORY}:{}", self.registry.address(), release.tag)
    }

    pub(crate) fn pull_secret_entry(&self) -> String {
        // puller:secret
        format!(r#""{}": {{"auth": "cHVsbGVyOnNlY3JldA=="}}"#, self.registry.address())
    }

    /// Builds and mirrors a release.
    pub(crate) fn publish(&self, release: ReleaseBuilder) -> String {
        self.publish_built(&release.build().unwrap())
    }

    /// From here on nobody listens where the registry was.
    pub(crate) async fn stop_registry(&mut self) {
        self.registry = TokenRegistry::builder().start().await;
    }

    /// How many ISOs were asked for, by their size.
    pub(crate) fn iso_downloads(&self) -> usize {
        self.registry.requests().iter().filter(|request| request.bytes_served() > 4 << 20).count()
    }

    /// How often the registry, not its CDN, was asked for a blob.
    pub(crate) fn asked_for(&self, digest: &str) -> usize {
        let requests = self.registry.requests();
        requests.iter().filter(|request| !request.cdn && request.path.ends_with(digest)).count()
    }

    /// The names of published files.
    pub(crate) fn published(&self) -> Vec<String> {
        files(self.data.path())
    }

    /// The names of files on their way.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        files(&self.data.path().join(".coreos-image-service/v1/staging"))
    }

    /// Whether nobody is at any of the files on their way.
    pub(crate) fn is_at_rest(&self) -> bool {
        let staging = self.data.path().join(".coreos-image-service/v1/staging");
        let is_free = |name| match std::fs::File::open(staging.join(name)) {
            Ok(file) => file.try_lock().is_ok(),
            Err(_) => true,
        };
        self.unfinished().iter().all(is_free)
    }

    /// Waits until no file is on its way. A thread that writes hears of the end when it next asks for bytes.
    pub(crate) async fn until_nothing_is_unfinished(&self) {
        self.until(|site| site.unfinished().is_empty()).await;
    }

    /// Waits until something is so on disk.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "left behind: {:?}", self.unfinished());
    }

    /// Provisions releases: version of the entry, version of the release, architectures and pullspec. Behind the
    /// architectures may stand the generation of the operating system: `x86_64 rhel-9`.
    pub(crate) fn provision(&self, releases: &[(&str, &str, &str, &str)]) -> Run {
        self.provision_with(&format!(r#"{{"auths": {{{}}}}}"#, self.pull_secret_entry()), releases)
    }

    /// Provisions entries of OS_IMAGES and releases.
    pub(crate) fn provision_os_images(
        &self,
        os_images: &[Value],
        releases: &[(&str, &str, &str, &str)],
    ) -> Run {
        let pull_secret = format!(r#"{{"auths": {{{}}}}}"#, self.pull_secret_entry());
        self.provision_all(os_images, &pull_secret, releases, || {})
    }

    /// Provisions entries of OS_IMAGES after something was done to the open data directory.
    pub(crate) fn provision_prepared(&self, os_images: &[Value], prepare: impl FnOnce()) -> Run {
        self.provision_all(os_images, "{\"auths\": {}}", &[], prepare)
    }

    /// Provisions entries of OS_IMAGES, one download at a time. A server that fails is not asked again before long.
    pub(crate) fn provision_one_by_one(&self, os_images: &[Value]) -> Run {
        let hour = Duration::from_hours(1);
        let patient = RetryPolicy { shortest: hour, longest: 2 * hour };
        self.provision_in(os_images, "{\"auths\": {}}", &[], || {}, (patient, A_WHILE), 1)
    }

    /// Provisions releases with these waits between attempts.
    pub(crate) fn provision_patiently(
        &self,
        pull_secret: &str,
        releases: &[(&str, &str, &str, &str)],
        retry: RetryPolicy,
    ) -> Run {
        self.provision_in(&[], pull_secret, releases, || {}, (MOMENT, retry), 2)
    }

    /// The same with another pull secret.
    pub(crate) fn provision_with(&self, pull_secret: &str, releases: &[(&str, &str, &str, &str)]) -> Run {
        self.provision_all(&[], pull_secret, releases, || {})
    }

    /// A client for the registries of these releases and for this site's.
    pub(crate) fn registry_client(
        &self,
        pull_secret: &str,
        releases: &[(&str, &str, &str, &str)],
    ) -> Registry {
        let registries = releases.iter().map(|release| release.3.split_once('/').unwrap().0);
        let ours = [self.registry.address()].into_iter().chain(self.cdn.as_deref());
        let config = Config {
            credentials: PullSecret::parse(pull_secret).unwrap().into(),
            insecure: registries.chain(ours).map(|host| host.parse().unwrap()).collect(),
            retry: Retry { tries: 2, first_delay: Duration::from_millis(1), ..Retry::default() },
            resume: ResumePatience { longest_outage: Duration::ZERO, ..ResumePatience::default() },
            ..Config::default()
        };
        Registry::new(config).unwrap()
    }

    fn provision_all(
        &self,
        os_images: &[Value],
        pull_secret: &str,
        releases: &[(&str, &str, &str, &str)],
        prepare: impl FnOnce(),
    ) -> Run {
        self.provision_in(os_images, pull_secret, releases, prepare, (MOMENT, A_WHILE), 2)
    }

    fn provision_in(
        &self,
        os_images: &[Value],
        pull_secret: &str,
        releases: &[(&str, &str, &str, &str)],
        prepare: impl FnOnce(),
        (origin_retry, retry): (RetryPolicy, RetryPolicy),
        concurrent_downloads: usize,
    ) -> Run {
        let origin =
            origin::Config { tries: 2, retry: origin_retry, max_size: u64::MAX, ..Default::default() };
        let registry = self.registry_client(pull_secret, releases);
        let desired = desired(os_images, releases, &registry);
        let catalog = Arc::new(Catalog::default());
        let mut provisioner = Provisioner::new(
            registry,
            Origin::new(origin).unwrap(),
            ImageStore::open(self.data.path(), Limits::default()).unwrap(),
            Arc::clone(&catalog),
            retry,
            concurrent_downloads,
        );
        if let Some(policy) = &self.signatures {
            provisioner = provisioner.requiring(policy.clone());
        }
        let provisioner = Arc::new(provisioner);
        prepare();
        let (lists, list) = watch::channel(desired);
        let mut provisioning = provisioner.follow(list);
        let names = provisioning.names();
        let known = Arc::new(OnceLock::new());
        let (served, noted) = (Arc::clone(&catalog), Arc::clone(&known));
        let task = tokio::spawn(async move {
            provisioning.serve_known().await;
            let ready = served.report().into_iter().filter(|image| image.proof().is_some()).count();
            noted.set(ready).expect("it is set once");
            provisioning.run().await;
        });
        Run { catalog, names, known, lists: Mutex::new(Some(lists)), task }
    }
}

/// A list that is complete.
fn desired(os_images: &[Value], releases: &[(&str, &str, &str, &str)], registry: &Registry) -> Desired {
    let os_images = match os_images {
        [] => Vec::new(),
        entries => os_images::parse(&json!(entries).to_string()).unwrap(),
    };
    let releases: Vec<_> = releases
        .iter()
        .map(|(openshift_version, version, arch, url)| {
            let (arch, os_stream) = arch.split_once(' ').map_or((*arch, None), |(arch, os)| (arch, Some(os)));
            let arches: Vec<_> = arch.split(',').collect();
            json!({"openshift_version": openshift_version, "version": version, "cpu_architecture": arches[0],
                   "cpu_architectures": arches, "os_stream": os_stream, "url": url})
        })
        .collect();
    let releases = release_images::parse(&json!(releases).to_string()).unwrap();
    Desired { os_images, releases, registry: registry.clone(), is_complete: true }
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn received(state: &ImageState) -> u64 {
    match state {
        ImageState::Fetching { received, .. } => *received,
        _ => 0,
    }
}

/// A provisioner at work.
pub(crate) struct Run {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) names: watch::Receiver<Names>,
    /// How many images were ready before the first request would have been answered.
    pub(crate) known: Arc<OnceLock<usize>>,
    /// What is desired; gone when there will be no other list.
    lists: Mutex<Option<watch::Sender<Desired>>>,
    task: JoinHandle<()>,
}

impl Run {
    /// Replaces the list, and goes on with the same client.
    pub(crate) fn desire(&self, os_images: &[Value], releases: &[(&str, &str, &str, &str)]) {
        let lists = self.lists.lock().unwrap();
        let lists = lists.as_ref().expect("the list may still change");
        let registry = lists.borrow().registry.clone();
        lists.send_replace(desired(os_images, releases, &registry));
    }

    /// Goes on with the same list and another client.
    pub(crate) fn ask_with(&self, registry: Registry) {
        let lists = self.lists.lock().unwrap();
        lists.as_ref().expect("the list may still change").send_modify(|list| list.registry = registry);
    }

    /// Waits until nothing is left to do and would be with the list that there is.
    pub(crate) async fn finished(&self) {
        self.lists.lock().unwrap().take();
        self.until("everything is done", |run| run.task.is_finished()).await;
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "waited too long until {what}; {:#?}", self.catalog.report());
    }

    /// Stops it as a signal would.
    pub(crate) async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// The image of a version, which must be ready.
    pub(crate) fn ready(&self, version: &str, arch: Arch) -> Lease {
        match self.catalog.find(version, arch, ImageKind::Full) {
            Lookup::Ready(found) => found.lease,
            other => panic!("{version} {arch} is not ready: {other:?}"),
        }
    }

    pub(crate) fn is_ready(&self, version: &str, arch: Arch) -> bool {
        matches!(self.catalog.find(version, arch, ImageKind::Full), Lookup::Ready(_))
    }

    /// The state of a version's entry.
    fn state(&self, version: &str) -> ImageState {
        let version = version.parse().unwrap();
        let report =
            self.catalog.report().into_iter().find(|report| report.desired.openshift_version == version);
        report.expect("an entry").state
    }

    /// Why the image of a version could not be brought in.
    pub(crate) fn reason(&self, version: &str) -> Option<String> {
        match self.state(version) {
            ImageState::Failed { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// How many bytes of the image have arrived.
    pub(crate) fn received(&self, version: &str) -> u64 {
        received(&self.state(version))
    }

    /// The same for one of several architectures.
    pub(crate) fn received_of(&self, version: &str, arch: Arch) -> u64 {
        let version = version.parse().unwrap();
        let of_version = |image: &ImageReport| {
            image.desired.openshift_version == version && image.desired.arch == Some(arch)
        };
        self.catalog.report().iter().find(|image| of_version(image)).map_or(0, |image| received(&image.state))
    }

    /// 4.18 is ready, 4.17 has failed for a reason that says all of `reason`, and nothing of it is on disk.
    pub(crate) async fn assert_only_the_good_one_is_there(&self, site: &Site, reason: &[&str]) {
        self.until("the bad release has failed", |run| run.reason("4.17").is_some()).await;
        self.until("the good release is there", |run| run.is_ready("4.18", Arch::S390x)).await;
        let text = self.reason("4.17").unwrap();
        for part in reason {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        assert_eq!(site.published().len(), 1);
    }
}
