//! Requests that fail half-way.

use feed_format::FEED_NAME;
use test_support::kubernetes::{Matching, Trouble};

use crate::hub::{Hub, NAMESPACE};

fn to_feed(method: &'static str, plural: &str) -> Matching {
    Matching::new(method, &format!("/{NAMESPACE}/{plural}/{FEED_NAME}"))
}

#[tokio::test]
async fn a_write_that_fails_is_said_and_tried_again() {
    let hub = Hub::fake().await;
    let fake = hub.cluster.faulty();
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    fake.trouble(to_feed("PATCH", "configmaps"), Trouble::Status(500), usize::MAX);
    let operator = hub.operate("a");
    let message = hub.says("Ready", "WriteFailed").await;
    assert_eq!(message, "cannot write the ConfigMap of the feed: this server was told to refuse (500)");
    assert!(hub.get("Secret", FEED_NAME).await.is_some(), "the pull secret goes before the list");
    assert!(hub.listed().await.is_none());
    operator.until("coreos_image_operator_reconciles_total{result=\"error\"}", |count| count >= 1).await;
    fake.heal();
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
}

#[tokio::test]
async fn an_answer_that_is_lost_does_no_harm() {
    let hub = Hub::fake().await;
    let fake = hub.cluster.faulty();
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    for plural in ["configmaps", "secrets"] {
        fake.trouble(to_feed("PATCH", plural), Trouble::LoseAnswer, 1);
    }
    fake.trouble(Matching::new("PATCH", "/coreos-image-service/status"), Trouble::LoseAnswer, 1);
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_given_up() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    hub.cluster.faulty().trouble(to_feed("PATCH", "configmaps"), Trouble::Hang, 1);
    let mut settings = crate::hub::settings("a");
    settings.longest_round = std::time::Duration::from_secs(2);
    let operator = hub.operate_with(settings);
    operator.until("coreos_image_operator_reconciles_total{result=\"error\"}", |count| count >= 1).await;
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
}

#[tokio::test]
async fn a_conflict_is_tried_again() {
    let hub = Hub::fake().await;
    let fake = hub.cluster.faulty();
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    fake.trouble(to_feed("PATCH", "configmaps"), Trouble::Status(409), 1);
    fake.trouble(Matching::new("PATCH", "/coreos-image-service/status"), Trouble::Status(409), 1);
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
}

#[tokio::test]
async fn events_that_cannot_be_written_stop_nothing() {
    let hub = Hub::fake().await;
    hub.cluster.faulty().trouble(Matching::new("POST", "/events"), Trouble::Status(403), usize::MAX);
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Ready", "Written").await;
}

#[tokio::test]
async fn one_release_that_cannot_be_read_stops_no_other() {
    let hub = Hub::fake().await;
    hub.payloads.break_image("r.example.com/ocp:4.17.1");
    hub.set("bad", "r.example.com/ocp:4.17.1").await;
    hub.set("worse", "not an image").await;
    hub.set("good", "r.example.com/ocp:4.18.1").await;
    for set in ["bad", "worse", "good"] {
        hub.install(set, set).await;
    }
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    let message = hub.says("Degraded", "ReleasesFailed").await;
    assert!(
        message.contains("bad: the registry is away") && message.contains("worse: spec.releaseImage:"),
        "{message}"
    );
    assert_eq!(hub.condition("Ready").await.unwrap().0, "True");
    hub.payloads.mend_image("r.example.com/ocp:4.17.1");
    hub.set("worse", "r.example.com/ocp:4.16.1").await;
    hub.lists(&["4.18.1", "4.17.1", "4.16.1"]).await;
    hub.says("Degraded", "AsExpected").await;
}

#[tokio::test]
async fn metrics_tell_what_is_done() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    operator.until("coreos_image_operator_releases{state=\"Listed\"}", |count| count == 1).await;
    operator.until("coreos_image_operator_last_success_timestamp_seconds", |time| time > 1_700_000_000).await;
    assert!(operator.metric("coreos_image_operator_writes_total{object=\"config_map\"}").await >= 1);
    assert_eq!(operator.get("/readyz").await, (200, "ok".to_owned()));
    assert_eq!(operator.get("/healthz").await, (200, "ok".to_owned()));

    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATOR.md")).unwrap();
    let shown = operator.get("/metrics").await.1;
    let families: Vec<_> = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    for family in &families {
        let (name, type_) = family.split_once(' ').unwrap();
        assert!(
            text.contains(&format!("| `{name}` | {type_} |")),
            "docs/OPERATOR.md has no row for {family}"
        );
    }
    let rows = text.lines().filter(|line| line.starts_with("| `coreos_image_operator_"));
    assert_eq!(rows.count(), families.len());
    hub.cluster.faulty().trouble(
        Matching::new("PUT", "/leases/coreos-image-service-operator"),
        Trouble::Status(500),
        usize::MAX,
    );
    crate::hub::eventually("it is not ready", async || operator.get("/readyz").await.0 == 503).await;
}
