//! `operator`: keeps an image service told of the releases that a hub uses.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use image_operator::payloads::RegistryPayloads;
use image_operator::{Operator, Settings};
use kube::{Client, Config};

use super::serve::listen;
use super::signals::Signals;
use crate::settings::OperatorSettings;

/// Prints the CustomResourceDefinition that the operator reads its policy from.
pub(crate) fn print_crd() -> anyhow::Result<()> {
    io::stdout()
        .lock()
        .write_all(image_operator::crd::manifest().as_bytes())
        .context("cannot write the answer")
}

/// Runs until a signal asks to stop.
pub(crate) fn run(settings: OperatorSettings) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(operate(settings))
}

async fn operate(settings: OperatorSettings) -> anyhow::Result<()> {
    let mut config = Config::infer().await.context("there is neither a service account nor a kubeconfig")?;
    // Longer than a watch lasts by itself; without it a connection that died in silence is waited for forever.
    config.read_timeout = Some(Duration::from_secs(295));
    let namespace = settings.namespace.unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("cannot talk to the API server")?;
    // Two processes of one pod must not take each other for themselves.
    let name = settings.pod_name.unwrap_or_else(|| "coreos-image-service-operator".to_owned());
    let identity = format!("{name}_{}", uuid::Uuid::new_v4());
    let signatures = crate::settings::signatures::policy(settings.signatures)?;
    let payloads = Arc::new(RegistryPayloads::new(settings.registry, signatures));
    let settings_of_operator = Settings::new(namespace.clone(), identity);
    let operator = Operator::new(client, settings_of_operator, payloads, prometheus::Registry::new())?;

    let mut signals = Signals::new()?;
    let socket = listen(settings.address, settings.port).await?;
    tracing::info!(listen.address = %socket.local_addr()?, operator.namespace = namespace, "listening");
    let (stopping, mut stop) = tokio::sync::watch::channel(false);
    let stopped = async move { drop(stop.wait_for(|stopping| *stopping).await) };
    let probes = tokio::spawn(image_operator::serve_probes(socket, operator.router(), stopped));
    operator.run(signals.received()).await;
    stopping.send_replace(true);
    probes.await.context("the probes have failed")?.context("the probes have failed")
}
