//! What an ISO costs that comes from a registry: no more than its layer, also where the line breaks.

use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::payload::{Content, ReleaseBuilder};
use test_support::registry::{DockerRegistry, FaultProxy, LineFault};

use crate::IGNITION;
use crate::service::{FULL_ISO, Service, wait};

/// A release image in one registry, and its components in another, at the end of a line.
struct Site {
    releases: DockerRegistry,
    components: DockerRegistry,
    line: FaultProxy,
    has_tls: bool,
    pullspec: String,
    /// The layer with the ISO: its digest and size.
    layer: (String, u64),
    directory: TempDir,
}

impl Site {
    async fn new(components: DockerRegistry, has_tls: bool) -> Self {
        let releases = DockerRegistry::start();
        let line = FaultProxy::start(components.address()).await;
        let release = ReleaseBuilder::new("4.18.52", OS_BUILD)
            .component_repository(&format!("{}/origin/components", line.address()))
            .iso(Arch::X86_64, Content::from_file(live_iso(Arch::X86_64)).unwrap())
            .build()
            .unwrap();
        let component = &release.machine_os_images().image;
        components.push("origin/components:machine-os-images", component);
        releases.push(&format!("mirror/ocp-release:{}", release.tag), &release.image);
        let layers = component.images()[0].layers.iter();
        let layer = &layers.max_by_key(|layer| layer.content.size()).unwrap().content;
        Self {
            pullspec: format!("{}/mirror/ocp-release:{}", releases.address(), release.tag),
            layer: (layer.digest(), layer.size()),
            directory: TempDir::new().unwrap(),
            releases,
            components,
            line,
            has_tls,
        }
    }

    fn start(&self) -> Service {
        let entry = |registry: &DockerRegistry| {
            let secret: Value = serde_json::from_str(&registry.pull_secret()).unwrap();
            secret["auths"][registry.address()].clone()
        };
        let secret = json!({"auths": {
            self.releases.address(): entry(&self.releases), self.line.address(): entry(&self.components),
        }});
        let builder = Service::builder(self.directory.path())
            .release("4.18", "4.18.52", "x86_64", &self.pullspec)
            .pull_secret(&secret.to_string())
            .infra_env(IGNITION, &[]);
        if !self.has_tls {
            let insecure = format!("{},{}", self.releases.address(), self.line.address());
            return builder.variable("INSECURE_REGISTRIES", &insecure).start();
        }
        let ca = self.directory.path().join("registry.pem");
        std::fs::write(&ca, self.components.ca_pem()).unwrap();
        builder.variable("REGISTRY_TRUSTED_CA_FILE", ca.to_str().unwrap()).start()
    }

    /// What may have been sent in all, heads of answers and small blobs among it.
    fn is_little_more_than_the_layer(&self, sent: u64) -> bool {
        let (_, layer) = self.layer;
        (layer..=layer + layer / 100 + (4 << 20)).contains(&sent)
    }

    /// Brings the ISO in over a line that fails once when 90 % of its layer have passed.
    fn assert_goes_on_at_the_byte(&self, fault: LineFault) {
        let (digest, size) = &self.layer;
        let cut = size / 10 * 9;
        self.line.fail_after(cut, fault);
        let service = self.start();
        service.wait_until_ready();
        assert!(service.iso_without_ignition(FULL_ISO) == std::fs::read(live_iso(Arch::X86_64)).unwrap());
        assert_eq!(self.line.faults(), 1);
        let sent = cut + self.line.passed();
        assert!(self.is_little_more_than_the_layer(sent), "{sent} bytes for a layer of {size}");

        let log = service.log();
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let broken: Vec<_> = events.filter(|event| event["msg"] == "a download broke off").collect();
        assert_eq!(broken.len(), 1, "{log}");
        assert_eq!(broken[0]["blob.digest"], **digest, "{log}");
        let rest = size - broken[0]["blob.received"].as_u64().unwrap();
        // The registry says so, too; its log may be a moment late.
        let answered = || {
            let requests = self.components.requests().into_iter();
            let partial = requests.filter(|request| request.path.ends_with(digest) && request.status == 206);
            partial.map(|request| request.bytes).collect::<Vec<_>>()
        };
        wait(|| !answered().is_empty(), || self.components.log());
        assert_eq!(answered(), [rest]);
        service.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iso_costs_no_more_than_its_layer() {
    let site = Site::new(DockerRegistry::start(), false).await;
    let service = site.start();
    service.wait_until_ready();
    assert_eq!(service.images()[0]["proof"], "digest");
    assert!(service.iso_without_ignition(FULL_ISO) == std::fs::read(live_iso(Arch::X86_64)).unwrap());
    let sent = site.line.passed();
    assert!(site.is_little_more_than_the_layer(sent), "{sent} bytes for a layer of {}", site.layer.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_off_goes_on_at_the_byte() {
    for (components, has_tls) in [(DockerRegistry::start(), false), (DockerRegistry::start_with_tls(), true)]
    {
        Site::new(components, has_tls).await.assert_goes_on_at_the_byte(LineFault::Cut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_stands_still_for_a_minute_goes_on_at_the_byte() {
    Site::new(DockerRegistry::start(), false).await.assert_goes_on_at_the_byte(LineFault::Stall);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_off_again_and_again_comes_to_its_end() {
    const STEP: u64 = 2 << 20;
    let site = Site::new(DockerRegistry::start(), false).await;
    site.line.fail_every(STEP, LineFault::Cut);
    let service = site.start();
    service.wait_until_ready();
    assert!(service.iso_without_ignition(FULL_ISO) == std::fs::read(live_iso(Arch::X86_64)).unwrap());
    let faults = site.line.faults() as u64;
    assert!(faults >= site.layer.1 / STEP);
    let sent = faults * STEP + site.line.passed();
    assert!(site.is_little_more_than_the_layer(sent), "{sent} bytes for a layer of {}", site.layer.1);
}
