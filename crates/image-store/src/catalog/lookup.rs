//! Which image a request means.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use coreos_names::{Arch, ImageKind, OpenshiftVersion};

use super::{Catalog, DesiredImage, Entry, ImageReport, State};
use crate::image::Lease;
use crate::key::ImageKey;

/// An image that can be served.
#[derive(Clone, Debug)]
pub struct Found {
    /// The image.
    pub lease: Lease,
    /// The highest OpenShift version of the entries that share it, whichever of them was looked for. Of a retired image
    /// it is the last one known, or `None` if nobody noted any.
    pub openshift_version: Option<OpenshiftVersion>,
}

/// What a version and an architecture mean.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// An image that can be served now.
    Ready(Found),
    /// An image that is wanted, but not there.
    NotReady(ImageReport),
    /// Nobody wants such an image.
    Unknown,
}

impl Catalog {
    /// Finds the image that `version` means: an OS build first, then an OpenShift version, with or without `-multi`.
    ///
    /// Of several images with an OpenShift version those from `OS_IMAGES` go before those from releases; the first that
    /// was added among them, the newest release among the others, but one that is ready before one that is not. So an
    /// alias moves to a new build only when that can be served.
    ///
    /// An image that is not ready is remembered as asked for ([`Catalog::is_requested`]), so that it is brought in first.
    pub fn find(&self, version: &str, arch: Arch, kind: ImageKind) -> Lookup {
        let state = self.read();
        match state.meaning(version, arch, kind) {
            Some(Meaning::Desired(report)) => state.lookup(report),
            Some(Meaning::Retired(found)) => Lookup::Ready(found.clone()),
            None => Lookup::Unknown,
        }
    }

    /// Whether `version` means an image of any kind, there or not. That does not count as asking for one.
    pub fn knows(&self, version: &str, arch: Arch) -> bool {
        let state = self.read();
        let kinds = [ImageKind::Full, ImageKind::Disconnected];
        kinds.into_iter().any(|kind| state.meaning(version, arch, kind).is_some())
    }
}

impl State {
    /// Remembers that the image was asked for, at every entry that wants the same one.
    fn note_request(&self, report: &ImageReport) {
        let key = report.key();
        let is_same =
            |other: &ImageReport| std::ptr::eq(other, report) || (key.is_some() && other.key() == key);
        for entry in self.entries.values().filter(|entry| is_same(&entry.report)) {
            entry.requested.store(true, Ordering::Relaxed);
        }
    }

    fn meaning(&self, version: &str, arch: Arch, kind: ImageKind) -> Option<Meaning<'_>> {
        let candidates = || {
            let entries = self.entries.values().map(|entry| (entry, &entry.report.desired));
            let of_kind = entries.filter(|(_, desired)| desired.kind == kind);
            let of_arch = of_kind.filter(|(_, desired)| desired.arch.is_none_or(|known| known == arch));
            of_arch.map(|(entry, _)| entry)
        };
        let of_build = |ready: bool| {
            let is_it = |report: &ImageReport| {
                report.lease().is_some() == ready
                    && report.os_build.as_ref().is_some_and(|build| build.as_str() == version)
            };
            best(candidates().filter(|entry| is_it(&entry.report))).map(Meaning::Desired)
        };
        let retired = || {
            let is_it =
                |key: &ImageKey| key.os_build.as_str() == version && key.arch == arch && key.kind == kind;
            self.retired.iter().find(|found| is_it(found.lease.key())).map(Meaning::Retired)
        };
        let of_version = || {
            let named = version.parse::<OpenshiftVersion>().ok()?;
            best(candidates().filter(|entry| entry.has_name(&named))).map(Meaning::Desired)
        };
        of_build(true).or_else(retired).or_else(|| of_build(false)).or_else(of_version)
    }

    fn lookup(&self, report: &ImageReport) -> Lookup {
        let Some(lease) = report.lease() else {
            self.note_request(report);
            return Lookup::NotReady(report.clone());
        };
        Lookup::Ready(Found { lease: lease.clone(), openshift_version: self.highest_version(lease.key()) })
    }
}

impl Entry {
    pub(super) fn has_name(&self, name: &OpenshiftVersion) -> bool {
        let DesiredImage { openshift_version, release_version, .. } = &self.report.desired;
        openshift_version == name || release_version.as_ref() == Some(name)
    }

    /// Which of several goes first where it does not count what is ready: the highest.
    pub(super) fn rank(&self) -> (bool, Option<&OpenshiftVersion>, Option<Reverse<u64>>) {
        let release = self.report.desired.release_version.as_ref();
        (self.is_from_url(), release, self.is_from_url().then_some(Reverse(self.order)))
    }

    fn is_from_url(&self) -> bool {
        self.report.desired.release_version.is_none()
    }
}

/// What a version, an architecture and a kind mean.
enum Meaning<'a> {
    Desired(&'a ImageReport),
    Retired(&'a Found),
}

/// The entry that owns a name which all of them have.
fn best<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<&'a ImageReport> {
    // One that was taken away is here only because its heir is not ready.
    let best = entries.max_by_key(|entry| {
        (entry.is_leaving, entry.is_from_url(), entry.report.lease().is_some(), entry.rank())
    });
    best.map(|entry| &entry.report)
}
