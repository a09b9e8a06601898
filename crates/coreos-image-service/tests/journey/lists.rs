//! The list of images changes while the program serves.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::fixtures::{LiveIso, OS_BUILD};
use test_support::origin::{Fault, File, OriginServer};
use test_support::payload::{Content, ReleaseBuilder};
use test_support::registry::DockerRegistry;

use crate::IGNITION;
use crate::releases::push;
use crate::service::{Builder, FULL_ISO, Service, os_image, wait};

const NEWER: &str = "418.94.209901010000-0";

/// A program whose list is in a directory.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("feed")).unwrap();
        Self { directory }
    }

    fn builder(&self) -> Builder {
        let feed = self.directory.path().join("feed");
        Service::builder(self.directory.path())
            .variable("FEED_DIR", feed.to_str().unwrap())
            .infra_env(IGNITION, &[])
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.directory.path().join("feed").join(name)).unwrap();
    }

    fn desire(&self, os_images: &[Value]) {
        self.write("os-images.json", &json!(os_images).to_string());
    }

    fn desire_release(&self, pullspec: &str) {
        let release = json!([{
            "openshift_version": "4.18", "version": "4.18.52", "cpu_architecture": "x86_64", "url": pullspec,
        }]);
        self.write("release-images.json", &release.to_string());
    }

    fn image(&self, os_build: &str) -> PathBuf {
        self.directory.path().join("data").join(format!("rhcos-full-iso-{os_build}-x86_64.iso"))
    }

    /// For how many seconds the image was counted as unwanted, at whatever look.
    fn unwanted_seconds(&self, os_build: &str) -> Option<u64> {
        let name = format!("rhcos-full-iso-{os_build}-x86_64.iso.json");
        let record = self.directory.path().join("data/.coreos-image-service/v1/images").join(name);
        let record: Value = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
        record["unwanted"]["seconds"].as_u64()
    }
}

fn entry(os_build: &str, url: &str) -> Value {
    let mut entry = os_image("4.18", Arch::X86_64, url);
    entry["version"] = os_build.into();
    entry
}

fn by_build(os_build: &str) -> String {
    FULL_ISO.replace("4.18", os_build)
}

fn are_ready(images: &[Value], count: usize) -> bool {
    images.len() == count && images.iter().all(|image| image["state"] == "ready")
}

fn until_status(service: &Service, path: &str, status: u16) {
    wait(
        || service.status(path) == status,
        || format!("{path} is {}:\n{}", service.status(path), service.log()),
    );
}

fn push_release(registry: &DockerRegistry) -> String {
    let iso = Content::from_file(LiveIso::X86_64.path()).unwrap();
    push(registry, &ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap())
}

fn publish(origin: &OriginServer, path: &str, iso: LiveIso) -> String {
    origin.publish(path, File::new(Content::from_file(iso.path()).unwrap()))
}

/// A download that goes on only when it is told to.
struct Download {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Download {
    fn begin(service: &Service, path: &str) -> Self {
        let url = service.url(path);
        let authority = url.strip_prefix("http://").unwrap().split_once('/').unwrap().0;
        let mut stream = TcpStream::connect(authority).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n").unwrap();
        let mut received = vec![0; 100_000];
        stream.read_exact(&mut received).unwrap();
        Self { stream, received }
    }

    /// The body.
    fn finish(mut self) -> Vec<u8> {
        self.stream.read_to_end(&mut self.received).unwrap();
        let head = self.received.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        assert!(self.received.starts_with(b"HTTP/1.1 200 "));
        self.received.split_off(head + 4)
    }
}

fn downloaded(service: &Service, directory: &Path, path: &str) -> Vec<u8> {
    let file = directory.join("downloaded");
    service.download(path, &file);
    fs::read(file).unwrap()
}

#[test]
fn a_release_that_is_added_is_served_without_a_restart_and_one_that_is_removed_by_its_build() {
    let registry = DockerRegistry::start();
    let pullspec = push_release(&registry);
    let site = Site::new();
    let service = site.builder().variable("INSECURE_REGISTRIES", registry.address()).start();
    assert_eq!((service.status("/health"), service.status(FULL_ISO)), (200, 404));
    site.write(".dockerconfigjson", &registry.pull_secret());
    site.desire_release(&pullspec);
    service.wait_until_images("the release is ready", |images| are_ready(images, 1));
    let iso = downloaded(&service, site.directory.path(), FULL_ISO);

    site.write("release-images.json", "[]");
    until_status(&service, FULL_ISO, 404);
    assert!(downloaded(&service, site.directory.path(), &by_build(OS_BUILD)) == iso);
    assert_eq!(service.status("/health"), 200);

    site.desire_release(&pullspec);
    until_status(&service, FULL_ISO, 200);
    let blobs = registry
        .requests()
        .into_iter()
        .filter(|request| request.user_agent.starts_with("coreos-image-service/") && request.bytes > 4 << 20);
    assert_eq!(blobs.count(), 1, "it was fetched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_survives_that_its_image_is_removed_which_is_collected_afterwards() {
    let origin = OriginServer::start().await;
    let url = publish(&origin, "/live.iso", LiveIso::X86_64);
    let site = Site::new();
    site.desire(&[entry(OS_BUILD, &url)]);
    let service = site.builder().variable("RETIRE_AFTER", "0s").start();
    service.wait_until_images("it is ready", |images| are_ready(images, 1));
    let iso = downloaded(&service, site.directory.path(), FULL_ISO);
    let download = Download::begin(&service, FULL_ISO);
    site.desire(&[]);
    until_status(&service, FULL_ISO, 404);
    until_status(&service, &by_build(OS_BUILD), 404);
    // It is looked at more than once, and stays as long as it is read.
    wait(|| site.unwanted_seconds(OS_BUILD).is_some_and(|seconds| seconds > 2), || service.log());
    assert!(site.image(OS_BUILD).exists());
    assert!(download.finish() == iso);
    wait(|| !site.image(OS_BUILD).exists(), || service.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_replaced_is_served_until_its_successor_is_there() {
    let origin = OriginServer::start().await;
    let old = publish(&origin, "/old.iso", LiveIso::X86_64);
    let new = publish(&origin, "/new.iso", LiveIso::Ocp4_13);
    origin.inject("/new.iso", Fault::status(503));
    let site = Site::new();
    site.desire(&[entry(OS_BUILD, &old)]);
    let service = site.builder().start();
    service.wait_until_images("it is ready", |images| are_ready(images, 1));
    let before = downloaded(&service, site.directory.path(), FULL_ISO);
    let download = Download::begin(&service, FULL_ISO);
    site.desire(&[entry(NEWER, &new)]);
    service.wait_until_images("the successor has failed", |images| {
        images.iter().any(|image| image["state"] == "failed" && image["os_build"] == NEWER)
    });
    assert!(downloaded(&service, site.directory.path(), FULL_ISO) == before);
    origin.heal();
    service.wait_until_images("the successor is ready", |images| are_ready(images, 1));
    assert!(service.iso_without_ignition(FULL_ISO) == fs::read(LiveIso::Ocp4_13.path()).unwrap());
    assert!(downloaded(&service, site.directory.path(), &by_build(OS_BUILD)) == before);
    assert!(download.finish() == before);
    assert!(service.log().contains("the image is no longer asked for under this version"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_cannot_be_read_changes_nothing_and_health_says_so() {
    let origin = OriginServer::start().await;
    let url = publish(&origin, "/live.iso", LiveIso::X86_64);
    let site = Site::new();
    site.desire(&[entry(OS_BUILD, &url)]);
    let service = site.builder().start();
    service.wait_until_images("it is ready", |images| are_ready(images, 1));
    site.write("os-images.json", r#"[{"openshift_version": "4.18","#);
    let problem = || serde_json::from_str::<Value>(&service.text("/health")).unwrap()["list_problem"].take();
    wait(|| problem().is_string(), || service.log());
    assert_eq!((service.status("/health"), service.status(FULL_ISO)), (200, 200));
    let metrics = service.text("/metrics");
    let refused = r#"coreos_image_service_list_reloads_total{result="refused"} 1"#;
    assert!(metrics.contains(refused), "{metrics}");
    site.desire(&[entry(OS_BUILD, &url), os_image("4.19", Arch::X86_64, &url)]);
    service.wait_until_images("it is followed again", |images| images.len() == 2);
    wait(|| problem().is_null(), || service.log());
}

#[test]
fn a_pull_secret_that_is_rotated_is_used_at_once() {
    let registry = DockerRegistry::start();
    let pullspec = push_release(&registry);
    for is_feed in [true, false] {
        let site = Site::new();
        let wrong = json!({"auths": {registry.address(): {"username": "puller", "password": "wrong"}}});
        site.write(".dockerconfigjson", &wrong.to_string());
        let builder = site.builder().variable("INSECURE_REGISTRIES", registry.address());
        let builder = if is_feed {
            site.desire_release(&pullspec);
            builder
        } else {
            let file = site.directory.path().join("feed/.dockerconfigjson");
            builder
                .release("4.18", "4.18.52", "x86_64", &pullspec)
                .variable("PULL_SECRET_FILE", file.to_str().unwrap())
                .variable("FEED_DIR", "")
        };
        let service = builder.start();
        service
            .wait_until_images("it is refused", |images| images.len() == 1 && images[0]["state"] == "failed");
        // Without it the next attempt would be minutes later.
        site.write(".dockerconfigjson", &registry.pull_secret());
        service.wait_until_images("it is ready", |images| are_ready(images, 1));
        assert!(!service.log().contains("wrong"), "{}", service.log());
    }
}

#[test]
fn os_images_may_name_a_release() {
    let registry = DockerRegistry::start();
    let pullspec = push_release(&registry);
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .os_images(&[os_image("4.18", Arch::X86_64, &format!("release-image://{pullspec}"))])
        .variable("INSECURE_REGISTRIES", registry.address())
        .pull_secret(&registry.pull_secret())
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_images("it is ready", |images| are_ready(images, 1));
    assert_eq!(service.images()[0]["proof"], "digest");
    assert!(service.iso_without_ignition(FULL_ISO) == fs::read(LiveIso::X86_64.path()).unwrap());
}
