//! The kinds of others that are read, by the names their owners gave them.

use kube::api::{ApiResource, GroupVersionKind};

/// hive: a name for a release image.
pub(crate) fn cluster_image_set() -> ApiResource {
    resource("hive.openshift.io", "v1", "ClusterImageSet", "clusterimagesets")
}

/// assisted-service: one installation.
pub(crate) fn agent_cluster_install() -> ApiResource {
    resource("extensions.hive.openshift.io", "v1beta1", "AgentClusterInstall", "agentclusterinstalls")
}

/// assisted-service: what hosts boot from.
pub(crate) fn infra_env() -> ApiResource {
    resource("agent-install.openshift.io", "v1beta1", "InfraEnv", "infraenvs")
}

/// assisted-service: its own configuration; there is one, [`AGENT`].
pub(crate) fn agent_service_config() -> ApiResource {
    resource("agent-install.openshift.io", "v1beta1", "AgentServiceConfig", "agentserviceconfigs")
}

/// The only name that assisted-service's operator looks at.
pub(crate) const AGENT: &str = "agent";

/// Mirrors for images by digest.
pub(crate) fn image_digest_mirror_set() -> ApiResource {
    resource("config.openshift.io", "v1", "ImageDigestMirrorSet", "imagedigestmirrorsets")
}

/// Mirrors for images by tag.
pub(crate) fn image_tag_mirror_set() -> ApiResource {
    resource("config.openshift.io", "v1", "ImageTagMirrorSet", "imagetagmirrorsets")
}

/// The older form of mirrors for images by digest.
pub(crate) fn image_content_source_policy() -> ApiResource {
    resource("operator.openshift.io", "v1alpha1", "ImageContentSourcePolicy", "imagecontentsourcepolicies")
}

/// `apps/v1`, what runs an image service.
pub(crate) fn workload(kind: crate::crd::WorkloadKind) -> ApiResource {
    match kind {
        crate::crd::WorkloadKind::Deployment => resource("apps", "v1", "Deployment", "deployments"),
        crate::crd::WorkloadKind::StatefulSet => resource("apps", "v1", "StatefulSet", "statefulsets"),
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}
