//! The everyday changes of a hub, and every version of the feed that they bring.

use feed_format::{FEED_NAME, RELEASE_IMAGES};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::hub::{Hub, NAMESPACE};

/// The versions that each written feed listed, in order; forgets none.
fn feeds(hub: &Hub) -> Vec<Vec<String>> {
    let written = hub.cluster.faulty().versions("configmaps", NAMESPACE, FEED_NAME);
    let listed = |config: &Value| {
        let list: Vec<Value> =
            serde_json::from_str(config["data"][RELEASE_IMAGES].as_str().unwrap()).unwrap();
        list.iter().map(|entry| entry["version"].as_str().unwrap().to_owned()).collect()
    };
    written.iter().map(listed).collect()
}

/// Every feed from the first with a 4.18 on has one.
fn assert_never_without(hub: &Hub) {
    let feeds = feeds(hub);
    let has = |feed: &Vec<String>| feed.iter().any(|version| version.starts_with("4.18."));
    let since = feeds.iter().position(has).expect("4.18 was listed");
    assert!(feeds[since..].iter().all(has), "{feeds:?}");
}

#[tokio::test]
async fn a_set_that_gets_another_release_image_is_never_without_one() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.set("s1", "r.example.com/ocp:4.18.2").await;
    hub.lists(&["4.18.2"]).await;
    // Not even where the new one cannot be read, for as long as that lasts.
    hub.payloads.break_image("r.example.com/ocp:4.18.3");
    hub.set("s1", "r.example.com/ocp:4.18.3").await;
    let message = hub.says("Degraded", "ReleasesFailed").await;
    assert_eq!(message, "s1: the registry is away; 4.18.2 stays listed meanwhile");
    hub.lists(&["4.18.2"]).await;
    hub.payloads.mend_image("r.example.com/ocp:4.18.3");
    hub.lists(&["4.18.3"]).await;
    assert_never_without(&hub);
}

#[tokio::test]
async fn an_installation_that_moves_to_another_set_is_never_without_a_release() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.set("s2", "r.example.com/ocp:4.18.2").await;
    hub.install("one", "s1").await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.install("one", "s2").await;
    hub.lists(&["4.18.2"]).await;
    assert_never_without(&hub);
}

#[tokio::test]
async fn an_installation_that_moves_to_a_set_that_cannot_be_read_keeps_its_release() {
    let hub = Hub::fake().await;
    hub.payloads.break_image("r.example.com/ocp:4.18.2");
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.set("s2", "r.example.com/ocp:4.18.2").await;
    hub.install("one", "s1").await;
    let operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.install("one", "s2").await;
    let message = "s2: the registry is away; 4.18.1 stays listed meanwhile";
    assert_eq!(hub.says("Degraded", "ReleasesFailed").await, message);
    assert_eq!(hub.status().await["kept"][0]["installations"], json!(["images/one"]));
    operator.stop().await;

    // The next process knows it, too.
    let _operator = hub.operate("b");
    hub.payloads.break_image("r.example.com/ocp:4.17.1");
    hub.set("other", "r.example.com/ocp:4.17.1").await;
    hub.install("two", "other").await;
    crate::hub::eventually("it has looked", async || {
        let (_, _, said) = hub.condition("Degraded").await.unwrap();
        said == format!("other: the registry is away; {message}")
    })
    .await;
    hub.lists(&["4.18.1"]).await;
    hub.payloads.mend_image("r.example.com/ocp:4.18.2");
    hub.lists(&["4.18.2"]).await;
    assert_never_without(&hub);
    crate::hub::eventually("nothing is kept", async || hub.status().await.get("kept").is_none()).await;
}

#[tokio::test]
async fn an_installation_that_moves_while_no_operator_runs_keeps_its_release() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1-multi").await;
    hub.install("one", "s1").await;
    let operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
    operator.stop().await;
    // The set is yet to be mirrored; another one comes, so that the operator has something to write.
    hub.install("one", "s2").await;
    hub.set("s3", "r.example.com/ocp:4.17.1").await;
    hub.install("three", "s3").await;
    let before = hub.get("ConfigMap", FEED_NAME).await.unwrap();
    let _operator = hub.operate("b");
    hub.lists(&["4.18.1", "4.17.1"]).await;
    let after = hub.get("ConfigMap", FEED_NAME).await.unwrap();
    let first = |config: &Value| {
        let list: Vec<Value> =
            serde_json::from_str(config["data"][RELEASE_IMAGES].as_str().unwrap()).unwrap();
        list[0].clone()
    };
    assert_eq!(first(&before), first(&after), "for no more architectures than before");
    hub.set("s2", "r.example.com/ocp:4.18.2").await;
    hub.lists(&["4.18.2", "4.17.1"]).await;
    assert_never_without(&hub);
}

#[tokio::test]
async fn visible_sets_that_follow_each_other_leave_no_gap() {
    let hub = Hub::fake().await;
    let acm = |visible: &str| json!({"channel": "fast", "visible": visible});
    hub.configure(json!({"policy": {"visible": true}})).await;
    hub.labelled_set("v1", "r.example.com/ocp:4.18.1", acm("true")).await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.labelled_set("v2", "r.example.com/ocp:4.18.2", acm("true")).await;
    hub.labelled_set("v1", "r.example.com/ocp:4.18.1", acm("false")).await;
    hub.lists(&["4.18.2"]).await;
    assert_never_without(&hub);
}

#[tokio::test]
async fn a_status_that_others_clear_is_put_right() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
    clear_status(&hub).await;
    hub.says("Ready", "Written").await;
    assert_eq!(hub.status().await["releases"][0]["version"], "4.18.1");
}

#[tokio::test]
async fn os_images_are_left_alone_until_everything_is_read() {
    let hub = Hub::fake().await;
    let agent = json!({"apiVersion": "agent-install.openshift.io/v1beta1", "kind": "AgentServiceConfig", "metadata": {"name": "agent"}, "spec": {}});
    hub.apply(agent).await;
    hub.configure(json!({"fillOsImages": true})).await;
    let sets: Vec<_> = (0..12).map(|number| format!("4.18.{number}")).collect();
    for version in &sets {
        hub.set(version, &format!("r.example.com/ocp:{version}")).await;
        hub.install(version, version).await;
    }
    let mut settings = crate::hub::settings("a");
    settings.read.at_a_time = 1;
    let _operator = hub.operate_with(settings);
    let filled = async || {
        let agent = hub.get("AgentServiceConfig", "agent").await.unwrap();
        agent["spec"]["osImages"].as_array().is_some_and(|images| images.len() == 12)
    };
    crate::hub::eventually("it is filled", filled).await;
    let writes = hub.cluster.faulty().take_calls();
    let writes = writes
        .iter()
        .filter(|call| call.method == "PATCH" && call.path.ends_with("/agentserviceconfigs/agent"));
    // One of them is this test's own.
    assert_eq!(writes.count(), 2);
}

async fn clear_status(hub: &Hub) {
    let lost = json!({"status": {"listed": 0, "conditions": [], "releases": []}});
    hub.cluster
        .api("CoreosImageService", Some(NAMESPACE))
        .patch_status("coreos-image-service", &PatchParams::default(), &Patch::Merge(lost))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_status_that_is_lost_empties_nothing() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
    operator.stop().await;
    clear_status(&hub).await;
    hub.payloads.break_image("r.example.com/ocp:4.18.1");
    hub.set("s2", "r.example.com/ocp:4.19.1").await;
    hub.install("two", "s2").await;
    let _operator = hub.operate("b");
    hub.says("Degraded", "ReleasesFailed").await;
    hub.lists(&["4.19.1", "4.18.1"]).await;
    assert_never_without(&hub);
}
