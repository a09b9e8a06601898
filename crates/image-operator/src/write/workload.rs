use feed_format::{FEED_NAME, PULL_SECRET, RELEASE_IMAGES};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use crate::crd::DeploymentRef;
use crate::kinds;
use crate::metrics::Metrics;
use crate::plan::{FeedPlan, Problem};

/// What Linux takes of one variable, in bytes, with its name and a zero byte (`MAX_ARG_STRLEN` of execve(2), with pages of
/// 4 KiB). A container with a longer one never starts.
const MOST_OF_A_VARIABLE: usize = 128 << 10;

/// Sets `RELEASE_IMAGES` and `PULL_SECRET` of the container that runs the image service.
///
/// A workload that another controller makes is left alone: it would be reverted at once, and each turn restarts the pods.
pub(super) async fn write(
    client: &Client,
    namespace: &str,
    reference: &DeploymentRef,
    feed: &FeedPlan,
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
    let release_images = feed.config.get(RELEASE_IMAGES).map(String::as_str).unwrap_or_default();
    if let Some(why) = unusable_variables(client, namespace, release_images, feed).await? {
        return unusable(format!("stays as it is: {why}"));
    }
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

/// Why a container with these variables would not start.
async fn unusable_variables(
    client: &Client,
    namespace: &str,
    release_images: &str,
    feed: &FeedPlan,
) -> kube::Result<Option<String>> {
    if let Some(size) = too_long("RELEASE_IMAGES", release_images.len()) {
        return Ok(Some(format!(
            "RELEASE_IMAGES would have {size} bytes, and a variable can have {MOST_OF_A_VARIABLE}; let the image service \
             watch {FEED_NAME} instead, or take fewer releases"
        )));
    }
    let size = match &feed.pull_secret {
        Some(pull_secret) => pull_secret.expose().len(),
        // There is none now. The last good one stays, if there was one.
        None => match Api::<Secret>::namespaced(client.clone(), namespace).get_opt(FEED_NAME).await? {
            Some(secret) => {
                secret.data.as_ref().and_then(|data| data.get(PULL_SECRET)).map_or(0, |text| text.0.len())
            }
            None => return Ok(Some(format!("there is no Secret {FEED_NAME} to take PULL_SECRET from"))),
        },
    };
    Ok(too_long("PULL_SECRET", size).map(|size| {
        format!(
            "PULL_SECRET would have {size} bytes, and a variable can have {MOST_OF_A_VARIABLE}; let the image service \
             watch {FEED_NAME} instead"
        )
    }))
}

/// The size of a variable, if Linux would start no program with it.
fn too_long(name: &str, value: usize) -> Option<usize> {
    let size = name.len().saturating_add("=\0".len()).saturating_add(value);
    (size > MOST_OF_A_VARIABLE).then_some(size)
}

fn has(container: &Value, variable: &Value) -> bool {
    let variables = container["env"].as_array();
    variables.is_some_and(|variables| variables.contains(variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_too_long_with_the_byte_that_the_system_refuses() {
        let fits = (128 << 10) - "RELEASE_IMAGES=".len() - 1;
        let starts = |length: usize| {
            let mut command = std::process::Command::new("true");
            command.env("RELEASE_IMAGES", "x".repeat(length)).status().is_ok_and(|status| status.success())
        };
        assert_eq!(too_long("RELEASE_IMAGES", fits), None);
        assert_eq!(too_long("RELEASE_IMAGES", fits + 1), Some((128 << 10) + 1));
        assert!(starts(fits));
        // On systems with larger pages it could be longer.
        assert!(!starts(fits + 1) || cfg!(not(target_arch = "x86_64")));
    }
}
