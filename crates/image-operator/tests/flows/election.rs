//! Two replicas, one of which leads.

use std::time::Duration;

use serde_json::{Value, json};
use test_support::kubernetes::{Matching, Trouble};

use crate::cluster::Cluster;
use crate::hub::{Hub, NAMESPACE, eventually, settings};

const LEASE: &str = "coreos-image-service-operator";

fn lease_path() -> String {
    format!("/{NAMESPACE}/leases/{LEASE}")
}

async fn holder(hub: &Hub) -> Option<String> {
    hub.get("Lease", LEASE).await?["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Another process takes the lease for so long, as if it had won.
fn steal(hub: &Hub, holder: &str, seconds: i64) {
    let mut lease = hub.cluster.faulty().get("leases", NAMESPACE, LEASE).unwrap();
    lease["spec"]["holderIdentity"] = json!(holder);
    lease["spec"]["leaseDurationSeconds"] = json!(seconds);
    hub.cluster.faulty().put(lease);
}

#[tokio::test]
async fn a_leader_that_stops_gives_the_lease_away() {
    let flow = async |hub: Hub| {
        hub.configure(json!({})).await;
        let with_long_lease = |identity| {
            let mut settings = settings(identity);
            settings.election.duration = Duration::from_hours(1);
            settings
        };
        let first = hub.operate_with(with_long_lease("a"));
        first.leads(true).await;
        let second = hub.operate_with(with_long_lease("b"));
        second.until("coreos_image_operator_api_reachable", |reached| reached > 0).await;
        second.leads(false).await;
        assert_eq!(holder(&hub).await.as_deref(), Some("a"));
        first.stop().await;
        // Were it not released, this would take an hour.
        second.leads(true).await;
        assert_eq!(holder(&hub).await.as_deref(), Some("b"));
        let lease = hub.get("Lease", LEASE).await.unwrap();
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 3600);
        assert_eq!(lease["spec"]["leaseTransitions"], 1);
        second.stop().await;
        assert_eq!(holder(&hub).await.as_deref(), Some(""));
    };
    flow(Hub::new(Cluster::fake().await).await).await;
    if let Some(cluster) = Cluster::real().await {
        flow(Hub::new(cluster).await).await;
    }
}

#[tokio::test]
async fn a_leader_that_crashes_is_followed_when_its_lease_has_run_out() {
    let hub = Hub::fake().await;
    let short = |identity| {
        let mut settings = settings(identity);
        settings.election.duration = Duration::from_secs(1);
        settings.election.renew_deadline = Duration::from_millis(700);
        settings
    };
    let first = hub.operate_with(short("a"));
    first.leads(true).await;
    drop(first);
    let second = hub.operate_with(short("b"));
    second.leads(true).await;
    assert_eq!(holder(&hub).await.as_deref(), Some("b"));
}

#[tokio::test]
async fn whoever_loses_the_lease_writes_nothing_more() {
    let hub = Hub::fake().await;
    hub.install("one", "s1").await;
    let operator = hub.operate("a");
    hub.lists(&[]).await;
    steal(&hub, "somebody else", 3600);
    operator.leads(false).await;
    hub.cluster.faulty().take_calls();
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    // It goes on asking for the lease, which is the only thing that it does.
    let mut calls = Vec::new();
    eventually("it stands by", async || {
        calls.extend(hub.cluster.faulty().take_calls());
        calls.iter().filter(|call| call.method == "GET" && call.path.ends_with(&lease_path())).count() >= 5
    })
    .await;
    let ours = |call: &&test_support::kubernetes::Call| {
        !call.path.ends_with(&lease_path()) && !call.path.ends_with("/clusterimagesets/s1")
    };
    let others: Vec<_> = calls.iter().filter(ours).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(hub.listed().await.unwrap(), Vec::<String>::new());
    // The watches have ended with the leadership.
    eventually("nothing is watched", async || hub.cluster.faulty().open_watches("clusterimagesets") == 0)
        .await;

    steal(&hub, "", 1);
    hub.lists(&["4.18.1"]).await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_gives_up_before_others_may_take_over() {
    for trouble in [Trouble::Hang, Trouble::Status(500), Trouble::Status(403)] {
        let hub = Hub::fake().await;
        let mut settings = settings("a");
        settings.election.renew_deadline = Duration::from_millis(500);
        let operator = hub.operate_with(settings);
        operator.leads(true).await;
        hub.cluster.faulty().trouble(Matching::new("PUT", &lease_path()), trouble, usize::MAX);
        operator.leads(false).await;
        let lease = hub.get("Lease", LEASE).await.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "a", "nobody took it: it gave up by itself");
        hub.cluster.faulty().heal();
        operator.leads(true).await;
    }
}

#[tokio::test]
async fn a_lost_answer_about_the_lease_is_no_lost_lease() {
    let hub = Hub::fake().await;
    let operator = hub.operate("a");
    operator.leads(true).await;
    hub.cluster.faulty().take_calls();
    hub.cluster.faulty().trouble(Matching::new("PUT", &lease_path()), Trouble::LoseAnswer, 1);
    let mut renewals = 0;
    eventually("it goes on renewing", async || {
        let calls = hub.cluster.faulty().take_calls();
        renewals +=
            calls.iter().filter(|call| call.method == "PUT" && call.path.ends_with(&lease_path())).count();
        renewals >= 6
    })
    .await;
    assert_eq!(operator.metric("coreos_image_operator_leadership_gained_total").await, 1);
}

#[tokio::test]
async fn of_many_replicas_one_leads_at_a_time() {
    let hub = Hub::fake().await;
    let mut replicas: Vec<_> = (0..5).map(|number| hub.operate(&format!("replica-{number}"))).collect();
    while !replicas.is_empty() {
        let mut leader = None;
        eventually("one leads", async || {
            let mut leaders = Vec::new();
            for (index, replica) in replicas.iter().enumerate() {
                if replica.metric("coreos_image_operator_leader").await > 0 {
                    leaders.push(index);
                }
            }
            assert!(leaders.len() <= 1, "{leaders:?} lead");
            leader = leaders.first().copied();
            leader.is_some()
        })
        .await;
        replicas.remove(leader.unwrap()).stop().await;
    }
}

/// A clock that is years off must not matter: what others write about time is never compared with ours.
#[tokio::test]
async fn the_clocks_of_others_do_not_matter() {
    let hub = Hub::fake().await;
    for (renewed, held) in [("2001-01-01T00:00:00.000000Z", true), ("2099-01-01T00:00:00.000000Z", true)] {
        let lease = |holder: &str, seconds: i64| -> Value {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": LEASE, "namespace": NAMESPACE},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": renewed, "acquireTime": renewed},
            })
        };
        let fake = hub.cluster.faulty();
        fake.put(lease("somebody else", 3600));
        fake.take_calls();
        let operator = hub.operate("a");
        let mut asked = 0;
        eventually("it asks several times", async || {
            asked += fake.take_calls().iter().filter(|call| call.path.ends_with(&lease_path())).count();
            asked >= 4
        })
        .await;
        assert_eq!(operator.metric("coreos_image_operator_leader").await == 0, held);
        // A second after it was seen to be so, whatever its own times say.
        fake.put(lease("somebody else", 1));
        operator.leads(true).await;
        operator.stop().await;
    }
}
