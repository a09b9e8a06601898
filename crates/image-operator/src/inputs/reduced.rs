//! Objects of others, cut down to the fields that are read. A field that is missing or of another type is absent, never an
//! error: these kinds belong to other programs, and change without asking us.

use coreos_names::{Arch, OpenshiftVersion};
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::crd::{CoreosImageService, CoreosImageServiceSpec, CoreosImageServiceStatus};
use crate::kinds;
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
    let mut metadata = object.metadata.clone();
    metadata.managed_fields = None;
    // It changes with every status that we write, and would make each look like news.
    metadata.resource_version = None;
    Own { metadata, spec: spec.map_err(|error| error.to_string()), status }
}

/// Sets are taken by short annotations. The long ones, such as what was applied last, would be kept for nothing.
const LONGEST_ANNOTATION: usize = 512;

pub(super) fn image_set(object: &DynamicObject) -> ImageSet {
    let release_image = text(object, "/spec/releaseImage").unwrap_or_default();
    ImageSet {
        name: object.name_any(),
        release_image,
        labels: object.metadata.labels.clone().unwrap_or_default(),
        annotations: object
            .annotations()
            .iter()
            .filter(|(_, value)| value.len() <= LONGEST_ANNOTATION)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
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
