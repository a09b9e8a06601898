//! An API server for demonstrations: a hub with the kinds that the operator reads, and nothing in it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use test_support::kubernetes::{FakeKubernetes, Kind};

/// Runs an API server on a free loopback port, until it is killed, and writes a kubeconfig for it.
#[derive(Debug, Parser)]
struct Args {
    /// Where the kubeconfig goes
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The namespace that the kubeconfig names; it exists
    #[arg(long)]
    namespace: String,
}

/// API version, kind, plural, whether objects are in namespaces.
const KINDS: [(&str, &str, &str, bool); 8] = [
    ("hive.openshift.io/v1", "ClusterImageSet", "clusterimagesets", false),
    ("extensions.hive.openshift.io/v1beta1", "AgentClusterInstall", "agentclusterinstalls", true),
    ("agent-install.openshift.io/v1beta1", "InfraEnv", "infraenvs", true),
    ("agent-install.openshift.io/v1beta1", "AgentServiceConfig", "agentserviceconfigs", false),
    ("config.openshift.io/v1", "ImageDigestMirrorSet", "imagedigestmirrorsets", false),
    ("config.openshift.io/v1", "ImageTagMirrorSet", "imagetagmirrorsets", false),
    ("operator.openshift.io/v1alpha1", "ImageContentSourcePolicy", "imagecontentsourcepolicies", false),
    ("coreos-image-service.io/v1alpha1", "CoreosImageService", "coreosimageservices", true),
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { kubeconfig, namespace } = Args::parse();
    let server = FakeKubernetes::start().await;
    for (api_version, kind, plural, namespaced) in KINDS {
        server.define(Kind::new(api_version, kind, plural, namespaced, true));
    }
    for name in [&*namespace, "openshift-config"] {
        server.put(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "hub",
        "clusters": [{ "name": "hub", "cluster": { "server": server.url().as_str() } }],
        "users": [{ "name": "admin", "user": {} }],
        "contexts": [{ "name": "hub", "context": { "cluster": "hub", "user": "admin", "namespace": namespace } }],
    });
    std::fs::write(&kubeconfig, config.to_string())
        .with_context(|| format!("cannot write {}", kubeconfig.display()))?;
    println!("{}", server.url());
    std::future::pending().await
}
