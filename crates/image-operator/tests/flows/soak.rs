//! A large hub on which much changes: no update is lost, and memory does not grow.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use coreos_names::Arch;
use feed_format::FEED_NAME;
use image_operator::Operator;
use image_operator::payloads::Payloads;
use image_operator::policy::Policy;
use image_operator::select::{ImageSet, Known, Observed, select};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::hub::{Hub, NAMESPACE, eventually, settings};
use crate::payloads::TagPayloads;

const SETS: u64 = 500;
const CHANGES: u64 = 1000;
/// After so many changes everything has to be as it should, and memory is looked at.
const SAMPLE_AFTER: u64 = 100;
/// Tells the operator's process where the API server is.
const KUBERNETES: &str = "SOAK_KUBERNETES";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_hub_loses_no_update_and_takes_no_more_memory() {
    let hub = Hub::fake().await;
    hub.configure(
        json!({"policy": {"visible": true, "unlabelled": true, "newestPerMinor": 2, "maxReleases": 30}}),
    )
    .await;
    let mut random = Random(0x5eed);
    for number in 0..SETS {
        hub.cluster.faulty().put(set(number, &mut random));
    }
    let operator = Process::start(hub.cluster.faulty().url().as_str());
    converges(&hub).await;

    let mut samples = Vec::new();
    for change in 1..=CHANGES {
        apply(&hub, &mut random);
        // A hub changes while the operator works, not all at once.
        if change % 20 == 0 {
            hub.cluster.faulty().take_calls();
            eventually("the operator has looked", async || {
                let calls = hub.cluster.faulty().take_calls();
                calls
                    .iter()
                    .any(|call| call.method == "GET" && call.path.ends_with(&format!("/secrets/{FEED_NAME}")))
            })
            .await;
        }
        if change % SAMPLE_AFTER == 0 {
            bring_back(&hub, &mut random);
            converges(&hub).await;
            samples.push(operator.resident());
        }
    }
    let shown: Vec<_> = samples.iter().map(|bytes| (bytes >> 10).to_string()).collect();
    println!(
        "{SETS} sets, {CHANGES} changes; resident after each {SAMPLE_AFTER}, in KiB: {}",
        shown.join(", ")
    );
    let (early, last) = (samples[samples.len() / 3], samples[samples.len() - 1]);
    assert!(last <= early + early / 4 + (8 << 20), "it grows: {shown:?} KiB");
}

/// An operator in a process of its own, by whose memory nothing but its own is measured.
struct Process(Child);

impl Process {
    fn start(kubernetes: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "soak::the_operator_of_the_test_above", "--ignored", "--nocapture"]);
        command.env(KUBERNETES, kubernetes).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// How much memory it has, in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above, in a process of its own"]
async fn the_operator_of_the_test_above() {
    let Ok(kubernetes) = std::env::var(KUBERNETES) else { return };
    test_support::install_crypto_provider();
    let client = Client::try_from(Config::new(kubernetes.parse().unwrap())).unwrap();
    let mut settings = settings("a");
    settings.settle = Duration::from_millis(50);
    let payloads = Arc::new(TagPayloads::default());
    let operator = Operator::new(client, settings, payloads, prometheus::Registry::new()).unwrap();
    // It ends with the process that has begun it.
    let orphaned = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    operator.run(async { drop(orphaned.await) }).await;
}

fn set(number: u64, random: &mut Random) -> Value {
    let labels = match random.below(4) {
        0 => json!({"channel": "fast", "visible": "true"}),
        1 => json!({}),
        2 => json!({"channel": "fast", "coreos-image-service.io/include": "true"}),
        _ => json!({"channel": "fast", "visible": "false"}),
    };
    let (minor, patch) = (10 + random.below(12), random.below(60));
    let suffix = if random.below(2) == 0 { "-multi" } else { "" };
    json!({
        "apiVersion": "hive.openshift.io/v1", "kind": "ClusterImageSet",
        "metadata": {"name": format!("set-{number:03}"), "labels": labels},
        "spec": {"releaseImage": format!("r{number}.example.com/ocp:4.{minor}.{patch}{suffix}")},
    })
}

fn apply(hub: &Hub, random: &mut Random) {
    let fake = hub.cluster.faulty();
    let number = random.below(SETS);
    let install = format!("install-{}", random.below(40));
    match random.below(10) {
        0..6 => drop(fake.put(set(number, random))),
        6 => drop(fake.delete("clusterimagesets", "", &format!("set-{number:03}"))),
        7 | 8 => drop(fake.put(json!({
            "apiVersion": "extensions.hive.openshift.io/v1beta1", "kind": "AgentClusterInstall",
            "metadata": {"name": install, "namespace": NAMESPACE},
            "spec": {"imageSetRef": {"name": format!("set-{number:03}")}},
        }))),
        _ => drop(fake.delete("agentclusterinstalls", NAMESPACE, &install)),
    }
}

/// Where an installation refers to a set that is gone, what was listed for it before may stay, so such sets come back.
fn bring_back(hub: &Hub, random: &mut Random) {
    let fake = hub.cluster.faulty();
    for install in fake.list("agentclusterinstalls") {
        let name = install["spec"]["imageSetRef"]["name"].as_str().unwrap();
        if fake.get("clusterimagesets", "", name).is_none() {
            fake.put(set(name.trim_start_matches("set-").parse().unwrap(), random));
        }
    }
}

/// What is written becomes what the pure function says of what there is.
async fn converges(hub: &Hub) {
    let expected = expected(hub).await;
    let mut last = None;
    eventually("the feed is as the pure function says", async || {
        last = hub.get("ConfigMap", FEED_NAME).await;
        last.as_ref().is_some_and(|config| config["data"]["release-images.json"] == expected.as_str())
    })
    .await;
}

async fn expected(hub: &Hub) -> String {
    let fake = hub.cluster.faulty();
    let labels =
        |object: &Value| serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let sets: Vec<_> = fake
        .list("clusterimagesets")
        .iter()
        .map(|object| ImageSet {
            name: text(&object["metadata"]["name"]),
            release_image: text(&object["spec"]["releaseImage"]),
            labels: labels(object),
            ..ImageSet::default()
        })
        .collect();
    let reader = hub.payloads.reader(&feed_format::Access::default()).unwrap();
    let mut observed = Observed {
        installs: fake
            .list("agentclusterinstalls")
            .iter()
            .map(|install| {
                (text(&install["metadata"]["name"]), text(&install["spec"]["imageSetRef"]["name"]))
            })
            .collect(),
        arches: BTreeSet::from([std::env::consts::ARCH.parse().unwrap_or(Arch::X86_64)]),
        policy: Policy {
            visible: true,
            unlabelled: true,
            newest_per_minor: 2,
            max_releases: Some(30),
            ..Policy::default()
        },
        ..Observed::default()
    };
    for set in &sets {
        let pullspec = set.release_image.parse().unwrap();
        let facts = reader.read(&pullspec).await.ok();
        observed.known.insert(pullspec, Known { facts, failure: None });
    }
    observed.sets = sets;
    let releases = select(&observed).releases;
    assert!(releases.len() > 20, "the test decides something");
    release_payload::release_images::to_json(&releases)
}

/// The same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
