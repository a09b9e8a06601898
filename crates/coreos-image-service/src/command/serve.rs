//! `serve`: the life of the process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use image_server::{AssistedService, ImageServer, InfraEnvDirectory, InfraEnvSource, Policy, Surface};
use image_store::{Catalog, ImageStore, Limits};
use oci_registry::Registry;
use provision::origin::{self, Origin};
use provision::{Collector, Provisioner, RetryPolicy};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::settings::{InfraEnvs, InvalidSettings, ServeSettings};
use crate::telemetry;

/// assisted-service may have to ask a database and an object store, but a host waits meanwhile.
const ASSISTED_SERVICE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an image that is no longer asked for is served: hosts that booted from it may still need more of it.
const RETIRE_AFTER: Duration = Duration::from_hours(24);

/// Serves until a signal asks to stop, and then until the last running download has ended.
pub(crate) fn serve(settings: ServeSettings) -> anyhow::Result<()> {
    telemetry::init(settings.log_level);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(run(settings))
}

async fn run(settings: ServeSettings) -> anyhow::Result<()> {
    let started = Instant::now();
    let store = ImageStore::open(&settings.data_dir, Limits::default())?;
    let registry = Registry::new(settings.registry)
        .map_err(|error| InvalidSettings::in_use("REGISTRY_TRUSTED_CA_FILE", &error))?;
    let catalog = Arc::new(Catalog::default());
    let infra_envs: Arc<dyn InfraEnvSource> = match settings.infra_envs {
        InfraEnvs::Directory(path) => Arc::new(InfraEnvDirectory::new(path)),
        InfraEnvs::AssistedService { address, trusted_ca_pem } => {
            let client = AssistedService::new(&address, trusted_ca_pem.as_deref(), ASSISTED_SERVICE_TIMEOUT);
            Arc::new(client.map_err(|error| InvalidSettings::in_use("ASSISTED_SERVICE_*", &error))?)
        }
    };
    let pullspecs = settings.releases.iter().map(|release| release.pullspec.to_string()).collect();
    let provisioner = Arc::new(Provisioner::new(
        registry,
        Origin::new(origin::Config::default())?,
        store.clone(),
        Arc::clone(&catalog),
        RetryPolicy::default(),
        settings.concurrent_downloads.get().into(),
    ));
    let registry = prometheus::Registry::new();
    let server =
        Arc::new(ImageServer::new(Arc::clone(&catalog), infra_envs, registry, started, Policy::default())?);
    let listener = listen(settings.listen_address, settings.listen_port).await?;
    tracing::info!(listen.address = %listener.local_addr()?, "listening");

    // Before the first request is answered, so that none is told "unknown" or "not ready" without need.
    let mut provisioning = provisioner.announce(Vec::new(), settings.releases);
    provisioning.serve_known().await;
    let collector = Collector::new(store, catalog, pullspecs, provisioning.download_names(), RETIRE_AFTER);
    collector.serve_known().await;
    let provisioning = tokio::spawn(provisioning.run());
    let collecting = tokio::spawn(collector.run());
    let mut stop = Stop::new()?;
    image_server::serve(listener, server.router(Surface::Everything), None, async move {
        stop.signalled().await;
        tracing::info!("stopping: no new connections, running downloads go on; a second signal ends them");
        provisioning.abort();
        collecting.abort();
        tokio::spawn(async move {
            stop.signalled().await;
            std::process::exit(1);
        });
    })
    .await;
    tracing::info!("stopped");
    Ok(())
}

/// Listens on one address, or on every interface: IPv6 and IPv4 where the system has both.
async fn listen(address: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
    let Some(address) = address else {
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            return Ok(listener);
        }
        let any = Ipv4Addr::UNSPECIFIED;
        return TcpListener::bind((any, port))
            .await
            .with_context(|| format!("cannot listen on {any}:{port}"));
    };
    TcpListener::bind((address, port))
        .await
        .with_context(|| format!("cannot listen on {address}, port {port}"))
}

/// The signals that ask the process to stop.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot handle SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot handle SIGINT")?,
        })
    }

    async fn signalled(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
