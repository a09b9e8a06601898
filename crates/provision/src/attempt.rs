//! One attempt at one image: from the payload to a lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coreos_names::{Arch, ImageKind, OpenshiftVersion, WithCauses};
use image_store::{EntryId, Expected, ImageKey, ImageState, Lease};
use oci_registry::Registry;
use release_payload::{BootImage, LiveIso, Payload};

use crate::blocking::blocking;
use crate::origin;
use crate::progress::Progress;
use crate::provisioner::Provisioner;
use crate::queue::{Place, Turn};

/// Why an image could not be brought in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The payload did not give its ISO.
    #[error(transparent)]
    Payload(#[from] release_payload::Error),
    /// The web server did not give it.
    #[error(transparent)]
    Download(#[from] origin::Error),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] image_store::Error),
    /// The mirror has another image than the release names, whose ISO is not the one that the release announces.
    #[error(
        "{image} is not the image that the release names, and its ISO is not the one that the release announces"
    )]
    OtherImage {
        /// The image.
        image: String,
        /// What the store found.
        source: image_store::Error,
    },
    /// Signatures are asked for, and the release is another one than its entry says: an old release is signed, too.
    #[error(
        "{pullspec} is release {actual}, and its entry says {configured}: where signatures are asked for, the release \
         has to be the one that is meant"
    )]
    OtherVersion {
        /// The release image.
        pullspec: String,
        /// What the configuration asks for.
        configured: OpenshiftVersion,
        /// What the release states.
        actual: OpenshiftVersion,
    },
    /// The release is for other architectures.
    #[error(
        "release {pullspec} is not for {arch}; it is for {}",
        available.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(", ")
    )]
    NotForArch {
        /// The release image.
        pullspec: String,
        /// What the configuration asks for.
        arch: Arch,
        /// What the release is for.
        available: Vec<Arch>,
    },
}

impl Error {
    /// Whether trying again soon can succeed without anybody changing anything.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Payload(error) => error.is_retryable(),
            Self::Download(error) => error.is_retryable(),
            Self::Store(error) => error.is_retryable(),
            Self::OtherImage { .. } | Self::OtherVersion { .. } | Self::NotForArch { .. } => false,
        }
    }

    /// Whether it lies in the release itself, so that only another release can be better.
    pub(crate) fn is_content(&self) -> bool {
        match self {
            Self::Payload(error) => error.is_content(),
            Self::Download(_) | Self::OtherImage { .. } => false,
            Self::Store(error) => error.is_content(),
            Self::OtherVersion { .. } | Self::NotForArch { .. } => true,
        }
    }

    /// How long a server asked to be left alone.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Payload(error) => error.retry_after(),
            Self::Download(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl Provisioner {
    /// Brings the image of one architecture into the store, unless it is there already.
    pub(crate) async fn attempt(
        &self,
        registry: &Registry,
        payload: &Payload,
        arch: Arch,
        entry: EntryId,
        place: &Arc<Place>,
    ) -> Result<Lease, Error> {
        self.catalog.set_state(entry, ImageState::Waiting);
        if !payload.arches().contains(&arch) {
            let available = payload.arches().to_vec();
            return Err(Error::NotForArch { pullspec: payload.pullspec().to_string(), arch, available });
        }
        let mut _only_once_by_key = None;
        if let Some(forecast) = payload.boot_image(arch) {
            let key = ImageKey { os_build: forecast.os_build.clone(), arch, kind: ImageKind::Full };
            self.catalog.set_build(entry, key.os_build.clone());
            _only_once_by_key = Some(self.keys.lock(&key).await);
            if let Some(lease) = self.find(&key, Expected::Release(forecast.sha256), place).await? {
                return Ok(lease);
            }
        }
        let iso = self.locate(registry, payload, arch).await?;
        let source = iso.source();
        let _only_once_by_source = self.sources.lock(&source).await;
        if let Some((key, sha256)) = self.brought.get(&source)
            && let Some(lease) = self.find(&key, Expected::Release(sha256), place).await?
        {
            return Ok(lease);
        }
        let turn = self.begin_fetch(place).await;
        let fetched = Box::pin(self.fetch(registry, payload, arch, iso, entry)).await;
        self.end_fetch(fetched, &turn)
    }

    /// Finds out where the image is. A search that fails counts as a fetch that did.
    async fn locate(&self, registry: &Registry, payload: &Payload, arch: Arch) -> Result<LiveIso, Error> {
        let located = Box::pin(LiveIso::locate(registry, payload, arch)).await;
        if located.is_err() {
            let statistics = self.catalog.statistics();
            statistics.count_fetch();
            statistics.count_failed_fetch();
        }
        Ok(located?)
    }

    async fn fetch(
        &self,
        registry: &Registry,
        payload: &Payload,
        arch: Arch,
        mut iso: LiveIso,
        entry: EntryId,
    ) -> Result<Lease, Error> {
        let started = Instant::now();
        tracing::info!(
            release.version = %payload.version(), %arch, image = %iso.image(),
            layer.bytes = iso.largest_layer().map(|(_, size)| size),
            "fetching the live ISO"
        );
        let staging = self.blocking(image_store::ImageStore::stage).await?;
        let sink = Progress::new(staging, Arc::clone(&self.catalog), Arc::new([entry]));
        let extracted = iso.extract(registry, sink).await?;
        let staging = extracted.sink.into_staging();
        let (size, BootImage { os_build, sha256 }) = (staging.written(), extracted.stated);
        let key = ImageKey { os_build, arch, kind: ImageKind::Full };
        let published = self.blocking(move |_| staging.seal(Expected::Release(sha256))?.publish(key)).await;
        let lease = published.map_err(|source| match source {
            source @ image_store::Error::WrongDigest { .. } if !iso.is_of_payload() => {
                Error::OtherImage { image: iso.image().to_string(), source }
            }
            source => source.into(),
        })?;
        self.brought.note(iso.source(), lease.key().clone(), sha256);
        tracing::info!(
            release.version = %payload.version(), image.key = %lease.key(), image.bytes = size,
            image.sha256 = %lease.sha256(), duration.seconds = started.elapsed().as_secs_f64(),
            "the live ISO is verified and published"
        );
        Ok(lease)
    }

    /// Waits until the image may be fetched, and counts that it is.
    pub(crate) async fn begin_fetch(&self, place: &Arc<Place>) -> Turn {
        let turn = self.downloads.turn(place).await;
        self.catalog.statistics().count_fetch();
        turn
    }

    /// Counts how long a fetch has taken, and whether it failed.
    pub(crate) fn end_fetch<T>(&self, result: Result<T, Error>, turn: &Turn) -> Result<T, Error> {
        let statistics = self.catalog.statistics();
        statistics.count_fetching(turn.lasted());
        result.inspect_err(|_| statistics.count_failed_fetch())
    }

    /// The image, if it is in the data directory. Files that nobody knows yet are hashed, few at a time.
    pub(crate) async fn find(
        &self,
        key: &ImageKey,
        expected: Expected,
        place: &Arc<Place>,
    ) -> Result<Option<Lease>, image_store::Error> {
        let _turn = self.searches.turn(place).await;
        let key = key.clone();
        self.blocking(move |store| store.find(&key, expected)).await
    }

    /// Prepares the archive of nmstatectl, if the OpenShift version of the image wants it in minimal ISOs and initrds. An
    /// image that cannot give it is served all the same; what cannot be served without it is refused. Returns whether
    /// trying again can help.
    pub(crate) async fn prepare_nmstate(&self, lease: &Lease, version: &OpenshiftVersion) -> bool {
        if lease.key().kind != ImageKind::Full || !version.needs_nmstatectl() {
            return false;
        }
        let image = lease.clone();
        let Err(error) = self.blocking(move |store| store.prepare_nmstate(&image)).await else {
            return false;
        };
        tracing::error!(
            image.key = %lease.key(), error = %WithCauses(&error), is_final = !error.is_retryable(),
            "cannot prepare nmstatectl: minimal ISOs, and initrds with a network configuration, are refused"
        );
        error.is_retryable()
    }

    /// Tries again to prepare the archive for the image that these entries serve, until that has one, can have none, or is
    /// no longer wanted by any of them.
    pub(crate) async fn retry_nmstate(&self, entries: &[EntryId], version: &OpenshiftVersion) {
        for wait in self.retry.waits() {
            // No lease is held meanwhile: the image may be retired.
            tokio::time::sleep(wait).await;
            let Some(lease) = entries.iter().find_map(|&entry| self.catalog.lease(entry)) else { return };
            if !self.prepare_nmstate(&lease, version).await {
                return;
            }
            drop(lease);
        }
    }

    /// Runs work on the store where blocking is allowed.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&image_store::ImageStore) -> Result<T, image_store::Error> + Send + 'static,
    ) -> Result<T, image_store::Error> {
        let store = self.store.clone();
        blocking(move || work(&store)).await
    }
}
