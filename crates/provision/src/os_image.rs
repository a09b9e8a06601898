//! One image of OS_IMAGES, from its announcement until it can be served.

use std::sync::Arc;
use std::time::Instant;

use coreos_names::{Arch, OpenshiftVersion, Sha256, WithCauses};
use image_store::{DesiredImage, EntryId, Expected, ImageKey, ImageState, Lease};
use sha2::Digest as _;

use crate::attempt::Error;
use crate::desired::Wanted;
use crate::origin::OriginUrl;
use crate::os_images::{OsImage, Source};
use crate::piece::Journey;
use crate::progress::Progress;
use crate::provisioner::Provisioner;
use crate::queue::{Place, Turn};
use crate::retry::failed;
use crate::roster::{Entry, Roster};

/// An image that entries of OS_IMAGES want from a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WantedOsImage {
    key: ImageKey,
    url: OriginUrl,
    expected: Expected,
    /// The versions that the entries give it, in their order.
    versions: Vec<OpenshiftVersion>,
}

impl WantedOsImage {
    /// The image that all of these entries want. `None` if there are none.
    pub(crate) fn new(key: ImageKey, images: &[OsImage]) -> Option<Self> {
        let (url, expected) = choose(images)?;
        let mut versions: Vec<OpenshiftVersion> = Vec::new();
        for image in images {
            if !versions.contains(&image.openshift_version) {
                versions.push(image.openshift_version.clone());
            }
        }
        Some(Self { key, url, expected, versions })
    }

    /// Whether it is the image of this key.
    pub(crate) fn is_for(&self, key: &ImageKey) -> bool {
        self.key == *key
    }

    /// What an interrupted download of this image from this place is known by. The place may hold secrets, so that it
    /// is told from others by its digest.
    pub(crate) fn download_name(&self) -> String {
        let ImageKey { os_build, arch, kind } = &self.key;
        let place = Sha256::new(sha2::Sha256::digest(self.url.as_url().as_str())).to_string();
        format!("{os_build}-{arch}-{kind}-{}", &place[..16])
    }

    /// Says where entries contradict each other.
    pub(crate) fn warn_of_contradictions(&self, images: &[OsImage]) {
        let others = images.iter().filter(|image| image.key() == self.key);
        for other in others {
            if let Source::Web(url) = &other.source
                && *url != self.url
            {
                tracing::warn!(
                    image.key = %self.key, url = %self.url, ignored = %url,
                    "OS_IMAGES names the same image at several places; it is fetched from one"
                );
            }
            if let Some(ignored) = other.sha256.filter(|_| other.sha256 != self.expected.sha256()) {
                tracing::warn!(
                    image.key = %self.key, image.sha256 = self.expected.sha256().map(tracing::field::display), %ignored,
                    "OS_IMAGES gives the same image different SHA-256 digests; one of them counts"
                );
            }
        }
    }
}

impl WantedOsImage {
    fn only(&self, is_meant: impl Fn(&OpenshiftVersion) -> bool) -> Option<Self> {
        let mut part = self.clone();
        part.versions.retain(is_meant);
        (!part.versions.is_empty()).then_some(part)
    }
}

impl Wanted for WantedOsImage {
    fn common(&self, other: &Self) -> Option<Self> {
        let is_like = (&self.key, &self.url, self.expected) == (&other.key, &other.url, other.expected);
        is_like.then(|| self.only(|version| other.versions.contains(version)))?
    }

    fn without(&self, part: &Self) -> Option<Self> {
        self.only(|version| !part.versions.contains(version))
    }

    fn wants(&self, version: &OpenshiftVersion, _: Option<Arch>) -> bool {
        self.versions.contains(version)
    }
}

/// An image whose entries are in the catalog. Several entries of the configuration may want the same one.
pub(crate) struct DesiredOsImage {
    provisioner: Arc<Provisioner>,
    wanted: WantedOsImage,
    entries: Arc<[EntryId]>,
    newest_openshift_version: OpenshiftVersion,
    place: Arc<Place>,
}

impl DesiredOsImage {
    /// Adds the image to the catalog, once for each version.
    pub(crate) fn announce(
        provisioner: &Arc<Provisioner>,
        wanted: WantedOsImage,
        order: usize,
        roster: &Roster<WantedOsImage>,
    ) -> Self {
        let catalog = &provisioner.catalog;
        let add = |version: &OpenshiftVersion| {
            let entry = catalog.add(DesiredImage {
                openshift_version: version.clone(),
                release_version: None,
                arch: Some(wanted.key.arch),
                kind: wanted.key.kind,
            });
            catalog.set_build(entry, wanted.key.os_build.clone());
            entry
        };
        let entries: Arc<[_]> = wanted.versions.iter().map(add).collect();
        roster.replace(|wanted, _| {
            let of_version = wanted.versions.iter().cloned().zip(entries.iter().copied());
            let arch = Some(wanted.key.arch);
            of_version.map(|(openshift_version, id)| Entry { openshift_version, arch, id }).collect()
        });
        let newest_openshift_version =
            wanted.versions.iter().max().cloned().expect("an image is wanted by at least one entry");
        let place = Place::new(Arc::clone(&entries), order);
        Self { provisioner: Arc::clone(provisioner), wanted, entries, newest_openshift_version, place }
    }
}

impl Journey for DesiredOsImage {
    type Wanted = WantedOsImage;

    /// Makes the image ready if an earlier process brought it in. Reads no image whole.
    async fn serve_known(&mut self) {
        let (key, expected) = (self.wanted.key.clone(), self.wanted.expected);
        match self.provisioner.blocking(move |store| store.find_known(&key, expected)).await {
            Ok(Some(lease)) => {
                tracing::info!(image.key = %self.wanted.key, "serving from the data directory");
                self.set_state(&ImageState::Ready(lease));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(image.key = %self.wanted.key, error = %WithCauses(&error), "cannot serve a published image");
            }
        }
    }

    /// Brings the image in, trying until it succeeds.
    async fn provision(self) {
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
                        image.key = %self.wanted.key, url = %self.wanted.url, error = %WithCauses(&error),
                        retry.seconds = wait.as_secs(), "cannot bring in the OS image"
                    );
                    self.set_state(&failed(&error, wait));
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

impl DesiredOsImage {
    async fn retry_nmstate(&self, is_necessary: bool) {
        if is_necessary {
            self.provisioner.retry_nmstate(&self.entries, &self.newest_openshift_version).await;
        }
    }

    async fn attempt(&self) -> Result<Lease, Error> {
        self.set_state(&ImageState::Waiting);
        let _only_once = self.provisioner.keys.lock(&self.wanted.key).await;
        if let Some(lease) =
            self.provisioner.find(&self.wanted.key, self.wanted.expected, &self.place).await?
        {
            return Ok(lease);
        }
        let mut turn = self.provisioner.begin_fetch(&self.place).await;
        let result = Box::pin(self.download(&mut turn)).await;
        self.provisioner.end_fetch(result, &turn)
    }

    async fn download(&self, turn: &mut Turn) -> Result<Lease, Error> {
        let started = Instant::now();
        let name = self.wanted.download_name();
        let staging = self.provisioner.blocking(move |store| store.stage_download(&name)).await?;
        tracing::info!(
            image.key = %self.wanted.key, url = %self.wanted.url, resumed.bytes = staging.written(), "downloading the OS image"
        );
        let sink = Progress::new(staging, Arc::clone(&self.provisioner.catalog), Arc::clone(&self.entries));
        let (sink, result) = self.provisioner.origin.download_permitted(&self.wanted.url, sink, turn).await;
        let (staging, key, expected) = (sink.into_staging(), self.wanted.key.clone(), self.wanted.expected);
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
            image.key = %self.wanted.key, image.sha256 = %lease.sha256(), image.proof = lease.proof().name(),
            duration.seconds = started.elapsed().as_secs_f64(), "the OS image is published"
        );
        Ok(lease)
    }

    fn set_state(&self, state: &ImageState) {
        for &entry in &*self.entries {
            self.provisioner.catalog.set_state(entry, state.clone());
        }
    }
}

/// Where the image comes from, and what it must be. As in the predecessor it is the entry with the highest OpenShift
/// version that tells, of several the last.
fn choose(images: &[OsImage]) -> Option<(OriginUrl, Expected)> {
    let chosen = images.iter().max_by_key(|image| &image.openshift_version)?;
    let Source::Web(url) = &chosen.source else { return None };
    let sha256 = chosen.sha256.or_else(|| images.iter().find_map(|image| image.sha256));
    Some((url.clone(), sha256.map_or(Expected::Structure, Expected::Admin)))
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
            let (chosen, stated) = choose(&images).unwrap();
            assert_eq!(chosen.to_string(), format!("https://mirror/{url}"));
            let expected = expected.map(|digit| Expected::Admin(digest(digit).parse().unwrap()));
            assert_eq!(stated, expected.unwrap_or(Expected::Structure));
        }
    }
}
