//! The order of calls, request by request.

use std::collections::BTreeMap;

use feed_format::RELEASE_IMAGES;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::Value;
use tower_test::mock::{self, Handle};

use super::*;
use crate::crd::{CoreosImageServiceSpec, DeploymentRef, ReleaseState, WorkloadKind};
use crate::plan::Owner;
use crate::select::Outcome;

type ApiServer = Handle<Request<Body>, Response<Body>>;

const FEED: &str = "/namespaces/ns/configmaps/coreos-image-service-feed";
const FEED_SECRET: &str = "/namespaces/ns/secrets/coreos-image-service-feed";
const STATUS: &str = "/namespaces/ns/coreosimageservices/coreos-image-service/status";

/// One request as it is expected, and its answer.
struct Step(Method, &'static str, u16, Value);

fn found(path: &'static str, object: Value) -> Step {
    Step(Method::GET, path, 200, object)
}

fn missing(path: &'static str) -> Step {
    Step(Method::GET, path, 404, refusal(404, "NotFound"))
}

fn applied(path: &'static str, object: Value) -> Step {
    Step(Method::PATCH, path, 200, object)
}

fn refusal(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "reason": reason, "code": code})
}

fn config(list: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": FEED_NAME, "resourceVersion": version, "ownerReferences": [owner().reference()]},
        "data": {RELEASE_IMAGES: list},
    })
}

fn secret(version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": FEED_NAME, "resourceVersion": version, "ownerReferences": [owner().reference()]},
        "data": {PULL_SECRET: ByteString(br#"{"auths":{}}"#.to_vec())},
    })
}

fn own_object() -> Value {
    json!({"apiVersion": "coreos-image-service.io/v1alpha1", "kind": "CoreosImageService", "metadata": {"name": NAME}, "spec": {}})
}

fn owner() -> Owner {
    Owner { uid: "uid-1".to_owned(), generation: Some(1) }
}

fn plan() -> Plan {
    let feed = FeedPlan {
        config: BTreeMap::from([(RELEASE_IMAGES, "[]".to_owned())]),
        pull_secret: Some(r#"{"auths":{}}"#.into()),
    };
    Plan { owner: owner(), feed: Some(feed), outcomes: Some(Vec::new()), ..Plan::default() }
}

/// Answers exactly these requests; gives their bodies, and their queries.
async fn serve(mut server: ApiServer, steps: Vec<Step>) -> Vec<(String, Value)> {
    let mut sent = Vec::new();
    for Step(method, path, status, answer) in steps {
        let (request, respond) =
            server.next_request().await.unwrap_or_else(|| panic!("no request for {path}"));
        assert!(
            request.method() == method && request.uri().path().ends_with(path),
            "expected {method} …{path}, got {} {}",
            request.method(),
            request.uri().path()
        );
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = request.into_body().collect_bytes().await.unwrap();
        sent.push((query, serde_json::from_slice(&body).unwrap_or_default()));
        let body = Body::from(serde_json::to_vec(&answer).unwrap());
        respond.send_response(Response::builder().status(status).body(body).unwrap());
    }
    // Whatever else is asked is refused by the closed mock, and fails the write.
    sent
}

/// Writes plans one after the other against expected requests.
async fn write(plans: Vec<Plan>, steps: Vec<Step>) -> (Vec<Written>, Vec<(String, Value)>) {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    let serving = tokio::spawn(serve(server, steps));
    let client = Client::new(service, "ns");
    let mut writer = Writer::new(client, "ns", "test", Metrics::new(prometheus::Registry::new()).unwrap());
    let mut own = Own {
        metadata: kube::api::ObjectMeta::default(),
        spec: Ok(CoreosImageServiceSpec::default()),
        status: None,
    };
    let mut results = Vec::new();
    for plan in plans {
        results.push(writer.write(&own, plan).await);
        own.status.clone_from(&writer.status);
    }
    (results, serving.await.unwrap())
}

#[tokio::test]
async fn the_first_list_comes_after_its_pull_secret_and_before_the_status() {
    let steps = vec![
        missing(FEED_SECRET),
        applied(FEED_SECRET, secret("1")),
        missing(FEED),
        applied(FEED, config("[]", "2")),
        applied(STATUS, own_object()),
    ];
    let (results, sent) = write(vec![plan()], steps).await;
    assert!(results[0].failures.is_empty(), "{results:?}");
    for (query, body) in [&sent[1], &sent[3], &sent[4]] {
        assert!(
            query.contains("fieldManager=coreos-image-service-operator") && query.contains("force=true"),
            "{query}"
        );
        assert!(
            body["metadata"].get("managedFields").is_none()
                && body["metadata"].get("resourceVersion").is_none()
        );
    }
    assert_eq!(sent[1].1["type"], "kubernetes.io/dockerconfigjson");
    assert!(sent[1].1.get("stringData").is_none());
    assert_eq!(sent[3].1["data"], json!({RELEASE_IMAGES: "[]"}));
    assert_eq!(sent[4].1["status"]["conditions"][0]["reason"], "Written");
}

#[tokio::test]
async fn what_is_as_it_should_be_is_only_read() {
    let unchanged = || vec![found(FEED_SECRET, secret("1")), found(FEED, config("[]", "2"))];
    let mut steps = unchanged();
    steps.push(applied(STATUS, own_object()));
    steps.extend(unchanged());
    let (results, _) = write(vec![plan(), plan()], steps).await;
    assert!(results.iter().all(|written| written.failures.is_empty()), "{results:?}");
}

#[tokio::test]
async fn what_others_added_is_not_fought_over() {
    let mut theirs = config("[]", "7");
    theirs["data"]["registries.conf"] = json!("theirs");
    let steps = vec![
        found(FEED_SECRET, secret("1")),
        found(FEED, theirs.clone()),
        applied(FEED, theirs.clone()),
        applied(STATUS, own_object()),
        found(FEED_SECRET, secret("1")),
        // It is as it was left: applying again would change nothing.
        found(FEED, theirs),
    ];
    let (results, _) = write(vec![plan(), plan()], steps).await;
    assert!(results.iter().all(|written| written.failures.is_empty()), "{results:?}");
}

#[tokio::test]
async fn a_write_that_fails_ends_the_round_with_a_status() {
    let steps = vec![
        found(FEED_SECRET, secret("1")),
        missing(FEED),
        Step(Method::PATCH, FEED, 403, refusal(403, "Forbidden")),
        applied(STATUS, own_object()),
    ];
    let mut with_os_images = plan();
    with_os_images.os_images =
        Some(OsImagesPlan { current: Value::Null, wanted: json!([{}]), uid: "agent".to_owned() });
    let (results, sent) = write(vec![with_os_images], steps).await;
    assert_eq!(results[0].failures[0].to_string(), "cannot write the ConfigMap of the feed: no (403)");
    assert_eq!(sent[3].1["status"]["conditions"][0]["reason"], "WriteFailed");
    assert_eq!(sent[3].1["status"]["conditions"][0]["status"], "False");
}

#[tokio::test]
async fn what_fails_beside_the_feed_is_a_problem_and_the_feed_is_written() {
    let agent = "/agentserviceconfigs/agent";
    let steps = vec![
        found(FEED_SECRET, secret("1")),
        missing(FEED),
        applied(FEED, config("[]", "2")),
        Step(Method::PATCH, agent, 403, refusal(403, "Forbidden")),
        Step(Method::GET, "/namespaces/ns/deployments/images", 403, refusal(403, "Forbidden")),
        applied(STATUS, own_object()),
    ];
    let mut plan = plan();
    plan.os_images =
        Some(OsImagesPlan { current: Value::Null, wanted: json!([{}]), uid: "agent-uid".to_owned() });
    plan.deployment =
        Some(DeploymentRef { kind: WorkloadKind::Deployment, name: "images".to_owned(), container: None });
    let (results, sent) = write(vec![plan], steps).await;
    assert!(results[0].feed && results[0].failures.len() == 2, "{results:?}");
    let conditions = &sent[5].1["status"]["conditions"];
    assert_eq!((&conditions[0]["status"], &conditions[0]["reason"]), (&json!("True"), &json!("Written")));
    assert_eq!((&conditions[1]["status"], &conditions[1]["reason"]), (&json!("True"), &json!("WriteFailed")));
}

#[tokio::test]
async fn a_status_that_cannot_be_written_leaves_the_feed_written() {
    let steps = vec![
        found(FEED_SECRET, secret("1")),
        found(FEED, config("[]", "2")),
        Step(Method::PATCH, STATUS, 403, refusal(403, "Forbidden")),
    ];
    let (results, _) = write(vec![plan()], steps).await;
    assert!(results[0].feed && results[0].failures.len() == 1, "{results:?}");
}

#[tokio::test]
async fn a_conflict_over_os_images_is_said_and_never_forced() {
    let agent = "/agentserviceconfigs/agent";
    let steps = vec![
        found(FEED_SECRET, secret("1")),
        found(FEED, config("[]", "2")),
        Step(Method::PATCH, agent, 409, refusal(409, "Conflict")),
        applied(STATUS, own_object()),
    ];
    let mut plan = plan();
    plan.os_images =
        Some(OsImagesPlan { current: Value::Null, wanted: json!([{}]), uid: "agent-uid".to_owned() });
    let (results, sent) = write(vec![plan], steps).await;
    assert!(results[0].failures.is_empty(), "{results:?}");
    assert!(!sent[2].0.contains("force"), "{}", sent[2].0);
    assert_eq!(sent[2].1["metadata"]["uid"], "agent-uid", "none is made where it was deleted");
    assert_eq!(sent[3].1["status"]["conditions"][1]["reason"], "OsImagesConflict");
}

#[tokio::test]
async fn a_list_that_no_variable_can_hold_is_written_and_the_deployment_stays_as_it_is() {
    let path = "/namespaces/ns/deployments/images";
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "images", "uid": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "service", "image": "x"}]}}},
    });
    let list = "x".repeat(128 << 10);
    let steps = vec![
        found(FEED_SECRET, secret("1")),
        found(FEED, config("[]", "2")),
        applied(FEED, config(&list, "3")),
        found(path, deployment),
        applied(STATUS, own_object()),
    ];
    let mut plan = plan();
    plan.feed.as_mut().unwrap().config.insert(RELEASE_IMAGES, list);
    plan.deployment =
        Some(DeploymentRef { kind: WorkloadKind::Deployment, name: "images".to_owned(), container: None });
    let (results, sent) = write(vec![plan], steps).await;
    assert!(results[0].feed && results[0].failures.is_empty(), "{results:?}");
    let conditions = &sent[4].1["status"]["conditions"];
    assert_eq!((&conditions[0]["status"], &conditions[0]["reason"]), (&json!("True"), &json!("Written")));
    assert_eq!(conditions[1]["reason"], "DeploymentUnusable");
    assert_eq!(
        conditions[1]["message"],
        "Deployment images stays as it is: RELEASE_IMAGES would have 131088 bytes, and a variable can have 131072; \
         let the image service watch coreos-image-service-feed instead, or take fewer releases"
    );
}

#[tokio::test]
async fn a_deployment_is_written_after_the_list() {
    let path = "/namespaces/ns/deployments/images";
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "images", "uid": "d"},
        "spec": {"template": {"spec": {"containers": [{"name": "service", "image": "x"}]}}},
    });
    let steps = vec![
        found(FEED_SECRET, secret("1")),
        found(FEED, config("[]", "2")),
        found(path, deployment.clone()),
        applied(path, deployment),
        applied(STATUS, own_object()),
    ];
    let mut plan = plan();
    plan.deployment =
        Some(DeploymentRef { kind: WorkloadKind::Deployment, name: "images".to_owned(), container: None });
    let (results, sent) = write(vec![plan], steps).await;
    assert!(results[0].failures.is_empty(), "{results:?}");
    assert!(!sent[3].0.contains("force"));
    let env = &sent[3].1["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[0], json!({"name": "RELEASE_IMAGES", "value": "[]"}));
}

#[tokio::test]
async fn events_are_told_before_the_status_and_only_once() {
    let outcome = Outcome {
        name: "s1".to_owned(),
        pullspec: "r/x:1".to_owned(),
        facts: None,
        state: ReleaseState::Listed,
        message: String::new(),
    };
    let with_release = || Plan { outcomes: Some(vec![outcome.clone()]), ..plan() };
    let unchanged = || vec![found(FEED_SECRET, secret("1")), found(FEED, config("[]", "2"))];
    let mut steps = unchanged();
    steps.push(Step(
        Method::POST,
        "/apis/events.k8s.io/v1/namespaces/ns/events",
        201,
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {}, "eventTime": null}),
    ));
    steps.push(applied(STATUS, own_object()));
    steps.extend(unchanged());
    let (results, sent) = write(vec![with_release(), with_release()], steps).await;
    assert!(results.iter().all(|written| written.failures.is_empty()), "{results:?}");
    assert_eq!(sent[2].1["reason"], "ReleaseAdded");
    assert_eq!(sent[2].1["regarding"]["uid"], "uid-1");
}

#[tokio::test]
async fn while_something_is_waited_for_only_the_status_is_written() {
    let waiting =
        || Plan { owner: owner(), waiting: vec!["ClusterImageSet: no".to_owned()], ..Plan::default() };
    let (results, sent) = write(vec![waiting(), waiting()], vec![applied(STATUS, own_object())]).await;
    assert!(results.iter().all(|written| written.failures.is_empty()), "{results:?}");
    assert_eq!(sent[0].1["status"]["conditions"][0]["message"], "ClusterImageSet: no");
}
