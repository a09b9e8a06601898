use feed_format::{FEED_NAME, PULL_SECRET};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use crate::crd::DeploymentRef;
use crate::kinds;
use crate::metrics::Metrics;
use crate::plan::Problem;

/// Sets `RELEASE_IMAGES` and `PULL_SECRET` of the container that runs the image service.
///
/// A workload that another controller makes is left alone: it would be reverted at once, and each turn restarts the pods.
pub(super) async fn write(
    client: &Client,
    namespace: &str,
    reference: &DeploymentRef,
    release_images: &str,
    metrics: &Metrics,
) -> kube::Result<Option<Problem>> {
    let resource = kinds::workload(reference.kind);
    let name = &reference.name;
    let unusable = |what: String| {
        Ok(Some(Problem::new("DeploymentUnusable", format!("{} {name} {what}", resource.kind))))
    };
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let Some(current) = api.get_opt(name).await? else {
        return unusable("does not exist".to_owned());
    };
    if let Some(owner) = current.owner_references().iter().find(|owner| owner.controller == Some(true)) {
        return unusable(format!(
            "belongs to {} {}, which would revert every change",
            owner.kind, owner.name
        ));
    }
    let none = Vec::new();
    let containers =
        current.data.pointer("/spec/template/spec/containers").and_then(Value::as_array).unwrap_or(&none);
    let container = match (&reference.container, containers.as_slice()) {
        (Some(wanted), _) => containers.iter().find(|container| container["name"] == wanted.as_str()),
        (None, [only]) => Some(only),
        (None, _) => {
            return unusable("has several containers: name one in spec.deploymentRef.container".to_owned());
        }
    };
    let Some(container) = container else {
        return unusable(format!("has no container {}", reference.container.as_deref().unwrap_or_default()));
    };
    let wanted = json!([
        { "name": "RELEASE_IMAGES", "value": release_images },
        {
            "name": "PULL_SECRET",
            "valueFrom": { "secretKeyRef": { "name": FEED_NAME, "key": PULL_SECRET } },
        },
    ]);
    if wanted.as_array().is_some_and(|wanted| wanted.iter().all(|variable| has(container, variable))) {
        return Ok(None);
    }
    let patch = Patch::Apply(json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        // With its uid: none is made where this one was deleted meanwhile.
        "metadata": { "name": name, "uid": current.uid() },
        "spec": { "template": { "spec": { "containers": [{ "name": container["name"], "env": wanted }] } } },
    }));
    match api.patch(name, &PatchParams::apply(FIELD_MANAGER), &patch).await {
        Ok(_) => {
            metrics.wrote("deployment");
            tracing::info!(deployment.kind = resource.kind, deployment.name = %name, "RELEASE_IMAGES was set");
            Ok(None)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => {
            unusable(format!("is somebody else's in part and stays as it is: {}", status.message))
        }
        Err(error) => Err(error),
    }
}

fn has(container: &Value, variable: &Value) -> bool {
    let variables = container["env"].as_array();
    variables.is_some_and(|variables| variables.contains(variable))
}
