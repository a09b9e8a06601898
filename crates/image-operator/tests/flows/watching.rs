//! Kinds that are missing or forbidden, watches that break or lag, restarts.

use feed_format::FEED_NAME;
use serde_json::json;
use test_support::kubernetes::{Matching, Trouble};

use crate::cluster::{Cluster, FOREIGN};
use crate::hub::{Hub, NAMESPACE, eventually, settings};

#[tokio::test]
async fn nothing_is_written_until_there_are_cluster_image_sets_to_read() {
    let hub = Hub::new(Cluster::fake_without_kinds().await).await;
    let operator = hub.operate("a");
    // Not even our own kind exists.
    operator.until("coreos_image_operator_reconciles_total{result=\"waiting\"}", |count| count > 0).await;
    hub.cluster.define_own().await;
    hub.configure(json!({})).await;
    let message = hub.says("Ready", "Waiting").await;
    assert!(message.starts_with("ClusterImageSet: the cluster does not have this kind yet"), "{message}");
    assert_eq!(hub.listed().await, None);

    hub.cluster.define("ClusterImageSet").await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.lists(&[]).await;
    // A kind that refers to sets may come later still.
    hub.cluster.define("AgentClusterInstall").await;
    hub.install("one", "s1").await;
    hub.lists(&["4.18.1"]).await;
}

#[tokio::test]
async fn a_kind_that_goes_away_takes_nothing_with_it() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    for (kind, definition) in [
        ("AgentClusterInstall", "agentclusterinstalls.extensions.hive.openshift.io"),
        ("ClusterImageSet", "clusterimagesets.hive.openshift.io"),
    ] {
        hub.delete("CustomResourceDefinition", definition).await;
        eventually("it is said", async || {
            let said = format!("{kind}: the cluster has this kind no more");
            hub.condition("Degraded").await.is_some_and(|(_, _, message)| message.contains(&said))
        })
        .await;
        hub.lists(&["4.18.1"]).await;
        assert_eq!(hub.condition("Ready").await.unwrap().0, "True");
    }
    hub.cluster.define("AgentClusterInstall").await;
    hub.install("one", "s1").await;
    hub.cluster.define("ClusterImageSet").await;
    hub.set("s1", "r.example.com/ocp:4.18.2").await;
    hub.lists(&["4.18.2"]).await;
}

#[tokio::test]
async fn what_may_not_be_read_is_waited_for_and_later_taken_as_it_was() {
    let hub = Hub::fake().await;
    let fake = hub.cluster.faulty();
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    fake.trouble(Matching::new("GET", "/agentclusterinstalls"), Trouble::Status(403), usize::MAX);
    let _operator = hub.operate("a");
    let message = hub.says("Ready", "Waiting").await;
    assert!(message.contains("AgentClusterInstall: this server was told to refuse (403)"), "{message}");
    assert_eq!(hub.listed().await, None, "a list without what is in use would retire images");
    fake.heal();
    hub.lists(&["4.18.1"]).await;

    // Now the permission is taken away while the operator runs.
    fake.trouble(Matching::new("GET", "/agentclusterinstalls"), Trouble::Status(403), usize::MAX);
    fake.trouble(Matching::new("WATCH", "/agentclusterinstalls"), Trouble::Status(403), usize::MAX);
    fake.compact();
    let message = hub.says("Degraded", "SourcesUnreadable").await;
    assert!(message.starts_with("AgentClusterInstall: "), "{message}");
    hub.set("s1", "r.example.com/ocp:4.18.2").await;
    hub.lists(&["4.18.2"]).await;
    fake.heal();
    hub.says("Degraded", "AsExpected").await;
}

#[tokio::test]
async fn what_happened_before_a_410_is_seen_by_listing_again() {
    let hub = Hub::fake().await;
    let fake = hub.cluster.faulty();
    for (set, version) in [("s1", "4.18.1"), ("s2", "4.18.2"), ("s3", "4.18.3")] {
        hub.set(set, &format!("r.example.com/ocp:{version}")).await;
        hub.install(&format!("install-{set}"), set).await;
    }
    let _operator = hub.operate("a");
    hub.lists(&["4.18.3", "4.18.2", "4.18.1"]).await;
    fake.hold_watches();
    hub.delete("ClusterImageSet", "s2").await;
    hub.set("s1", "r.example.com/ocp:4.18.9").await;
    // The events are forgotten before anybody was told of them.
    fake.compact();
    fake.release_watches();
    hub.lists(&["4.18.9", "4.18.3"]).await;
}

#[tokio::test]
async fn events_that_come_late_are_all_counted() {
    let hub = Hub::fake().await;
    let fake = hub.cluster.faulty();
    hub.install("one", "s1").await;
    let _operator = hub.operate("a");
    hub.lists(&[]).await;
    fake.hold_watches();
    for patch in 0..50 {
        hub.set("s1", &format!("r.example.com/ocp:4.18.{patch}")).await;
    }
    hub.delete("ClusterImageSet", "s1").await;
    hub.set("s1", "r.example.com/ocp:4.19.0").await;
    fake.release_watches();
    hub.lists(&["4.19.0"]).await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let hub = Hub::fake().await;
    for number in 0..1203 {
        hub.cluster.faulty().put(json!({
            "apiVersion": "hive.openshift.io/v1", "kind": "ClusterImageSet",
            "metadata": {"name": format!("s{number:04}")},
            "spec": {"releaseImage": format!("r.example.com/ocp:4.18.{number}")},
        }));
    }
    hub.install("one", "s0000").await;
    hub.install("two", "s1202").await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1202", "4.18.0"]).await;
    let calls = hub.cluster.faulty().take_calls();
    let pages = calls.iter().filter(|call| call.method == "GET" && call.path.ends_with("/clusterimagesets"));
    assert_eq!(pages.count(), 3);
}

#[tokio::test]
async fn a_namespace_may_be_deleted_and_come_back() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    assert!(hub.cluster.faulty().delete("namespaces", "", NAMESPACE));
    operator.until("coreos_image_operator_reconciles_total{result=\"waiting\"}", |count| count > 0).await;
    // The lease went, too, and cannot be made again without a namespace.
    operator.leads(false).await;
    assert_eq!(operator.get("/healthz").await.0, 200);
    assert_eq!(
        hub.cluster.faulty().list("configmaps"),
        [] as [serde_json::Value; 0],
        "nothing is written where nobody asks"
    );

    hub.cluster.make_namespace(NAMESPACE).await;
    hub.configure(json!({})).await;
    hub.install("one", "s1").await;
    hub.lists(&["4.18.1"]).await;
    assert!(hub.get("Secret", FEED_NAME).await.is_some());
}

#[tokio::test]
async fn a_restart_forgets_nothing_even_while_the_registry_is_away() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.set(
        "s2",
        "r.example.com/ocp@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    )
    .await;
    hub.install("one", "s1").await;
    hub.install("two", "s2").await;
    let first = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Degraded", "ReleasesFailed").await;
    first.stop().await;
    hub.payloads.break_image("r.example.com/ocp:4.18.1");
    let before = hub.get("ConfigMap", FEED_NAME).await.unwrap();
    let events = hub.cluster.faulty().list("events").len();

    let second = hub.operate("b");
    second.until("coreos_image_operator_release_reads_total{result=\"error\"}", |count| count > 3).await;
    eventually("the failure is told", async || {
        hub.status().await.to_string().contains("what was known before is used")
    })
    .await;
    let after = hub.get("ConfigMap", FEED_NAME).await.unwrap();
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    assert_eq!(hub.cluster.faulty().list("events").len(), events, "a restart is no news");
}

#[tokio::test]
async fn nothing_is_written_without_need() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let mut settings = settings("a");
    settings.resync = std::time::Duration::from_millis(20);
    let operator = hub.operate_with(settings);
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
    let done = "coreos_image_operator_reconciles_total{result=\"ok\"}";
    let before = operator.metric(done).await;
    operator.until(done, |count| count >= before + 3).await;
    hub.cluster.faulty().take_calls();
    let before = operator.metric(done).await;
    operator.until(done, |count| count >= before + 10).await;
    let calls = hub.cluster.faulty().take_calls();
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| !["GET", "WATCH"].contains(&call.method.as_str()) && !call.path.contains("/leases/"))
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(hub.payloads.reads("r.example.com/ocp:4.18.1"), 1);
}

#[tokio::test]
async fn every_kind_is_watched_once() {
    let hub = Hub::fake().await;
    let _operator = hub.operate("a");
    hub.lists(&[]).await;
    for (_, _, _, plural, _) in FOREIGN {
        let fake = hub.cluster.faulty();
        eventually(plural, async || fake.open_watches(plural) == 1).await;
    }
}
