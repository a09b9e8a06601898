//! `serve`: the life of the process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use coreos_names::WithCauses;
use image_feed::{Cluster, Environment, Feed, Source};
use image_server::{AssistedService, ImageServer, InfraEnvDirectory, InfraEnvSource, Reusing, Surface, Tls};
use image_store::{Catalog, ImageStore, Limits};
use provision::origin::Origin;
use provision::{Collector, Desired, Provisioner, RetryPolicy};
use release_signature::SignaturePolicy;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::signals::Signals;
use crate::settings::{
    FeedSource, ImageSettings, InfraEnvs, InvalidSettings, ListenPort, Listeners, ServeSettings, TlsFiles,
};

/// assisted-service may have to ask a database and an object store, but a host waits meanwhile.
const ASSISTED_SERVICE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests may have to wait for an API server that does not answer, when the service starts.
const FEED_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until a signal asks to stop, and then until the last running download has ended.
pub(crate) fn serve(settings: ServeSettings) -> anyhow::Result<()> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    raise_open_files_limit();
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(run(settings))
}

/// The usual limit of 1024 is for programs that use `select(2)`; a thousand slow downloads need more.
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

async fn run(settings: ServeSettings) -> anyhow::Result<()> {
    let started = Instant::now();
    let limits = Limits { max_bytes: settings.data_dir_max_bytes };
    let store = ImageStore::open(&settings.data_dir, limits)
        .map_err(|error| InvalidSettings::in_use("DATA_DIR", &error))?;
    let signatures = crate::settings::signatures::policy(settings.signatures)?;
    let origin = Origin::new(settings.origin)
        .map_err(|error| InvalidSettings::in_use("OS_IMAGE_DOWNLOAD_TRUSTED_CA_FILE", &error))?;
    let catalog = Arc::new(Catalog::default());
    let infra_envs = infra_envs(settings.infra_envs)?;
    let (mut feed, list) = feed(settings.images, settings.registry, &store, Arc::clone(&catalog)).await?;
    let mut provisioner = Provisioner::new(
        list.borrow().registry.clone(),
        origin,
        store.clone(),
        Arc::clone(&catalog),
        RetryPolicy::default(),
        settings.concurrent_downloads.get().into(),
    );
    let keyrings = signatures.as_ref().map(SignaturePolicy::keyrings).unwrap_or_default();
    if let Some(policy) = signatures {
        provisioner = provisioner.requiring(policy);
    }
    let provisioner = Arc::new(provisioner);
    let metrics = prometheus::Registry::new();
    let server =
        Arc::new(ImageServer::new(Arc::clone(&catalog), infra_envs, metrics, started, settings.policy)?);
    let listeners = Listener::open_all(settings.listeners).await?;

    // Before the first request is answered, so that none is told "unknown" or "not ready" without need.
    feed.wait_until_complete(FEED_PATIENCE).await;
    let mut provisioning = provisioner.follow(list);
    provisioning.serve_known().await;
    let collector =
        Collector::new(store, catalog, provisioning.names(), settings.retire_after).requiring(keyrings);
    collector.serve_known().await;
    let mut inbound = JoinSet::new();
    inbound.spawn(feed.run());
    inbound.spawn(provisioning.run());
    inbound.spawn(collector.run());
    let (stopping, stop) = watch::channel(false);
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.received().await;
        tracing::info!("stopping: no new connections, running downloads go on; a second signal ends them");
        inbound.abort_all();
        stopping.send_replace(true);
        signals.received().await;
        std::process::exit(1);
    });
    let mut serving = JoinSet::new();
    for Listener { socket, tls, surface } in listeners {
        let mut stop = stop.clone();
        let stopped = async move { drop(stop.wait_for(|stopping| *stopping).await) };
        serving.spawn(image_server::serve(socket, server.router(surface), tls, stopped));
    }
    drop(stop);
    serving.join_all().await;
    tracing::info!("stopped");
    Ok(())
}

/// What is asked for, now and later.
async fn feed(
    images: ImageSettings,
    registry: oci_registry::Config,
    store: &ImageStore,
    catalog: Arc<Catalog>,
) -> anyhow::Result<(Feed, watch::Receiver<Desired>)> {
    let source = match images.feed {
        FeedSource::None => Source::None,
        FeedSource::Directory(directory) => Source::Directory(directory),
        FeedSource::Kubernetes => {
            let cluster = Cluster::infer().await;
            let cluster = cluster.map_err(|error| InvalidSettings::in_use("FEED=kubernetes", &error))?;
            Source::Cluster(cluster.remembering(store.clone()))
        }
        FeedSource::Pod => match Cluster::of_pod() {
            None => Source::None,
            Some(Ok(cluster)) => Source::Cluster(cluster.remembering(store.clone())),
            Some(Err(error)) => {
                tracing::warn!(error = %WithCauses(&error), "the cluster cannot be asked; only the environment counts");
                Source::None
            }
        },
    };
    let ImageSettings { os_images, releases, has_pull_secret, pull_secret_file, .. } = images;
    let environment = Environment { os_images, releases, registry, has_pull_secret };
    let feed = Feed::new(environment, pull_secret_file, source, catalog);
    Ok(feed.map_err(|error| InvalidSettings::in_use("REGISTRY_TRUSTED_CA_FILE", &error))?)
}

fn infra_envs(settings: InfraEnvs) -> anyhow::Result<Arc<dyn InfraEnvSource>> {
    Ok(match settings {
        InfraEnvs::Directory(path) => Arc::new(InfraEnvDirectory::new(path)),
        InfraEnvs::AssistedService { address, trusted_ca_pem, reuse } => {
            let client = AssistedService::new(&address, trusted_ca_pem.as_deref(), ASSISTED_SERVICE_TIMEOUT)
                .map_err(|error| InvalidSettings::in_use("ASSISTED_SERVICE_*", &error))?;
            Arc::new(Reusing::new(client, reuse))
        }
    })
}

/// A port that is open.
struct Listener {
    socket: TcpListener,
    tls: Option<Tls>,
    surface: Surface,
}

impl Listener {
    /// Opens every port, or none.
    async fn open_all(Listeners { address, ports }: Listeners) -> anyhow::Result<Vec<Self>> {
        let mut listeners = Vec::new();
        for ListenPort { port, tls, surface } in ports {
            let tls = tls
                .map(|TlsFiles { certificate, key, policy }| {
                    Tls::load(&certificate, &key, &policy)
                        .map_err(|error| InvalidSettings::in_use("HTTPS_CERT_FILE, HTTPS_KEY_FILE", &error))
                })
                .transpose()?;
            let socket = listen(address, port).await?;
            tracing::info!(listen.address = %socket.local_addr()?, listen.tls = tls.is_some(), "listening");
            listeners.push(Self { socket, tls, surface });
        }
        Ok(listeners)
    }
}

/// Listens on one address, or on every interface: IPv6 and IPv4 where the system has both.
pub(super) async fn listen(address: Option<IpAddr>, port: u16) -> anyhow::Result<TcpListener> {
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
