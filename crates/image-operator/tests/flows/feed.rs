//! What is seen becomes what is written.

use feed_format::{FEED_NAME, PULL_SECRET};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::hub::{Hub, PASSWORD, eventually};

async fn fake_and_real(flow: impl AsyncFn(Hub)) {
    flow(Hub::new(Cluster::fake().await).await).await;
    if let Some(cluster) = Cluster::real().await {
        flow(Hub::new(cluster).await).await;
    }
}

#[tokio::test]
async fn the_feed_follows_the_sets() {
    fake_and_real(async |hub| {
        hub.configure(json!({})).await;
        let operator = hub.operate("a");
        hub.lists(&[]).await;

        hub.set("s1", "r.example.com/ocp:4.18.1").await;
        hub.set("s2", "r.example.com/ocp:4.19.2-multi").await;
        hub.set("s3", "r.example.com/ocp:4.20.3").await;
        hub.install("one", "s1").await;
        hub.install("two", "s2").await;
        hub.lists(&["4.19.2", "4.18.1"]).await;
        assert_eq!(hub.payloads.reads("r.example.com/ocp:4.20.3"), 0, "nobody asked for it");

        // A set that changes, one that nobody refers to any more, one that is gone.
        hub.set("s1", "r.example.com/ocp:4.18.7").await;
        hub.lists(&["4.19.2", "4.18.7"]).await;
        hub.delete("AgentClusterInstall", "two").await;
        hub.lists(&["4.18.7"]).await;
        hub.delete("ClusterImageSet", "s1").await;
        hub.lists(&[]).await;
        hub.set("s1", "r.example.com/ocp:4.18.8").await;
        hub.lists(&["4.18.8"]).await;

        assert_eq!(hub.says("Ready", "Written").await, "1 releases are listed in coreos-image-service-feed");
        assert_eq!(hub.says("Degraded", "AsExpected").await, "");
        eventually("the status tells of the release", async || {
            let status = hub.status().await;
            status["releases"] == json!([{
                "name": "s1", "pullspec": "r.example.com/ocp:4.18.8", "version": "4.18.8", "arches": ["x86_64"],
                "osBuilds": {"x86_64": "418.94.20254.18.8"}, "state": "Listed",
                "message": "an AgentClusterInstall refers to it", "installations": ["images/one"],
            }]) && status["listed"] == 1 && status["observedGeneration"] == 1
        })
        .await;
        operator.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_pull_secret_is_passed_on_and_goes_with_its_owner() {
    fake_and_real(async |hub| {
        hub.configure(json!({})).await;
        let _operator = hub.operate("a");
        hub.lists(&[]).await;
        let secret = hub.get("Secret", FEED_NAME).await.unwrap();
        assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
        let source = hub.cluster.api("Secret", Some("openshift-config")).get("pull-secret").await.unwrap();
        assert_eq!(secret["data"], source.data["data"]);
        let own = hub.get("CoreosImageService", "coreos-image-service").await.unwrap();
        for object in [secret, hub.get("ConfigMap", FEED_NAME).await.unwrap()] {
            assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], own["metadata"]["uid"]);
            assert!(!object["metadata"].to_string().contains(PASSWORD));
        }
    })
    .await;
}

#[tokio::test]
async fn events_tell_what_was_added_removed_and_failed() {
    fake_and_real(async |hub| {
        hub.payloads.break_image("r.example.com/ocp:4.17.1");
        hub.configure(json!({})).await;
        let _operator = hub.operate("a");
        hub.set("good", "r.example.com/ocp:4.18.1").await;
        hub.set("bad", "r.example.com/ocp:4.17.1").await;
        hub.install("one", "good").await;
        hub.install("two", "bad").await;
        hub.lists(&["4.18.1"]).await;
        assert_eq!(hub.says("Degraded", "ReleasesFailed").await, "bad: the registry is away");
        hub.delete("AgentClusterInstall", "one").await;
        hub.lists(&[]).await;
        let api = hub.cluster.api("Event", Some(crate::hub::NAMESPACE));
        eventually("three events", async || {
            let events = api.list(&kube::api::ListParams::default()).await.unwrap();
            let mut told: Vec<_> = events
                .iter()
                .map(|event| {
                    let text = |name: &str| event.data[name].as_str().unwrap_or_default().to_owned();
                    (text("type"), text("reason"), event.data["related"]["name"].as_str().unwrap().to_owned())
                })
                .collect();
            told.sort();
            let expected = [
                ("Normal", "ReleaseAdded", "good"),
                ("Normal", "ReleaseRemoved", "good"),
                ("Warning", "ReleaseFailed", "bad"),
            ];
            told == expected.map(|(type_, reason, set)| (type_.to_owned(), reason.to_owned(), set.to_owned()))
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_policy_is_followed_when_it_changes() {
    fake_and_real(async |hub| {
        hub.configure(json!({})).await;
        let acm = || json!({"channel": "fast", "visible": "true"});
        hub.labelled_set("v1", "r.example.com/ocp:4.18.1-multi", acm()).await;
        hub.labelled_set("v2", "r.example.com/ocp:4.18.2-multi", acm()).await;
        hub.labelled_set("mine", "r.example.com/ocp:4.17.5", json!({})).await;
        let _operator = hub.operate("a");
        hub.lists(&[]).await;
        hub.configure(json!({"policy": {"visible": true}})).await;
        hub.lists(&["4.18.2"]).await;
        hub.configure(json!({"policy": {"visible": true, "unlabelled": true, "newestPerMinor": 2}})).await;
        hub.lists(&["4.18.2", "4.18.1", "4.17.5"]).await;
        hub.configure(json!({"policy": {"unlabelled": true, "architectures": ["arm64"]}})).await;
        hub.lists(&[]).await;
        hub.configure(
            json!({"policy": {"include": {"matchLabels": {"visible": "true"}}, "architectures": ["arm64"]}}),
        )
        .await;
        hub.lists(&["4.18.2", "4.18.1"]).await;
        let config = hub.get("ConfigMap", FEED_NAME).await.unwrap();
        let list: Value =
            serde_json::from_str(config["data"]["release-images.json"].as_str().unwrap()).unwrap();
        assert_eq!(list[0]["cpu_architectures"], json!(["arm64"]));
        assert_eq!(list[0]["url"], "r.example.com/ocp:4.18.2-multi");
        // A policy that makes no sense changes nothing.
        hub.configure(json!({"policy": {"minimumVersion": "four"}})).await;
        let message = hub.says("Degraded", "InvalidSpec").await;
        assert!(message.starts_with("spec.policy.minimumVersion: invalid OpenShift version"), "{message}");
        hub.lists(&["4.18.2", "4.18.1"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_policy_by_other_labels_and_annotations_finds_sets_that_were_there_before() {
    fake_and_real(async |hub| {
        hub.configure(json!({})).await;
        for (name, version, annotations) in
            [("s1", "4.18.1", json!({"owner": "me"})), ("s2", "4.18.2", json!({"owner": "them"}))]
        {
            hub.apply(json!({
                "apiVersion": "hive.openshift.io/v1", "kind": "ClusterImageSet",
                "metadata": {"name": name, "labels": {"channel": "fast", "site": name}, "annotations": annotations},
                "spec": {"releaseImage": format!("r.example.com/ocp:{version}")},
            }))
            .await;
        }
        let _operator = hub.operate("a");
        hub.lists(&[]).await;
        hub.configure(json!({"policy": {"include": {"matchAnnotations": {"owner": "me"}}}})).await;
        hub.lists(&["4.18.1"]).await;
        hub.configure(json!({"policy": {"include": {"matchLabels": {"site": "s2"}}}})).await;
        hub.lists(&["4.18.2"]).await;
    })
    .await;
}

#[tokio::test]
async fn an_empty_list_of_architectures_changes_nothing() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    // The schema forbids it; the fake server does not look.
    hub.configure(json!({"policy": {"architectures": []}})).await;
    let message = hub.says("Ready", "InvalidSpec").await;
    assert!(message.starts_with("spec.policy.architectures: the list is empty"), "{message}");
    assert_eq!(hub.listed().await.unwrap(), ["4.18.1"]);
}

#[tokio::test]
async fn what_others_change_is_put_right() {
    fake_and_real(async |hub| {
        hub.configure(json!({})).await;
        hub.set("s1", "r.example.com/ocp:4.18.1").await;
        hub.install("one", "s1").await;
        let _operator = hub.operate("a");
        hub.lists(&["4.18.1"]).await;
        hub.apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": FEED_NAME},
            "data": {"release-images.json": "[]", "theirs": "stays"},
        }))
        .await;
        hub.lists(&["4.18.1"]).await;
        assert_eq!(hub.get("ConfigMap", FEED_NAME).await.unwrap()["data"]["theirs"], "stays");
        hub.delete("Secret", FEED_NAME).await;
        hub.delete("ConfigMap", FEED_NAME).await;
        hub.lists(&["4.18.1"]).await;
        assert!(hub.get("Secret", FEED_NAME).await.unwrap()["data"][PULL_SECRET].is_string());
    })
    .await;
}
