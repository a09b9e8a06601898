//! One image of OS_IMAGES, from its announcement until it can be served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use coreos_names::{OpenshiftVersion, Sha256, WithCauses};
use image_store::{DesiredImage, EntryId, Expected, ImageKey, ImageState, Lease};
use sha2::Digest as _;

use crate::attempt::Error;
use crate::origin::OriginUrl;
use crate::os_images::OsImage;
use crate::progress::Progress;
use crate::provisioner::Provisioner;
use crate::queue::{Place, Turn};
use crate::retry::failed;

/// An image whose entries are in the catalog. Several entries of the configuration may want the same one.
pub(crate) struct DesiredOsImage {
    provisioner: Arc<Provisioner>,
    key: ImageKey,
    url: OriginUrl,
    expected: Expected,
    entries: Arc<[EntryId]>,
    newest_openshift_version: OpenshiftVersion,
    place: Arc<Place>,
}

/// The entries of the configuration that want the same image.
#[derive(Default)]
struct Wishes {
    /// Where the first of them stands.
    order: usize,
    images: Vec<OsImage>,
    entries: Vec<EntryId>,
}

impl DesiredOsImage {
    /// Adds all images to the catalog, in the order of the configuration: of several with the same version and
    /// architecture the first is the one that is served.
    pub(crate) fn announce(provisioner: &Arc<Provisioner>, images: Vec<OsImage>) -> Vec<Self> {
        let mut by_key: BTreeMap<ImageKey, Wishes> = BTreeMap::new();
        for (order, image) in images.into_iter().enumerate() {
            let of_key = by_key.entry(image.key());
            let Wishes { images, entries, .. } =
                of_key.or_insert_with(|| Wishes { order, ..Wishes::default() });
            if images.iter().all(|other| other.openshift_version != image.openshift_version) {
                let entry = provisioner.catalog.add(desired(&image));
                provisioner.catalog.set_build(entry, image.os_build.clone());
                entries.push(entry);
            }
            images.push(image);
        }
        let announce = |(key, Wishes { order, images, entries }): (_, Wishes)| {
            let (url, expected) = choose(&key, &images)?;
            let newest_openshift_version = images.into_iter().map(|image| image.openshift_version).max()?;
            let (provisioner, entries) = (Arc::clone(provisioner), Arc::<[_]>::from(entries));
            let place = Place::new(Arc::clone(&entries), order);
            let image = Self { provisioner, key, url, expected, entries, newest_openshift_version, place };
            Some((order, image))
        };
        let in_order: BTreeMap<_, _> = by_key.into_iter().filter_map(announce).collect();
        in_order.into_values().collect()
    }

    /// Makes the image ready if an earlier process brought it in. Reads no image whole.
    pub(crate) async fn serve_known(&self) {
        let (key, expected) = (self.key.clone(), self.expected);
        match self.provisioner.blocking(move |store| store.find_known(&key, expected)).await {
            Ok(Some(lease)) => {
                tracing::info!(image.key = %self.key, "serving from the data directory");
                self.set_state(&ImageState::Ready(lease));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(image.key = %self.key, error = %WithCauses(&error), "cannot serve a published image");
            }
        }
    }

    /// Brings the image in, trying until it succeeds.
    pub(crate) async fn provision(self) {
        let served = |entry: &EntryId| self.provisioner.catalog.lease(*entry);
        if self.entries.iter().all(|entry| served(entry).is_some()) {
            if let Some(lease) = self.entries.first().and_then(served) {
                let again = self.provisioner.prepare_nmstate(&lease, &self.newest_openshift_version).await;
                drop(lease);
                self.retry_nmstate(again).await;
            }
            return;
        }
        let retry = self.provisioner.retry;
        let mut waits = retry.waits();
        loop {
            match self.attempt().await {
                Ok(lease) => {
                    let again =
                        self.provisioner.prepare_nmstate(&lease, &self.newest_openshift_version).await;
                    self.set_state(&ImageState::Ready(lease));
                    return self.retry_nmstate(again).await;
                }
                Err(error) => {
                    self.place.count_failure();
                    let wait = retry.wait_after(&error, &mut waits);
                    tracing::error!(
                        image.key = %self.key, url = %self.url, error = %WithCauses(&error),
                        retry.seconds = wait.as_secs(), "cannot bring in the OS image"
                    );
                    self.set_state(&failed(&error, wait));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn retry_nmstate(&self, is_necessary: bool) {
        if let Some(&entry) = self.entries.first().filter(|_| is_necessary) {
            self.provisioner.retry_nmstate(entry, &self.newest_openshift_version).await;
        }
    }

    async fn attempt(&self) -> Result<Lease, Error> {
        self.set_state(&ImageState::Waiting);
        let _only_once = self.provisioner.lock_key(&self.key).await;
        if let Some(lease) = self.provisioner.find(&self.key, self.expected, &self.place).await? {
            return Ok(lease);
        }
        let mut turn = self.provisioner.begin_fetch(&self.place).await;
        let result = Box::pin(self.download(&mut turn)).await;
        self.provisioner.end_fetch(result, &turn)
    }

    async fn download(&self, turn: &mut Turn) -> Result<Lease, Error> {
        let started = Instant::now();
        let name = self.download_name();
        let staging = self.provisioner.blocking(move |store| store.stage_download(&name)).await?;
        tracing::info!(
            image.key = %self.key, url = %self.url, resumed.bytes = staging.written(), "downloading the OS image"
        );
        let sink = Progress::new(staging, Arc::clone(&self.provisioner.catalog), Arc::clone(&self.entries));
        let (sink, result) = self.provisioner.origin.download_permitted(&self.url, sink, turn).await;
        let (staging, key, expected) = (sink.into_staging(), self.key.clone(), self.expected);
        let lease = self.provisioner.blocking(move |_| match result {
            Ok(()) => Ok(Ok(staging.seal(expected)?.publish(key)?)),
            Err(error) => {
                // What is there is synced and kept for the next attempt.
                drop(staging);
                Ok(Err(error))
            }
        });
        let lease = lease.await??;
        tracing::info!(
            image.key = %self.key, image.sha256 = %lease.sha256(), image.proof = lease.proof().name(),
            duration.seconds = started.elapsed().as_secs_f64(), "the OS image is published"
        );
        Ok(lease)
    }

    /// What an interrupted download of this image from this place is known by. The place may hold secrets, so that it
    /// is told from others by its digest.
    pub(crate) fn download_name(&self) -> String {
        let ImageKey { os_build, arch, kind } = &self.key;
        let place = Sha256::new(sha2::Sha256::digest(self.url.as_url().as_str())).to_string();
        format!("{os_build}-{arch}-{kind}-{}", &place[..16])
    }

    fn set_state(&self, state: &ImageState) {
        for &entry in &*self.entries {
            self.provisioner.catalog.set_state(entry, state.clone());
        }
    }
}

fn desired(image: &OsImage) -> DesiredImage {
    DesiredImage {
        openshift_version: image.openshift_version.clone(),
        release_version: None,
        arch: Some(image.arch),
        kind: image.kind,
    }
}

/// Where the image comes from, and what it must be. As in the predecessor it is the entry with the highest OpenShift
/// version that tells, of several the last.
fn choose(key: &ImageKey, images: &[OsImage]) -> Option<(OriginUrl, Expected)> {
    let chosen = images.iter().max_by_key(|image| &image.openshift_version)?;
    for other in images.iter().filter(|other| other.url != chosen.url) {
        tracing::warn!(
            image.key = %key, url = %chosen.url, ignored = %other.url,
            "OS_IMAGES names the same image at several places; it is fetched from one"
        );
    }
    let sha256 = chosen.sha256.or_else(|| images.iter().find_map(|image| image.sha256));
    for other in images.iter().filter_map(|image| image.sha256).filter(|&other| Some(other) != sha256) {
        tracing::warn!(
            image.key = %key, image.sha256 = sha256.map(tracing::field::display), ignored = %other,
            "OS_IMAGES gives the same image different SHA-256 digests; one of them counts"
        );
    }
    Some((chosen.url.clone(), sha256.map_or(Expected::Structure, Expected::Admin)))
}

#[cfg(test)]
mod tests {
    use super::choose;
    use crate::os_images::parse;
    use image_store::Expected;

    #[test]
    fn the_entry_of_the_highest_version_says_where_an_image_comes_from() {
        let digest = |digit: &str| digit.repeat(64);
        let entry = |version: &str, url: &str, sha256: &str| {
            format!(
                r#"{{"openshift_version": "{version}", "cpu_architecture": "x86_64", "version": "418.94.1-0",
                     "url": "https://mirror/{url}" {sha256}}}"#
            )
        };
        let sha256 = |digit| format!(", \"sha256\": \"{}\"", digest(digit));
        for (entries, url, expected) in [
            ([entry("4.9", "a", ""), entry("4.18", "b", ""), entry("4.17", "c", "")], "b", None),
            ([entry("4.18", "a", ""), entry("4.18", "b", ""), entry("4.18", "c", "")], "c", None),
            (
                [entry("4.18", "a", ""), entry("4.16", "b", &sha256("1")), entry("4.17", "c", &sha256("2"))],
                "a",
                Some("1"),
            ),
            (
                [entry("4.16", "a", &sha256("1")), entry("4.18", "b", &sha256("2")), entry("4.17", "c", "")],
                "b",
                Some("2"),
            ),
        ] {
            let images = parse(&format!("[{}]", entries.join(","))).unwrap();
            let (chosen, stated) = choose(&images[0].key(), &images).unwrap();
            assert_eq!(chosen.to_string(), format!("https://mirror/{url}"));
            let expected = expected.map(|digit| Expected::Admin(digest(digit).parse().unwrap()));
            assert_eq!(stated, expected.unwrap_or(Expected::Structure));
        }
    }
}
