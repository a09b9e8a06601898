//! A service with images to serve, a client, and what came back.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coreos_names::{Arch, ImageKind, Sha256};
use image_server::{AssistedService, ImageServer, InfraEnvSource, Patience, Policy, Reusing, Surface, Tls};
use image_store::{
    Catalog, DesiredImage, EntryId, Expected, ImageKey, ImageState, ImageStore, Lease, Limits,
};
use live_iso::Extent;
use prometheus::Registry;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode, redirect};
use sha2::Digest;
use test_support::assisted_service::FakeAssistedService;
use test_support::install_crypto_provider;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

/// An infra-env. All are alike to the fake assisted-service.
pub(crate) const ID: &str = "0a5b1d7e-8f3c-4a52-9d36-2f1c64a8e001";

/// The build that the fixtures claim to be.
pub(crate) const OS_BUILD: &str = "418.94.202511191518-0";

/// The full ISO by the shortest way.
pub(crate) const FULL_ISO: &str = "/byid/0a5b1d7e-8f3c-4a52-9d36-2f1c64a8e001/4.18/x86_64/full.iso";

/// The fixture for x86_64, as a published image.
pub(crate) static X86_64: LazyLock<Published> =
    LazyLock::new(|| Published::of(fixture(Arch::X86_64), Arch::X86_64));

/// The fixture for aarch64, as a published image.
pub(crate) static ARM64: LazyLock<Published> =
    LazyLock::new(|| Published::of(fixture(Arch::Arm64), Arch::Arm64));

/// The fixture for s390x, as a published image.
pub(crate) static S390X: LazyLock<Published> =
    LazyLock::new(|| Published::of(fixture(Arch::S390x), Arch::S390x));

/// An image in a store of its own.
pub(crate) struct Published {
    pub(crate) iso: Bytes,
    pub(crate) lease: Lease,
    pub(crate) path: PathBuf,
    store: ImageStore,
}

impl Published {
    /// Publishes an ISO with its nmstate archive, where the next test run finds it unless the fixture was built anew.
    pub(crate) fn of(iso: Bytes, arch: Arch) -> Self {
        let digest = Sha256::new(sha2::Sha256::digest(&iso));
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(digest.to_string());
        let published = Self::publish(&directory, iso, arch);
        published.prepare_nmstate().unwrap();
        published
    }

    /// Publishes an ISO in `data_dir`.
    pub(crate) fn publish(data_dir: &Path, iso: Bytes, arch: Arch) -> Self {
        Self::publish_as(data_dir, iso, arch, ImageKind::Full)
    }

    /// Publishes an ISO of any kind in `data_dir`.
    pub(crate) fn publish_as(data_dir: &Path, iso: Bytes, arch: Arch, kind: ImageKind) -> Self {
        let sha256 = Sha256::new(sha2::Sha256::digest(&iso));
        Self::publish_proven(data_dir, iso, arch, kind, Expected::Release(sha256))
    }

    /// Publishes an ISO of any kind of which more or less is known.
    pub(crate) fn publish_proven(
        data_dir: &Path,
        iso: Bytes,
        arch: Arch,
        kind: ImageKind,
        expected: Expected,
    ) -> Self {
        fs::create_dir_all(data_dir).unwrap();
        let store = ImageStore::open(data_dir, Limits::default()).unwrap();
        let mut staging = store.stage().unwrap();
        staging.write_all(&iso).unwrap();
        let key = ImageKey { os_build: OS_BUILD.parse().unwrap(), arch, kind };
        let path = data_dir.join(key.file_name());
        let lease = staging.seal(expected).unwrap().publish(key).unwrap();
        Self { iso, lease, path, store }
    }

    pub(crate) fn prepare_nmstate(&self) -> Result<(), image_store::Error> {
        self.store.prepare_nmstate(&self.lease)
    }

    /// The program that hosts configure their network with, as it is in the image's root file system.
    pub(crate) fn nmstatectl(&self) -> Vec<u8> {
        live_iso::nmstatectl(&self.iso, self.lease.layout()).unwrap()
    }
}

/// Where an extent of the image is in a body that is the whole image.
pub(crate) fn within(extent: Extent) -> Range<usize> {
    let index = |offset| usize::try_from(offset).unwrap();
    index(extent.offset)..index(extent.end().unwrap())
}

/// The one file in the Ignition area of a full ISO made of the x86_64 fixture, if there is one.
pub(crate) fn ignition_config(iso: &[u8]) -> Option<Bytes> {
    let area = X86_64.lease.layout().ignition_area().unwrap().extent();
    let mut files = live_iso::unpack(&iso[within(area)]).unwrap();
    let config = files.pop();
    assert!(files.is_empty() && config.as_ref().is_none_or(|file| file.name == "config.ign"));
    config.map(|file| file.content)
}

/// An ISO without the file of these names, in ISO 9660 and beyond.
pub(crate) fn with_renamed(iso: &[u8], name: &str, long_name: &str) -> Bytes {
    let mut iso = iso.to_vec();
    let directories = iso.len().min(200 * 2048);
    let wide = |name: &str| name.bytes().flat_map(|byte| [0, byte]).collect::<Vec<u8>>();
    for name in [name.as_bytes(), long_name.as_bytes(), &wide(long_name)] {
        while let Some(at) = iso[..directories].windows(name.len()).position(|found| found == name) {
            iso[at + name.len() - 1] = b'_';
        }
    }
    iso.into()
}

/// What `make fixtures` has built.
pub(crate) fn fixture(arch: Arch) -> Bytes {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/fixtures/{}.iso", arch.rpm_name()));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `make fixtures`", path.display())).into()
}

/// An image as the configuration asks for it.
pub(crate) fn wanted(openshift_version: &str, arch: Arch) -> DesiredImage {
    DesiredImage {
        openshift_version: openshift_version.parse().unwrap(),
        release_version: Some("4.18.52".parse().unwrap()),
        arch: Some(arch),
        kind: ImageKind::Full,
    }
}

/// Adds an entry to the catalog.
pub(crate) fn add(catalog: &Catalog, wanted: DesiredImage, state: ImageState) -> EntryId {
    let id = catalog.add(wanted);
    catalog.set_state(id, state);
    id
}

/// A catalog in which 4.18 for x86_64 can be served.
pub(crate) fn catalog() -> Arc<Catalog> {
    let catalog = Arc::new(Catalog::default());
    add(&catalog, wanted("4.18", Arch::X86_64), ImageState::Ready(X86_64.lease.clone()));
    catalog
}

/// What a test may want otherwise of a service and its listener.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) tls: Option<Tls>,
    pub(crate) patience: Patience,
    /// How much the system keeps for a client that takes nothing, in bytes.
    pub(crate) send_buffer: Option<u32>,
}

/// A running service.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) server: Arc<ImageServer>,
    is_tls: bool,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) upstream: FakeAssistedService,
    pub(crate) client: Client,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Site {
    /// Serves 4.18 for x86_64 with a fake assisted-service behind.
    pub(crate) async fn start() -> Self {
        Self::with_catalog(catalog()).await
    }

    /// The same with something otherwise.
    pub(crate) async fn with(setup: Setup) -> Self {
        Self::with_catalog_and(catalog(), setup).await
    }

    /// Serves something else with a fake assisted-service behind.
    pub(crate) async fn with_catalog(catalog: Arc<Catalog>) -> Self {
        Self::with_catalog_and(catalog, Setup::default()).await
    }

    pub(crate) async fn with_catalog_and(catalog: Arc<Catalog>, setup: Setup) -> Self {
        let upstream = FakeAssistedService::start().await;
        let source = assisted_service(upstream.url(), Duration::from_secs(20));
        Self::run(catalog, upstream, source, Instant::now(), setup)
    }

    /// Serves something else under `base_url`, with a fake assisted-service behind.
    pub(crate) async fn with_base_url(base_url: &str, catalog: Arc<Catalog>) -> Self {
        let policy = Policy { base_url: Some(base_url.parse().unwrap()), ..Policy::default() };
        Self::with_catalog_and(catalog, Setup { policy, ..Setup::default() }).await
    }

    /// Serves 4.18 for x86_64 with other infra-envs.
    pub(crate) async fn with_infra_envs(source: Arc<dyn InfraEnvSource>) -> Self {
        let upstream = FakeAssistedService::start().await;
        Self::run(catalog(), upstream, source, Instant::now(), Setup::default())
    }

    /// Serves 4.18 for x86_64 with a fake assisted-service behind whose answers are used for so long.
    pub(crate) async fn reusing(lifetime: Duration) -> Self {
        install_crypto_provider();
        let upstream = FakeAssistedService::start().await;
        let source = AssistedService::new(upstream.url(), None, Duration::from_secs(20)).unwrap();
        let source = Arc::new(Reusing::new(source, lifetime));
        Self::run(catalog(), upstream, source, Instant::now(), Setup::default())
    }

    /// Serves 4.18 for x86_64 with a fake assisted-service behind that is given little time.
    pub(crate) async fn impatient() -> Self {
        let upstream = FakeAssistedService::start().await;
        let source = assisted_service(upstream.url(), Duration::from_millis(300));
        Self::run(catalog(), upstream, source, Instant::now(), Setup::default())
    }

    /// Serves `catalog` as if the program had begun at `started`.
    pub(crate) async fn started_at(catalog: Arc<Catalog>, started: Instant) -> Self {
        let upstream = FakeAssistedService::start().await;
        let source = assisted_service(upstream.url(), Duration::from_secs(20));
        Self::run(catalog, upstream, source, started, Setup::default())
    }

    fn run(
        catalog: Arc<Catalog>,
        upstream: FakeAssistedService,
        source: Arc<dyn InfraEnvSource>,
        started: Instant,
        setup: Setup,
    ) -> Self {
        let Setup { policy, tls, patience, send_buffer } = setup;
        let server =
            ImageServer::new(Arc::clone(&catalog), source, Registry::new(), started, policy).unwrap();
        let server = Arc::new(server);
        let listener = listen(send_buffer);
        let address = listener.local_addr().unwrap();
        let (shutdown, stopped) = oneshot::channel::<()>();
        let router = server.router(Surface::Everything);
        let is_tls = tls.is_some();
        let serving = tokio::spawn(image_server::serve_with(listener, router, tls, patience, async {
            let _ = stopped.await;
        }));
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build().unwrap();
        Self { address, server, is_tls, catalog, upstream, client, shutdown: Some(shutdown), serving }
    }

    /// Asks the service to stop, and gives back what ends when it has.
    pub(crate) fn stop(mut self) -> JoinHandle<()> {
        drop(self.shutdown.take());
        self.serving
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, &[]).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.request(Method::HEAD, path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request(Method::GET, path, headers).await
    }

    pub(crate) async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.client.request(method, self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.unwrap() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.is_tls { "https" } else { "http" }, self.address)
    }

    /// How many requests to routes of this metrics label have no complete response yet.
    pub(crate) async fn in_flight(&self, handler: &str) -> u64 {
        let labels = format!(r#"{{handler="{handler}",service=""}} "#);
        let metrics = self.get("/metrics").await;
        let line = metrics.text().lines().find_map(|line| {
            line.strip_prefix("assisted_image_service_http_requests_inflight")?.strip_prefix(&*labels)
        });
        line.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until so many are in flight.
    pub(crate) async fn until_in_flight(&self, handler: &str, count: u64) {
        let mut seen = 0;
        for _ in 0..3000 {
            seen = self.in_flight(handler).await;
            if seen == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{seen} instead of {count} requests to {handler} are in flight");
    }
}

fn listen(send_buffer: Option<u32>) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = send_buffer {
        socket.set_send_buffer_size(bytes).unwrap();
    }
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(4096).unwrap()
}

/// A client of an assisted-service.
pub(crate) fn assisted_service(url: &Url, timeout: Duration) -> Arc<dyn InfraEnvSource> {
    install_crypto_provider();
    Arc::new(AssistedService::new(url, None, timeout).unwrap())
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| HeaderValue::to_str(value).unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Style E: nothing in it and no type.
    pub(crate) fn assert_empty(&self, status: u16) {
        assert_eq!(self.status, status);
        assert_eq!(self.text(), "");
        assert_eq!(self.header("content-type"), None);
    }

    /// Style P: a sentence without a newline.
    pub(crate) fn assert_plain(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, text));
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(self.header("x-content-type-options"), None);
    }

    /// Style H: a sentence with a newline.
    pub(crate) fn assert_line(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text()), (status, &*format!("{text}\n")));
        assert_eq!(self.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
    }

    /// Style NF.
    pub(crate) fn assert_not_found(&self) {
        self.assert_line(404, "404 page not found");
    }

    /// Style H for trouble of ours: the sentence, and an id under which the log says more.
    pub(crate) fn assert_trouble(&self, status: u16, text: &str) {
        let id = self.text().rsplit_once(" (request ").and_then(|(_, id)| id.strip_suffix(")\n"));
        let id = id.unwrap_or_else(|| panic!("no request id: {:?}", self.text()));
        assert!(id.len() == 36 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{id}");
        self.assert_line(status, &format!("{text} (request {id})"));
    }
}
