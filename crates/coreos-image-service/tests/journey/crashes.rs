//! Killed at any instant of a download, the program starts again as if nothing had happened, and leaves nothing behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coreos_names::Arch;
use serde_json::Value;
use tempfile::TempDir;
use test_support::fixtures::{LiveIso, OS_BUILD};
use test_support::origin::{self, Fault, OriginServer};
use test_support::payload::{Content, ReleaseBuilder};
use test_support::registry::{FaultProxy, LineFault, TokenRegistry};

use crate::IGNITION;
use crate::service::{FULL_ISO, Service, os_image, wait};

/// What admins and the predecessor may have put there.
const UNKNOWN: [&str; 6] = [
    "notes.txt",
    "rhcos-minimal-iso-4.18-418.94.202511191518-0-x86_64.iso",
    "nmstatectl-4.18-418.94.202511191518-0-x86_64",
    ".coreos-image-service/notes.txt",
    ".coreos-image-service/v1/images/notes.txt",
    ".coreos-image-service/v1/staging/notes.txt",
];

/// A data directory.
struct Site {
    directory: TempDir,
}

impl Site {
    /// One where there are unknown files.
    fn new() -> Self {
        let site = Self { directory: TempDir::new().unwrap() };
        for name in UNKNOWN {
            let path = site.data().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        site
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn start(&self, url: &str) -> Service {
        Service::builder(self.directory.path())
            .os_images(&[os_image("4.18", Arch::X86_64, url)])
            .infra_env(IGNITION, &[])
            .start()
    }

    fn staged(&self, extension: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(self.data().join(".coreos-image-service/v1/staging")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.to_str().unwrap().ends_with(extension))
    }

    /// Waits until so many bytes have arrived in a file that is staged.
    fn wait_for_bytes(&self, extension: &str, bytes: u64) {
        let arrived = || self.staged(extension).map(|path| path.metadata().unwrap().len());
        wait(|| arrived() == Some(bytes), || format!("{:?} and not {bytes} have arrived", arrived()));
    }

    /// Every file, as paths in the data directory.
    fn files(&self) -> BTreeSet<String> {
        fn walk(root: &Path, directory: &Path, files: &mut BTreeSet<String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(root, &path, files);
                } else {
                    files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut files = BTreeSet::new();
        walk(&self.data(), &self.data(), &mut files);
        files
    }

    /// The service serves the image, and there is nothing but that image, what is known of it, and what was unknown.
    fn is_well(&self, service: &Service, content: &Content) {
        service.wait_until_ready();
        let iso = service.iso_without_ignition(FULL_ISO);
        assert_eq!(Content::from_bytes(iso).sha256(), content.sha256());

        let image = format!("rhcos-full-iso-{OS_BUILD}-x86_64.iso");
        let own = ".coreos-image-service/v1";
        let nmstate = format!("{own}/nmstate/{}-1", content.sha256());
        let mut expected: BTreeSet<_> = UNKNOWN.map(str::to_owned).into();
        expected.extend([
            format!("{own}/lock"),
            format!("{own}/images/{image}.json"),
            format!("{nmstate}.cpio.gz"),
            format!("{nmstate}.json"),
            image,
        ]);
        // What an image needs that was there before is looked for while it is served.
        let complaint = || format!("{:#?}\nis not\n{expected:#?}\n{}", self.files(), service.log());
        wait(|| self.files() == expected, complaint);
        for name in UNKNOWN {
            assert_eq!(fs::read_to_string(self.data().join(name)).unwrap(), name);
        }
    }
}

fn iso() -> Content {
    Content::from_file(LiveIso::X86_64.path()).unwrap()
}

const RELEASE: &str = "ocp/release:4.18.52-x86_64";

/// A registry with a release, and the layer that its ISO is in.
async fn registry() -> (TokenRegistry, Content) {
    let registry = TokenRegistry::builder().anonymous().start().await;
    let release = ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso()).build().unwrap();
    for component in &release.components {
        registry.publish("ocp/release", &component.tag, &component.image);
    }
    registry.publish("ocp/release", &release.tag, &release.image);
    let layers = &release.machine_os_images().image.images()[0].layers;
    let layer = &layers.iter().max_by_key(|layer| layer.content.size()).unwrap().content;
    (registry, layer.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_iso_arrives() {
    let all = iso().size();
    for bytes in [0, all / 4, all / 2, all / 4 * 3, all] {
        let origin = OriginServer::start().await;
        // Where no length is stated, a download with all its bytes is not at its end yet.
        let url = origin.publish("/live.iso", origin::File::new(iso()).chunked());
        origin.inject_once("/live.iso", Fault::StallAfter(bytes));
        let site = Site::new();
        let service = site.start(&url);
        wait(|| site.staged(".part.json").is_some(), || service.log());
        site.wait_for_bytes(".part", bytes);
        service.kill();
        assert!(site.staged(".part").is_some());
        site.is_well(&site.start(&url), &iso());
        assert_eq!(origin.requests().len(), 2, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_iso_is_published() {
    let origin = OriginServer::start().await;
    let url = origin.publish("/live.iso", origin::File::new(iso()));
    let own = ".coreos-image-service/v1";
    let image = format!("rhcos-full-iso-{OS_BUILD}-x86_64.iso");
    for file in
        [format!("{own}/images/{image}.json"), image, format!("{own}/nmstate/{}-1.cpio.gz", iso().sha256())]
    {
        let site = Site::new();
        let service = site.start(&url);
        let file = site.data().join(file);
        // What it does next is not known. It must not matter.
        wait(|| file.exists(), || service.log());
        service.kill();
        site.is_well(&site.start(&url), &iso());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_large_iso_arrives_it_goes_on_behind_what_is_on_stable_storage() {
    // What follows an ISO's volume belongs to the file all the same.
    let mut bytes = iso().bytes().unwrap().to_vec();
    bytes.extend((0..80_u32 << 18).flat_map(u32::to_le_bytes));
    let content = Content::from_bytes(bytes);
    let origin = OriginServer::start().await;
    let url = origin.publish("/live.iso", origin::File::new(content.clone()));
    origin.inject_once("/live.iso", Fault::StallAfter(90 << 20));
    let site = Site::new();
    let service = site.start(&url);
    site.wait_for_bytes(".part", 90 << 20);
    service.kill();

    let journal = fs::read(site.staged(".part.json").unwrap()).unwrap();
    let journal: Value = serde_json::from_slice(&journal).unwrap();
    let synced = journal["synced"].as_u64().unwrap();
    assert!((64 << 20..90 << 20).contains(&synced), "{journal}");
    // After a power failure there may be anything behind it.
    let part = File::options().write(true).open(site.staged(".part").unwrap()).unwrap();
    part.write_all_at(&[0; 4096], synced).unwrap();
    drop(part);

    site.is_well(&site.start(&url), &content);
    assert_eq!(origin.ranges_asked(), [None, Some(format!("bytes={synced}-"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_iso_arrives_from_a_registry() {
    let (registry, layer) = registry().await;
    let pullspec = format!("{}/{RELEASE}", registry.address());
    registry.inject_once(&layer.digest(), Fault::StallAfter(layer.size() / 2));

    let site = Site::new();
    let start = || {
        Service::builder(site.directory.path())
            .release("4.18", "4.18.52", "x86_64", &pullspec)
            .pull_secret(r#"{"auths":{}}"#)
            .infra_env(IGNITION, &[])
            .start()
    };
    let service = start();
    let has_begun = || site.staged(".iso").is_some_and(|path| path.metadata().unwrap().len() > 4 << 20);
    wait(has_begun, || service.log());
    service.kill();
    let left = site.staged(".iso").unwrap();

    let service = start();
    service.wait_until_ready();
    assert!(!left.exists());
    let iso_served = service.iso_without_ignition(FULL_ISO);
    assert_eq!(Content::from_bytes(iso_served).sha256(), iso().sha256());
    let staged = |files: BTreeSet<String>| -> Vec<_> {
        files.into_iter().filter(|file| file.contains("/staging/")).collect()
    };
    assert_eq!(staged(site.files()), [UNKNOWN[5]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_iso_is_extracted() {
    let (registry, layer) = registry().await;
    let line = FaultProxy::start(registry.address()).await;
    let directory = TempDir::new().unwrap();
    let files = || -> BTreeSet<PathBuf> {
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let extract = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        let insecure = format!("{},{}", registry.address(), line.address());
        command.env_clear().env("INSECURE_REGISTRIES", insecure).env("PULL_SECRET", r#"{"auths":{}}"#);
        command.args(["release", "extract", &format!("{address}/{RELEASE}"), "--to"]).arg(directory.path());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let stalled_among = |known: &BTreeSet<PathBuf>| {
        let arrives = || files().into_iter().find(|path| !known.contains(path));
        let has_begun =
            || arrives().and_then(|path| path.metadata().ok()).is_some_and(|file| file.len() > 4 << 20);
        wait(has_begun, || format!("{:?} is all there is", files()));
        arrives().unwrap()
    };

    registry.inject_once(&layer.digest(), Fault::StallAfter(layer.size() / 2));
    let mut killed = extract(registry.address());
    let left = stalled_among(&BTreeSet::new());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(files(), [left.clone()].into());

    line.fail_after(layer.size() / 2, LineFault::Stall);
    let slow = extract(line.address());
    let arriving = stalled_among(&[left].into());
    assert_eq!(files(), [arriving.clone()].into(), "what the killed one has left is gone");

    let image = directory.path().join(format!("rhcos-full-iso-{OS_BUILD}-x86_64.iso"));
    let fast = extract(registry.address()).wait_with_output().unwrap();
    assert!(fast.status.success(), "{}", String::from_utf8_lossy(&fast.stderr));
    assert_eq!(files(), [arriving, image.clone()].into(), "what another one is at is not");

    line.cut();
    let slow = slow.wait_with_output().unwrap();
    assert!(slow.status.success(), "{}", String::from_utf8_lossy(&slow.stderr));
    assert_eq!(files(), [image.clone()].into());
    assert_eq!(Content::from_file(image).unwrap().sha256(), iso().sha256());
}
