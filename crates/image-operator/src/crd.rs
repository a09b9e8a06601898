//! `CoreosImageService`, the one kind of our own: which releases are wanted, with which pull secret, and what became of
//! them. These are the shapes on the wire; what the operator works with is made from them in [`crate::policy`].
//!
//! `deploy/crd/` holds the manifest that [`manifest`] makes; a test keeps it current.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The only name that an object of this kind may have: there is one list of images in a namespace.
pub const NAME: &str = "coreos-image-service";

/// Which OpenShift releases the image service of this namespace has live ISOs of. There is one in a namespace, named
/// `coreos-image-service`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "coreos-image-service.io",
    version = "v1alpha1",
    kind = "CoreosImageService",
    plural = "coreosimageservices",
    singular = "coreosimageservice",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    status = "CoreosImageServiceStatus",
    category = "assisted",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Releases","type":"integer","jsonPath":".status.listed"}"#,
    printcolumn = r#"{"name":"Degraded","type":"string","jsonPath":".status.conditions[?(@.type==\"Degraded\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CoreosImageServiceSpec {
    /// Which ClusterImageSets are taken.
    #[serde(default)]
    pub policy: PolicySpec,
    /// The Secret with the 'system' pull secret; without it `openshift-config/pull-secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret_ref: Option<PullSecretRef>,
    /// ConfigMaps whose certificates registries are trusted by; without it `assisted-trusted-ca-bundle` of this
    /// namespace. The bundle of AgentServiceConfig's mirrorRegistryRef is always among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub trusted_ca_config_maps: Option<Vec<ConfigMapRef>>,
    /// Keeps `osImages` of the AgentServiceConfig `agent` filled with what the releases hold, by `release-image://`
    /// URLs. assisted-service restarts whenever the list changes.
    #[serde(default)]
    pub fill_os_images: bool,
    /// A Deployment or StatefulSet of this namespace whose variables RELEASE_IMAGES and PULL_SECRET are set. Each change
    /// restarts its pods, which an image service that watches `coreos-image-service-feed` does not need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment_ref: Option<DeploymentRef>,
}

/// Which ClusterImageSets are taken, beside those that an AgentClusterInstall refers to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// The architectures that images are wanted for; without it those of the InfraEnvs and the hub's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub architectures: Option<Vec<Architecture>>,
    /// Sets that carry all of these. `coreos-image-service.io/include: "true"`, as a label or an annotation, always counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<IncludeSpec>,
    /// Takes sets with the label `visible: "true"`.
    #[serde(default)]
    pub visible: bool,
    /// Takes sets without a label `channel`, which are those that admins made.
    #[serde(default)]
    pub unlabelled: bool,
    /// How many releases of a minor version are taken of the visible and unlabelled ones, the newest first; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub newest_per_minor: Option<u32>,
    /// Older releases are not taken unless an AgentClusterInstall refers to them. Those before 4.11 never are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_version: Option<String>,
    /// How many releases are taken beside those in use, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_releases: Option<u32>,
}

/// Labels and annotations by which a set is taken. Without any, nothing is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncludeSpec {
    /// Labels with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Annotations with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_annotations: BTreeMap<String, String>,
}

/// An architecture, as assisted-service names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Architecture {
    /// AMD and Intel, 64 bits.
    #[serde(rename = "x86_64")]
    X86_64,
    /// Arm, 64 bits.
    #[serde(rename = "arm64", alias = "aarch64")]
    Arm64,
    /// IBM Power, little-endian.
    #[serde(rename = "ppc64le")]
    Ppc64le,
    /// IBM Z.
    #[serde(rename = "s390x")]
    S390x,
}

/// A Secret of type `kubernetes.io/dockerconfigjson`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecretRef {
    /// Its namespace; without it this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The key in it; without it `.dockerconfigjson`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A ConfigMap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapRef {
    /// Its namespace; without it this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// What runs the image service, in this namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentRef {
    /// Which of the two.
    #[serde(default)]
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The container; without it the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// What can run the image service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    #[default]
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
}

/// What became of the releases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoreosImageServiceStatus {
    /// The generation of the spec that all this was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many releases the image service is told of.
    #[serde(default)]
    pub listed: u32,
    /// `Ready`: the list is written. `Degraded`: something needs a person.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Every ClusterImageSet that the policy takes, by name.
    #[serde(default)]
    pub releases: Vec<ReleaseStatus>,
    /// Releases that stay listed although no set that is taken has them now, the newest first: for a set whose new release
    /// image cannot be read, or an installation that moved to a set which cannot be listed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptRelease>,
}

/// What became of one ClusterImageSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// The ClusterImageSet.
    pub name: String,
    /// Its release image.
    pub pullspec: String,
    /// The release's version, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The architectures that the release is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// The operating system's build of each architecture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub os_builds: BTreeMap<String, String>,
    /// What became of it.
    pub state: ReleaseState,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The AgentClusterInstalls that it is listed for, each as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installations: Vec<String>,
}

/// A release that stays listed for the time being.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeptRelease {
    /// The release image.
    pub pullspec: String,
    /// The release's version.
    pub version: String,
    /// The architectures that the release is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// The operating system's build of each architecture.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub os_builds: BTreeMap<String, String>,
    /// The ClusterImageSets that it was listed for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// The AgentClusterInstalls that it stays for, each as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installations: Vec<String>,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ReleaseState {
    /// The registry is being asked.
    #[default]
    Pending,
    /// The image service is told of it.
    Listed,
    /// The release image cannot be read; it is tried again.
    Failed,
    /// The policy leaves it out.
    Skipped,
}

impl ReleaseState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Listed, Self::Failed, Self::Skipped];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Listed => "Listed",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// The `CustomResourceDefinition`, as YAML.
pub fn manifest() -> String {
    // serde_yaml_ng can write every JSON value.
    serde_yaml_ng::to_string(&definition()).unwrap_or_default()
}

/// The `CustomResourceDefinition`. The rule on the name is the API server's to enforce; the derive macro knows no rule
/// that looks at the metadata.
pub fn definition() -> Value {
    let mut definition = serde_json::to_value(CoreosImageService::crd()).unwrap_or_default();
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["x-kubernetes-validations"] = json!([{
        "rule": format!("self.metadata.name == '{NAME}'"),
        "message": format!("the name must be {NAME}"),
    }]);
    definition
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKED_IN: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/crd/coreosimageservices.yaml");

    /// `coreos-image-service operator --print-crd > deploy/crd/coreosimageservices.yaml` makes it current.
    #[test]
    fn the_checked_in_manifest_is_current() {
        let checked_in = std::fs::read_to_string(CHECKED_IN).unwrap();
        assert!(
            checked_in == manifest(),
            "deploy/crd/coreosimageservices.yaml is not what this program prints"
        );
    }

    /// The API server refuses schemas that say a thing in two places.
    #[test]
    fn the_schema_is_structural() {
        fn check(schema: &Value, path: &str) {
            for forbidden in ["oneOf", "anyOf", "allOf", "not", "$ref", "definitions", "$defs"] {
                assert!(schema.get(forbidden).is_none(), "{path} has {forbidden}: {schema}");
            }
            assert!(schema["type"].is_string(), "{path} has no type: {schema}");
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                check(schema, &format!("{path}.{name}"));
            }
            for within in ["items", "additionalProperties"] {
                if let Some(schema) = schema.get(within) {
                    check(schema, &format!("{path}.{within}"));
                }
            }
        }
        let definition = definition();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        check(schema, "");
        let spec = &schema["properties"]["spec"]["properties"];
        assert_eq!(
            spec["policy"]["properties"]["architectures"]["items"]["enum"],
            json!(["x86_64", "arm64", "ppc64le", "s390x"])
        );
        assert_eq!(spec["policy"]["properties"]["architectures"]["minItems"], 1);
        assert_eq!(
            schema["properties"]["status"]["properties"]["conditions"]["x-kubernetes-list-map-keys"],
            json!(["type"])
        );
        assert_eq!(definition["spec"]["versions"][0]["subresources"]["status"], json!({}));
    }

    #[test]
    fn an_empty_spec_is_a_spec() {
        let spec: CoreosImageServiceSpec = serde_json::from_value(json!({})).unwrap();
        assert_eq!(spec, CoreosImageServiceSpec::default());
        assert!(!spec.fill_os_images && !spec.policy.visible && !spec.policy.unlabelled);
    }
}
