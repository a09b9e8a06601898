//! A large hub on which much changes: no update is lost, and memory does not grow.

use std::collections::BTreeSet;
use std::process::Command;

use coreos_names::Arch;
use image_operator::payloads::Payloads;
use image_operator::policy::Policy;
use image_operator::select::{ImageSet, Known, Observed, select};
use serde_json::{Value, json};

use crate::hub::{Hub, NAMESPACE, eventually, settings};

const SETS: u64 = 500;
const CHANGES: u64 = 1000;
const RECONCILES: &str = "coreos_image_operator_reconciles_total{result=\"ok\"}";
/// The allocator's own slack, and what the API server remembers.
const MOST_GROWTH: u64 = 48 << 20;

/// In a process of its own, since other tests take memory, too.
#[test]
fn a_large_hub_loses_no_update_and_takes_no_more_memory() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "soak::in_this_process", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{text}");
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above"]
async fn in_this_process() {
    let hub = Hub::fake().await;
    hub.configure(
        json!({"policy": {"visible": true, "unlabelled": true, "newestPerMinor": 2, "maxReleases": 30}}),
    )
    .await;
    let mut random = Random(0x5eed);
    for number in 0..SETS {
        hub.cluster.faulty().put(set(number, &mut random));
    }
    let mut settings = settings("a");
    settings.settle = std::time::Duration::from_millis(50);
    let operator = hub.operate_with(settings);
    converges(&hub).await;

    let mut settled = 0;
    for change in 1..=CHANGES {
        apply(&hub, &mut random);
        // A hub changes while the operator works, not all at once.
        if change % 20 == 0 {
            let before = operator.metric(RECONCILES).await;
            operator.until(RECONCILES, |now| now > before).await;
        }
        if change == CHANGES / 4 {
            converges(&hub).await;
            settled = resident();
        }
    }
    converges(&hub).await;
    let now = resident();
    let reconciles = operator.metric(RECONCILES).await;
    println!(
        "{SETS} sets, {CHANGES} changes, {reconciles} reconciles; resident {} MiB, then {} MiB",
        settled >> 20,
        now >> 20
    );
    assert!(now < settled + MOST_GROWTH, "grew from {settled} to {now} bytes");
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

/// What is written becomes what the pure function says of what there is.
async fn converges(hub: &Hub) {
    let expected = expected(hub).await;
    let mut last = None;
    eventually("the feed is as the pure function says", async || {
        last = hub.get("ConfigMap", feed_format::FEED_NAME).await;
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

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
