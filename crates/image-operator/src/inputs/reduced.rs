//! Objects of others, cut down to the fields that are read. A field that is missing or of another type is absent, never an
//! error: these kinds belong to other programs, and change without asking us.

use coreos_names::{Arch, OpenshiftVersion};
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::crd::{CoreosImageService, CoreosImageServiceSpec, CoreosImageServiceStatus};
use crate::kinds;
use crate::policy::Marks;
use crate::select::ImageSet;

/// An AgentClusterInstall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Install {
    /// `spec.imageSetRef.name`
    pub(crate) image_set: Option<String>,
}

/// An InfraEnv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InfraEnv {
    pub(crate) arch: Option<Arch>,
    pub(crate) os_image_version: Option<OpenshiftVersion>,
}

/// The AgentServiceConfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentServiceConfig {
    /// `spec.mirrorRegistryRef.name`
    pub(crate) mirror_registry: Option<String>,
    /// `spec.osImages`
    pub(crate) os_images: Value,
    /// `metadata.uid`
    pub(crate) uid: String,
}

/// The CoreosImageService.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Own {
    pub(crate) metadata: ObjectMeta,
    /// What is wanted, or why it is not understood.
    pub(crate) spec: Result<CoreosImageServiceSpec, String>,
    /// What was written before; absent too where another version wrote what is not understood.
    pub(crate) status: Option<CoreosImageServiceStatus>,
}

/// Our own kind is read as loosely as others: an object that a newer version wrote must not stop the watch.
pub(super) fn own_resource() -> ApiResource {
    ApiResource::erase::<CoreosImageService>(&())
}

pub(super) fn own(object: &DynamicObject) -> Own {
    let part = |name: &str| object.data.get(name).cloned();
    let spec = serde_json::from_value(part("spec").unwrap_or_else(|| json!({})));
    let status = part("status").and_then(|status| serde_json::from_value(status).ok());
    // Its resource version changes with every status that we write, and would make each look like news.
    let metadata = ObjectMeta {
        uid: object.metadata.uid.clone(),
        generation: object.metadata.generation,
        deletion_timestamp: object.metadata.deletion_timestamp.clone(),
        ..ObjectMeta::default()
    };
    Own { metadata, spec: spec.map_err(|error| error.to_string()), status }
}

/// Of labels and annotations those are kept that decide something: a hub has hundreds of sets, and tools that apply them
/// leave the whole object in an annotation.
pub(super) fn image_set(object: &DynamicObject, marks: &Marks) -> ImageSet {
    ImageSet {
        name: object.name_any(),
        release_image: text(object, "/spec/releaseImage").unwrap_or_default(),
        labels: marks.labels(object.labels()),
        annotations: marks.annotations(object.annotations()),
    }
}

pub(super) fn install(object: &DynamicObject) -> Install {
    Install { image_set: text(object, "/spec/imageSetRef/name") }
}

pub(super) fn infra_env(object: &DynamicObject) -> InfraEnv {
    // assisted-service takes x86_64 where nothing is said.
    let arch = text(object, "/spec/cpuArchitecture");
    InfraEnv {
        arch: arch.map_or(Some(Arch::X86_64), |arch| arch.parse().ok()),
        os_image_version: text(object, "/spec/osImageVersion").and_then(|version| version.parse().ok()),
    }
}

pub(super) fn agent_service_config(object: &DynamicObject) -> AgentServiceConfig {
    AgentServiceConfig {
        mirror_registry: text(object, "/spec/mirrorRegistryRef/name"),
        os_images: object.data.pointer("/spec/osImages").cloned().unwrap_or(Value::Null),
        uid: object.metadata.uid.clone().unwrap_or_default(),
    }
}

pub(super) fn digest_mirrors(object: &DynamicObject) -> Value {
    mirror_set(object, &kinds::image_digest_mirror_set())
}

pub(super) fn tag_mirrors(object: &DynamicObject) -> Value {
    mirror_set(object, &kinds::image_tag_mirror_set())
}

pub(super) fn content_sources(object: &DynamicObject) -> Value {
    mirror_set(object, &kinds::image_content_source_policy())
}

/// As it would be written in a file: without what belongs to this cluster. Items of a list need not say their kind.
fn mirror_set(object: &DynamicObject, resource: &ApiResource) -> Value {
    json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": { "name": object.meta().name },
        "spec": object.data.get("spec"),
    })
}

/// A string that is there and not blank.
fn text(object: &DynamicObject, pointer: &str) -> Option<String> {
    let text = object.data.pointer(pointer)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::PolicySpec;

    /// As it comes from a cluster, with what tools leave in it.
    fn object(kind: &str, spec: &Value) -> DynamicObject {
        let object = json!({
            "apiVersion": "hive.openshift.io/v1", "kind": kind,
            "metadata": {
                "name": "x", "namespace": "ns", "uid": "1", "resourceVersion": "2", "generation": 3,
                "labels": {"channel": "fast", "visible": "true", "releaseTag": "4.18.1", "site": "edge", "theirs": "1"},
                "annotations": {
                    "coreos-image-service.io/include": "true", "owner": "me",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}".repeat(1000),
                },
                "managedFields": [{"manager": "theirs", "operation": "Update"}],
            },
            "spec": spec,
            "status": {"conditions": [{"message": "long"}]},
        });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn of_a_set_that_is_kept_which_the_policy_reads() {
        let set = object("ClusterImageSet", &json!({"releaseImage": "r.io/a:1"}));
        let names = |spec: Value| {
            let policy: PolicySpec = serde_json::from_value(spec).unwrap();
            let ImageSet { name, release_image, labels, annotations } = image_set(&set, &Marks::of(&policy));
            assert_eq!((name.as_str(), release_image.as_str()), ("x", "r.io/a:1"));
            let names = labels.into_keys().chain(annotations.into_keys());
            names.collect::<Vec<_>>().join(" ")
        };
        let ours = "coreos-image-service.io/include";
        assert_eq!(names(json!({})), format!("channel releaseTag visible {ours}"));
        let include =
            json!({"include": {"matchLabels": {"site": "edge"}, "matchAnnotations": {"owner": "me"}}});
        assert_eq!(names(include), format!("channel releaseTag site visible {ours} owner"));
    }

    #[test]
    fn of_what_there_are_thousands_of_nothing_else_is_kept() {
        let spec =
            json!({"imageSetRef": {"name": "a"}, "cpuArchitecture": "arm64", "osImageVersion": "4.18"});
        let object = object("any", &spec);
        assert_eq!(install(&object), Install { image_set: Some("a".to_owned()) });
        let version = Some("4.18".parse().unwrap());
        assert_eq!(infra_env(&object), InfraEnv { arch: Some(Arch::Arm64), os_image_version: version });
        assert!(size_of::<InfraEnv>() <= 128, "{}", size_of::<InfraEnv>());
        let own = own(&object).metadata;
        assert_eq!((own.annotations, own.labels, own.managed_fields), (None, None, None));
        assert_eq!((own.uid.as_deref(), own.generation), (Some("1"), Some(3)));
    }
}
