//! Everything that goes wrong between a registry and the service: it recovers or says why not, and tells no secret.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::NOBODY;
use test_support::fixtures::live_iso;
use test_support::payload::{Content, Release, ReleaseBuilder};
use test_support::registry::{DockerRegistry, Fault, FaultProxy, LineFault, TokenRegistry};

use crate::IGNITION;
use crate::releases::push;
use crate::service::{FULL_ISO, Service, wait};

const USER: &str = "robot+site";
const PASSWORD: &str = "correct-horse-of-the-robot";
const REPOSITORY: &str = "mirror/ocp-release";
const MIB: u64 = 1 << 20;

/// What comes of a fault.
#[derive(Clone, Copy)]
enum End {
    Served,
    /// With these words in `/health` and in the log.
    Refused(&'static str),
}

/// Whose answers go wrong.
#[derive(Clone, Copy)]
enum Place {
    /// The registry's, asked for the release image.
    Release,
    /// The registry's, asked for the layer with the ISO. A good one is a link to the CDN.
    Link,
    /// The CDN's.
    Layer,
}

use End::{Refused, Served};
use Place::{Layer, Link, Release as Image};

/// A registry with a release, and what is to come of it.
struct Site {
    version: String,
    server: Server,
    end: End,
}

enum Server {
    /// With tokens, and a CDN at the end of links that are good for one request.
    Http {
        registry: TokenRegistry,
        path: String,
        faults: usize,
    },
    Line {
        registry: Box<DockerRegistry>,
        line: FaultProxy,
    },
}

/// Each has a build of its own, or the first ISO would be that of all.
fn release(number: usize, registry: &str) -> Release {
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    let build = format!("417.94.2025111915{number:02}-0");
    let builder = ReleaseBuilder::new(&format!("4.17.{number}"), &build).iso(Arch::X86_64, iso);
    builder.component_repository(&format!("{registry}/{REPOSITORY}")).build().unwrap()
}

/// What goes wrong at a registry. First the faults happen that happen once, then the one that lasts.
struct Case {
    knows_ranges: bool,
    place: Place,
    once: Vec<Fault>,
    lasting: Option<Fault>,
    end: End,
}

fn served<const N: usize>(place: Place, once: [Fault; N]) -> Case {
    Case { knows_ranges: true, place, once: once.into(), lasting: None, end: Served }
}

fn refused<const N: usize>(place: Place, once: [Fault; N], lasting: Fault, words: &'static str) -> Case {
    Case { lasting: Some(lasting), end: Refused(words), ..served(place, once) }
}

impl Site {
    async fn http(number: usize, Case { knows_ranges, place, once, lasting, end }: Case) -> Self {
        let builder = TokenRegistry::builder().user(USER, PASSWORD).cdn_with_expiring_links();
        let registry = if knows_ranges { builder } else { builder.no_ranges() }.start().await;
        let release = release(number, registry.address());
        registry.publish(REPOSITORY, &release.tag, &release.image);
        let component = release.machine_os_images();
        registry.publish(REPOSITORY, &component.tag, &component.image);
        let layers = component.image.images()[0].layers.iter();
        let layer = layers.max_by_key(|layer| layer.content.size()).unwrap().content.digest();
        let path = match place {
            Image => format!("/manifests/{}", release.tag),
            Link => format!("/blobs/{layer}"),
            Layer => format!("/storage/{layer}"),
        };
        let faults = once.len() + usize::from(lasting.is_some());
        for fault in once {
            registry.inject_once(&path, fault);
        }
        if let Some(fault) = lasting {
            registry.inject(&path, fault);
        }
        Self { version: release.version, server: Server::Http { registry, path, faults }, end }
    }

    async fn line(number: usize, fault: impl FnOnce(&FaultProxy), end: End) -> Self {
        let registry = Box::new(DockerRegistry::start());
        let line = FaultProxy::start(registry.address()).await;
        let release = release(number, line.address());
        push(&registry, &release);
        fault(&line);
        Self { version: release.version, server: Server::Line { registry, line }, end }
    }

    fn address(&self) -> &str {
        match &self.server {
            Server::Http { registry, .. } => registry.address(),
            Server::Line { line, .. } => line.address(),
        }
    }

    fn pullspec(&self) -> String {
        format!("{}/{REPOSITORY}:{}-x86_64", self.address(), self.version)
    }

    /// The registry's entry of the pull secret.
    fn auth(&self) -> String {
        let (user, password) = match &self.server {
            Server::Http { .. } => (USER, PASSWORD),
            Server::Line { .. } => (DockerRegistry::USER, DockerRegistry::PASSWORD),
        };
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    }

    /// All that has to stay among those who know it.
    fn secrets(&self) -> Vec<String> {
        let mut secrets = match &self.server {
            Server::Http { registry, .. } => registry.secrets(),
            Server::Line { .. } => vec![DockerRegistry::PASSWORD.to_owned()],
        };
        secrets.push(self.auth());
        secrets
    }

    fn assert_has_failed(&self) {
        match &self.server {
            Server::Http { registry, path, faults } => {
                let asked = registry.requests();
                let asked = asked.iter().filter(|request| request.path.ends_with(path)).count();
                assert!(asked >= *faults, "{}: {asked} requests", self.version);
            }
            Server::Line { line, registry } => assert!(line.faults() > 0, "{}", registry.log()),
        }
    }

    fn image<'a>(&self, images: &'a [Value]) -> &'a Value {
        images.iter().find(|image| image["release_version"] == *self.version).unwrap()
    }

    fn is_at_its_end(&self, images: &[Value]) -> bool {
        let image = self.image(images);
        match self.end {
            Served => image["state"] == "ready",
            Refused(words) => image["reason"].as_str().is_some_and(|reason| reason.contains(words)),
        }
    }
}

/// All faults, each at a registry of its own.
async fn sites() -> Vec<Site> {
    let cut = || Fault::CutAfter(9 * MIB);
    let ends = |mib| Fault::EndAfter(mib * MIB);
    let limited = |seconds: &str| Fault::Status(429, vec![("retry-after", seconds.to_owned())]);
    let elsewhere = || Fault::Redirect(format!("https://{NOBODY}/login?token=presigned"));
    let cases = [
        // Dropped, once and always. Links are good for one request, so every rest needs a new one.
        served(Layer, [cut()]),
        served(Layer, [ends(9), ends(5)]),
        Case { lasting: Some(ends(2)), ..served(Layer, []) },
        served(Image, [Fault::CutAfter(5)]),
        refused(Image, [], Fault::CutAfter(5), "cannot read the release image"),
        // No ranges: all is sent again.
        Case { knows_ranges: false, ..served(Layer, [cut()]) },
        // Too many requests.
        served(Image, [limited("1")]),
        served(Layer, [ends(9), limited("1")]),
        refused(Image, [], limited("3600"), "there are too many requests"),
        // Broken servers.
        served(Image, [Fault::status(500)]),
        served(Layer, [Fault::status(500), ends(9), Fault::status(503)]),
        refused(Image, [], Fault::status(500), "answers 500 Internal Server Error"),
        refused(Layer, [ends(9)], Fault::status(404), "broke off after 9437184 of "),
        // Wrong bytes.
        refused(Layer, [], Fault::Corrupt(20_000_000), "has the wrong content: its digest is "),
        refused(Layer, [ends(9)], Fault::Corrupt(0), "has the wrong content: its digest is "),
        refused(Image, [], Fault::Replace(b"{}"), "cannot read the release image"),
        // Wrong lengths.
        refused(Image, [], Fault::EndAfter(5), "not a manifest"),
        refused(Layer, [], Fault::Append(b"more"), " is longer than the "),
        refused(Layer, [], Fault::StatedLength(9 * MIB), " bytes for "),
        served(Layer, [ends(9), Fault::ContentRange("bytes 0-9/10")]),
        // Links that are no good.
        refused(Layer, [], Fault::status(403), "answers 403 Forbidden"),
        refused(Link, [], elsewhere(), "no answer from "),
    ];
    let mut sites = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        sites.push(Site::http(number, case).await);
    }
    let number = sites.len();
    sites.extend([
        Site::line(number, |line| line.fail_after(20 * MIB, LineFault::Cut), Served).await,
        Site::line(number + 1, |line| line.fail_after(20 * MIB, LineFault::Stall), Served).await,
        Site::line(number + 2, |line| line.fail_every(4 * MIB, LineFault::Cut), Served).await,
        Site::line(number + 3, |line| line.fail_every(100, LineFault::Cut), Refused("no answer from ")).await,
    ]);
    sites
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_it_recovers_or_says_why_and_tells_no_secret() {
    let sites = sites().await;
    let auths: Value =
        sites.iter().map(|site| (site.address().to_owned(), json!({"auth": site.auth()}))).collect();
    let pull_secret = json!({"auths": auths}).to_string();
    let release = |site: &Site| {
        let version = &site.version;
        json!({
            "openshift_version": version, "version": version, "cpu_architecture": "x86_64", "url": site.pullspec(),
        })
    };
    let releases: Vec<_> = sites.iter().map(release).collect();
    let insecure = sites.iter().flat_map(|site| match &site.server {
        Server::Http { registry, .. } => vec![registry.address(), registry.cdn_address()],
        Server::Line { line, .. } => vec![line.address()],
    });
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .variable("RELEASE_IMAGES", &json!(releases).to_string())
        .variable("INSECURE_REGISTRIES", &insecure.collect::<Vec<_>>().join(","))
        .variable("DOWNLOAD_CONCURRENCY", &sites.len().to_string())
        .variable("LOGLEVEL", "trace")
        .pull_secret(&pull_secret)
        .infra_env(IGNITION, &[])
        .start();

    // What is refused is tried again and again, so not all is at its end at the same time.
    let ended = RefCell::new(BTreeSet::new());
    let all_ended = || {
        let images = service.images();
        let now = sites.iter().filter(|site| site.is_at_its_end(&images));
        ended.borrow_mut().extend(now.map(|site| site.version.clone()));
        ended.borrow().len() == sites.len()
    };
    wait(all_ended, || {
        let missing = sites.iter().filter(|site| !ended.borrow().contains(&site.version));
        let missing: Vec<_> = missing.map(|site| site.image(&service.images()).clone()).collect();
        format!("{missing:#?} are not at their ends:\n{}", service.log())
    });

    let expected = fs::read(live_iso(Arch::X86_64)).unwrap();
    let (images, log) = (service.images(), service.log());
    for site in &sites {
        site.assert_has_failed();
        let path = FULL_ISO.replace("4.18", &site.version);
        let image = site.image(&images);
        match site.end {
            Served => {
                assert_eq!(image["proof"], "digest");
                assert!(service.iso_without_ignition(&path) == expected, "{}", site.version);
            }
            Refused(words) => {
                assert_ne!(image["state"], "ready");
                assert_eq!(service.status(&path), 503);
                let told = log.lines().any(|line| line.contains(&site.pullspec()) && line.contains(words));
                assert!(told, "{words} is not told of {}:\n{log}", site.pullspec());
            }
        }
    }
    let published = fs::read_dir(directory.path().join("data")).unwrap();
    let published = published
        .filter(|entry| entry.as_ref().unwrap().file_name().into_encoded_bytes().ends_with(b".iso"))
        .count();
    assert_eq!(published, sites.iter().filter(|site| matches!(site.end, Served)).count());

    let shown = service.shown();
    assert!(shown.contains("token received") && shown.contains("a download goes on"), "{shown}");
    let mut secrets: BTreeSet<_> = sites.iter().flat_map(Site::secrets).collect();
    secrets.extend([pull_secret.clone(), BASE64_STANDARD.encode(pull_secret), "presigned".to_owned()]);
    assert!(secrets.len() > sites.len());
    for secret in secrets {
        assert!(secret.len() > 8 && !shown.contains(&secret), "{secret} is in\n{shown}");
    }
}
