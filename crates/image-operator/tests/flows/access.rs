//! What is passed on beside the list, and what is set elsewhere by the admin's leave.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use feed_format::{FEED_NAME, PULL_SECRET};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use test_support::registry::Certificate;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::cluster::Cluster;
use crate::hub::{Hub, NAMESPACE, PASSWORD, eventually};

/// Everything that this process logs, from the first test that asks on.
fn logs() -> Arc<Mutex<Vec<u8>>> {
    static LOGS: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    struct Writer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let start = || {
        let logs = Arc::<Mutex<Vec<u8>>>::default();
        let writer = Arc::clone(&logs);
        let layer = tracing_subscriber::fmt::layer().with_writer(move || Writer(Arc::clone(&writer)));
        let levels = Targets::new()
            .with_default(tracing::Level::WARN)
            .with_target("image_operator", tracing::Level::TRACE)
            .with_target("kube", tracing::Level::TRACE);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer).with(levels))
            .unwrap();
        logs
    };
    Arc::clone(LOGS.get_or_init(start))
}

async fn feed_secret(hub: &Hub) -> Option<String> {
    let secret = hub.get("Secret", FEED_NAME).await?;
    let data = serde_json::from_value::<ByteString>(secret["data"][PULL_SECRET].clone()).unwrap();
    Some(String::from_utf8(data.0).unwrap())
}

#[tokio::test]
async fn a_rotated_pull_secret_is_passed_on_and_used_at_once() {
    const ROTATED: &str = "cm90YXRlZDpzZWNyZXQ=";
    let logs = logs();
    let hub = Hub::fake().await;
    hub.payloads.need_password(ROTATED);
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let mut settings = crate::hub::settings("a");
    // Nothing but the new secret makes it try again.
    settings.read.first_retry = std::time::Duration::from_hours(1);
    settings.read.longest_retry = std::time::Duration::from_hours(1);
    let _operator = hub.operate_with(settings);
    hub.says("Degraded", "ReleasesFailed").await;
    assert!(feed_secret(&hub).await.unwrap().contains(PASSWORD));
    hub.set_pull_secret(ROTATED).await;
    hub.lists(&["4.18.1"]).await;
    assert!(feed_secret(&hub).await.unwrap().contains(ROTATED));
    hub.says("Degraded", "AsExpected").await;

    // Somebody breaks it: the last good one stays.
    for (data, expected) in [
        (
            json!({".dockerconfigjson": ByteString(format!("{{\"auths\": {PASSWORD}").into_bytes())}),
            "is not JSON",
        ),
        (json!({"other": ByteString(b"x".to_vec())}), "has no entry .dockerconfigjson"),
    ] {
        hub.cluster
            .api("Secret", Some("openshift-config"))
            .delete("pull-secret", &kube::api::DeleteParams::default())
            .await
            .unwrap();
        let message = hub.says("Degraded", "PullSecretUnusable").await;
        assert!(message.contains("openshift-config/pull-secret"), "{message}");
        let object =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull-secret"}, "data": data});
        hub.cluster.apply_within(Some("openshift-config"), object).await;
        eventually(expected, async || {
            hub.condition("Degraded").await.is_some_and(|(_, _, message)| message.contains(expected))
        })
        .await;
        assert!(feed_secret(&hub).await.unwrap().contains(ROTATED));
        hub.lists(&["4.18.1"]).await;
    }

    let logs = String::from_utf8(logs.lock().unwrap().clone()).unwrap();
    assert!(logs.contains("the feed was written"), "nothing was logged at all");
    let status = hub.status().await.to_string();
    let events = Value::from(hub.cluster.faulty().list("events")).to_string();
    let encoded = serde_json::to_value(ByteString(
        format!("{{\"auths\":{{\"r.example.com\":{{\"auth\":\"{ROTATED}\"}}}}}}").into_bytes(),
    ))
    .unwrap();
    for secret in [PASSWORD, ROTATED, "rotated:secret", "secret:password", encoded.as_str().unwrap()] {
        for (place, text) in [("logs", &logs), ("status", &status), ("events", &events)] {
            assert!(!text.contains(secret), "{secret} is in the {place}");
        }
    }
}

#[tokio::test]
async fn another_pull_secret_may_be_named() {
    let hub = Hub::new(Cluster::fake().await).await;
    hub.apply(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"},
        "data": {"config.json": ByteString(br#"{"auths":{}}"#.to_vec())},
    }))
    .await;
    hub.configure(json!({"pullSecretRef": {"name": "mine", "key": "config.json"}})).await;
    let _operator = hub.operate("a");
    eventually("it is passed on", async || feed_secret(&hub).await.as_deref() == Some(r#"{"auths":{}}"#))
        .await;
    hub.configure(json!({"pullSecretRef": {"namespace": "openshift-config", "name": "pull-secret"}})).await;
    eventually("the other one is", async || {
        feed_secret(&hub).await.is_some_and(|text| text.contains(PASSWORD))
    })
    .await;
}

#[tokio::test]
async fn mirrors_and_certificates_are_passed_on() {
    let [one, two] = [(); 2].map(|()| Certificate::generate().ca_pem.replace("\r\n", "\n"));
    let hub = Hub::fake().await;
    let _operator = hub.operate("a");
    hub.lists(&[]).await;
    hub.apply(json!({
        "apiVersion": "config.openshift.io/v1", "kind": "ImageDigestMirrorSet", "metadata": {"name": "mirrors"},
        "spec": {"imageDigestMirrors": [{"source": "quay.io/ocp", "mirrors": ["mirror.example.com/ocp"]}]},
    }))
    .await;
    hub.apply(json!({
        "apiVersion": "operator.openshift.io/v1alpha1", "kind": "ImageContentSourcePolicy", "metadata": {"name": "old"},
        "spec": {"repositoryDigestMirrors": []},
    }))
    .await;
    hub.apply(json!({
        "apiVersion": "agent-install.openshift.io/v1beta1", "kind": "AgentServiceConfig", "metadata": {"name": "agent"},
        "spec": {"mirrorRegistryRef": {"name": "mirror-config"}},
    }))
    .await;
    hub.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mirror-config"},
        "data": {"registries.conf": "unqualified-search-registries = []\n", "ca-bundle.crt": one},
    }))
    .await;
    hub.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "assisted-trusted-ca-bundle"},
        "data": {"ca-bundle.crt": format!("{one}{two}")},
    }))
    .await;
    let data = async || {
        hub.get("ConfigMap", FEED_NAME).await.map(|config| config["data"].clone()).unwrap_or_default()
    };
    eventually("all is passed on", async || {
        let data = data().await;
        let mirrors = data["mirrors.yaml"].as_str().unwrap_or_default();
        data["registries.conf"] == "unqualified-search-registries = []\n"
            && data["ca.crt"] == format!("{one}{two}")
            && mirrors.contains("apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata:\n  name: mirrors\n")
            && mirrors.contains("---\napiVersion: operator.openshift.io/v1alpha1\nkind: ImageContentSourcePolicy\n")
            && !mirrors.contains("uid")
    })
    .await;
    // What the image service could not read is left out, and nothing else is.
    hub.apply(json!({
        "apiVersion": "config.openshift.io/v1", "kind": "ImageDigestMirrorSet", "metadata": {"name": "bad"},
        "spec": {"imageDigestMirrors": [{"source": 7, "mirrors": []}]},
    }))
    .await;
    hub.apply(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mirror-config"},
        "data": {"registries.conf": "[[registry", "ca-bundle.crt": format!("{one}-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n")},
    }))
    .await;
    eventually("what is wrong is said", async || {
        let data = data().await;
        let message = hub.condition("Degraded").await.map(|(_, _, message)| message).unwrap_or_default();
        let said =
            ["ImageDigestMirrorSet bad is left out", "mirrorRegistryRef is left out", "a certificate in"];
        said.iter().all(|said| message.contains(said))
            && data.get("registries.conf").is_none()
            && data["ca.crt"] == format!("{one}{two}")
            && data["mirrors.yaml"]
                .as_str()
                .is_some_and(|text| text.contains("name: mirrors") && !text.contains("name: bad"))
    })
    .await;
    hub.delete("ImageDigestMirrorSet", "bad").await;
    // What is taken away goes from the feed, too.
    hub.delete("AgentServiceConfig", "agent").await;
    hub.delete("ImageDigestMirrorSet", "mirrors").await;
    hub.delete("ImageContentSourcePolicy", "old").await;
    hub.configure(json!({"trustedCaConfigMaps": [{"name": "mirror-config"}]})).await;
    eventually("only the named bundle is left", async || {
        let data = data().await;
        data["ca.crt"] == one && data.get("registries.conf").is_none() && data.get("mirrors.yaml").is_none()
    })
    .await;
}

#[tokio::test]
async fn mirrors_that_are_too_many_together_change_nothing() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    let operator = hub.operate("a");
    let mirrors = |name: &str| {
        let mirrors: Vec<_> = (0..40).map(|number| format!("{name}-{number}.example.com/ocp")).collect();
        json!({
            "apiVersion": "config.openshift.io/v1", "kind": "ImageDigestMirrorSet", "metadata": {"name": name},
            "spec": {"imageDigestMirrors": [{"source": "quay.io/ocp", "mirrors": mirrors}]},
        })
    };
    hub.apply(mirrors("first")).await;
    hub.lists(&["4.18.1"]).await;
    eventually("the mirrors are passed on", async || {
        let config = hub.get("ConfigMap", FEED_NAME).await.unwrap();
        config["data"]["mirrors.yaml"].as_str().is_some_and(|text| text.contains("first-39"))
    })
    .await;
    let before = hub.get("ConfigMap", FEED_NAME).await.unwrap();
    hub.apply(mirrors("second")).await;
    let message = hub.says("Ready", "FeedRefused").await;
    assert!(
        message.starts_with("coreos-image-service-feed stays as it is: mirrors.yaml: quay.io/ocp")
            && message.contains("80 mirrors, but at most 64 are asked"),
        "{message}"
    );
    assert_eq!(hub.says("Degraded", "FeedRefused").await, message);
    let waits = "coreos_image_operator_reconciles_total{result=\"waiting\"}";
    let waited = operator.metric(waits).await;
    hub.set("s1", "r.example.com/ocp:4.18.2").await;
    operator.until(waits, |count| count > waited).await;
    assert_eq!(hub.get("ConfigMap", FEED_NAME).await.unwrap(), before);
    let events = hub.cluster.faulty().list("events");
    let events: Vec<_> = events.iter().filter(|event| event["reason"] == "FeedRefused").collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["type"], &events[0]["note"]), (&json!("Warning"), &json!(message)));

    hub.delete("ImageDigestMirrorSet", "first").await;
    hub.lists(&["4.18.2"]).await;
    hub.says("Ready", "Written").await;
    hub.says("Degraded", "AsExpected").await;
}

#[tokio::test]
async fn variables_that_no_container_can_have_are_not_set() {
    let hub = Hub::fake().await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "images"},
        "spec": {"template": {"spec": {"containers": [{"name": "service", "image": "x"}]}}},
    });
    hub.apply(deployment).await;
    let pull_secret = |config: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "named"},
            "data": {".dockerconfigjson": ByteString(config.as_bytes().to_vec())},
        })
    };
    let spec = |pull_secret: &str| json!({"deploymentRef": {"name": "images"}, "pullSecretRef": {"name": pull_secret}});
    hub.configure(spec("missing")).await;
    let _operator = hub.operate("a");
    let says = async |text: &str| {
        eventually(text, async || {
            hub.condition("Degraded").await.is_some_and(|(_, _, message)| message.contains(text))
        })
        .await;
    };
    says("stays as it is: there is no Secret coreos-image-service-feed to take PULL_SECRET from").await;
    let long = format!("{{\"auths\":{{}}{}}}", " ".repeat(128 << 10));
    hub.apply(pull_secret(&long)).await;
    hub.configure(spec("named")).await;
    says("stays as it is: PULL_SECRET would have 131097 bytes, and a variable can have 131072").await;
    let variables = async || {
        let deployment = hub.get("Deployment", "images").await.unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["env"].clone()
    };
    assert_eq!(variables().await, Value::Null);
    hub.apply(pull_secret("{\"auths\":{}}")).await;
    eventually("the variables are set", async || variables().await.is_array()).await;
    hub.says("Degraded", "AsExpected").await;
}

#[tokio::test]
async fn os_images_are_filled_where_they_are_nobodys() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1-multi").await;
    hub.install("one", "s1").await;
    let agent = |os_images: Value| {
        let mut spec = json!({"databaseStorage": {}});
        if !os_images.is_null() {
            spec["osImages"] = os_images;
        }
        json!({"apiVersion": "agent-install.openshift.io/v1beta1", "kind": "AgentServiceConfig", "metadata": {"name": "agent"}, "spec": spec})
    };
    hub.configure(json!({"fillOsImages": true, "policy": {"architectures": ["arm64"]}})).await;
    let _operator = hub.operate("a");
    hub.lists(&["4.18.1"]).await;
    hub.says("Degraded", "AgentServiceConfigMissing").await;
    assert!(hub.get("AgentServiceConfig", "agent").await.is_none(), "it is not ours to make");

    // An admin's own list stays.
    let theirs = json!([{"openshiftVersion": "4.16", "version": "416.1", "url": "http://x/y.iso", "cpuArchitecture": "x86_64"}]);
    hub.apply(agent(theirs.clone())).await;
    let message = hub.says("Degraded", "OsImagesConflict").await;
    assert!(message.contains(".spec.osImages") && message.contains("admin"), "{message}");
    assert_eq!(hub.get("AgentServiceConfig", "agent").await.unwrap()["spec"]["osImages"], theirs);

    hub.apply(agent(Value::Null)).await;
    let ours = json!([{
        "openshiftVersion": "4.18.1", "version": "418.94.20254.18.1", "cpuArchitecture": "arm64",
        "url": "release-image://r.example.com/ocp:4.18.1-multi",
    }]);
    eventually("it is filled", async || {
        hub.get("AgentServiceConfig", "agent").await.unwrap()["spec"]["osImages"] == ours
    })
    .await;
    hub.says("Degraded", "AsExpected").await;
    // An empty list would mean dozens of images to its owner.
    hub.delete("AgentClusterInstall", "one").await;
    hub.says("Degraded", "OsImagesEmpty").await;
    assert_eq!(hub.get("AgentServiceConfig", "agent").await.unwrap()["spec"]["osImages"], ours);
}

#[tokio::test]
async fn the_variables_of_a_deployment_are_set() {
    let hub = Hub::fake().await;
    hub.set("s1", "r.example.com/ocp:4.18.1").await;
    hub.install("one", "s1").await;
    hub.configure(json!({"deploymentRef": {"name": "images"}})).await;
    let _operator = hub.operate("a");
    assert_eq!(hub.says("Degraded", "DeploymentUnusable").await, "Deployment images does not exist");
    let workload = |kind: &str, containers: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "images"},
            "spec": {"selector": {"matchLabels": {"app": "images"}}, "template": {"metadata": {"labels": {"app": "images"}}, "spec": {"containers": containers}}},
        })
    };
    let service = json!({"name": "service", "image": "x", "env": [{"name": "DATA_DIR", "value": "/data"}]});
    hub.apply(workload("Deployment", json!([service, {"name": "proxy", "image": "y"}]))).await;
    eventually("the container is asked for", async || {
        hub.condition("Degraded")
            .await
            .is_some_and(|(_, _, message)| message.contains("has several containers"))
    })
    .await;
    hub.configure(json!({"deploymentRef": {"name": "images", "container": "service"}})).await;
    eventually("the variables are set", async || {
        let deployment = hub.get("Deployment", "images").await.unwrap();
        let containers = &deployment["spec"]["template"]["spec"]["containers"];
        let env = containers[0]["env"].as_array().unwrap();
        let list = env.iter().find(|variable| variable["name"] == "RELEASE_IMAGES").map(|variable| &variable["value"]);
        let secret = json!({"name": "PULL_SECRET", "valueFrom": {"secretKeyRef": {"name": FEED_NAME, "key": PULL_SECRET}}});
        list.is_some_and(|list| list.as_str().unwrap().contains("4.18.1")) && env.contains(&secret) && env.len() == 3
            && containers[1].get("env").is_none()
    })
    .await;
    hub.says("Degraded", "AsExpected").await;

    // The StatefulSet of assisted-service's operator would be reverted.
    let mut foreign = workload("StatefulSet", json!([service]));
    foreign["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "agent-install.openshift.io/v1beta1", "kind": "AgentServiceConfig", "name": "agent", "uid": "1", "controller": true,
    }]);
    hub.apply(foreign).await;
    hub.configure(json!({"deploymentRef": {"kind": "StatefulSet", "name": "images"}})).await;
    let message = hub.says("Degraded", "DeploymentUnusable").await;
    assert_eq!(
        message,
        "StatefulSet images belongs to AgentServiceConfig agent, which would revert every change"
    );
    let api = hub.cluster.api("StatefulSet", Some(NAMESPACE));
    assert_eq!(
        api.get("images").await.unwrap().data["spec"]["template"]["spec"]["containers"],
        json!([service])
    );
}
