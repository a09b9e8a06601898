//! Which request means which image, and what state each image is in.
//!
//! The inbound wing adds entries and moves their states; the outbound wing only looks. An entry stands for one image
//! that somebody wants: several may lead to the same image, and one whose architectures are not known yet stands for all.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use coreos_names::{Arch, ImageKind, OpenshiftVersion, OsBuild};

use crate::image::Lease;

/// An image that the configuration asks for.
#[derive(Clone, Debug)]
pub struct DesiredImage {
    /// The OpenShift version that the configuration gives it.
    pub openshift_version: OpenshiftVersion,
    /// The version of the release that carries it, where it comes from one.
    pub release_version: Option<OpenshiftVersion>,
    /// Its architecture; `None` while only the release's payload knows.
    pub arch: Option<Arch>,
    /// The kind of ISO.
    pub kind: ImageKind,
}

/// Where an image is on its way.
#[derive(Clone, Debug)]
pub enum ImageState {
    /// Nothing has been tried yet.
    Waiting,
    /// Its bytes are arriving.
    Fetching {
        /// Bytes of the ISO written so far.
        received: u64,
        /// The ISO's size, once it is known.
        total: Option<u64>,
    },
    /// It can be served.
    Ready(Lease),
    /// The last attempt failed.
    Failed {
        /// Why, with all causes; holds no secret.
        reason: String,
        /// When the next attempt begins.
        retry_at: SystemTime,
    },
    /// It can never be served from this source.
    Unsupported {
        /// Why.
        reason: String,
    },
}

impl ImageState {
    /// The state's name, as shown in `/health` and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching { .. } => "fetching",
            Self::Ready(_) => "ready",
            Self::Failed { .. } => "failed",
            Self::Unsupported { .. } => "unsupported",
        }
    }

    const fn ends_an_attempt(&self) -> bool {
        matches!(self, Self::Ready(_) | Self::Failed { .. } | Self::Unsupported { .. })
    }
}

/// Names one entry of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u64);

/// What the catalog knows of one entry.
#[derive(Clone, Debug)]
pub struct ImageReport {
    /// What was asked for.
    pub desired: DesiredImage,
    /// The operating system's build, once it is known.
    pub os_build: Option<OsBuild>,
    /// Where the image is on its way.
    pub state: ImageState,
}

/// What a version and an architecture mean.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// An image that can be served now.
    Ready(Lease),
    /// An image that is wanted, but not there.
    NotReady(ImageReport),
    /// Nobody wants such an image.
    Unknown,
}

/// The entries of this process, in memory.
#[derive(Debug, Default)]
pub struct Catalog(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    entries: BTreeMap<EntryId, Entry>,
    settled: bool,
}

#[derive(Debug)]
struct Entry {
    report: ImageReport,
    attempted: bool,
}

impl Catalog {
    /// Adds an entry, waiting.
    pub fn add(&self, desired: DesiredImage) -> EntryId {
        self.write().add(desired)
    }

    /// Removes an entry. Downloads of its image go on.
    pub fn remove(&self, id: EntryId) {
        self.write().entries.remove(&id);
    }

    /// Replaces an entry whose architectures were unknown by one for each of them, at one instant.
    pub fn replace(&self, id: EntryId, desired: impl IntoIterator<Item = DesiredImage>) -> Vec<EntryId> {
        let mut state = self.write();
        state.entries.remove(&id);
        desired.into_iter().map(|desired| state.add(desired)).collect()
    }

    /// Notes which build an entry that is not ready will be.
    pub fn set_build(&self, id: EntryId, os_build: OsBuild) {
        if let Some(entry) = self.write().entries.get_mut(&id)
            && !matches!(entry.report.state, ImageState::Ready(_))
        {
            entry.report.os_build = Some(os_build);
        }
    }

    /// Moves an entry to another state. An image that is ready stays so until its entry has another one that is.
    pub fn set_state(&self, id: EntryId, new: ImageState) {
        let mut state = self.write();
        let Some(entry) = state.entries.get_mut(&id) else { return };
        entry.attempted |= new.ends_an_attempt();
        match &new {
            ImageState::Ready(lease) => entry.report.os_build = Some(lease.key().os_build.clone()),
            _ if matches!(entry.report.state, ImageState::Ready(_)) => return,
            _ => {}
        }
        let ready = matches!(new, ImageState::Ready(_));
        entry.report.state = new;
        state.settled |= ready || state.entries.values().all(|entry| entry.attempted);
    }

    /// Says that there is nothing to wait for: nothing is desired.
    pub fn settle(&self) {
        self.write().settled = true;
    }

    /// The image that an entry serves now.
    pub fn lease(&self, id: EntryId) -> Option<Lease> {
        match &self.read().entries.get(&id)?.report.state {
            ImageState::Ready(lease) => Some(lease.clone()),
            _ => None,
        }
    }

    /// Whether at least one image was ready, or every first attempt had ended, at some time. It never becomes false again.
    pub fn is_settled(&self) -> bool {
        self.read().settled
    }

    /// Every entry.
    pub fn report(&self) -> Vec<ImageReport> {
        self.read().entries.values().map(|entry| entry.report.clone()).collect()
    }

    /// Finds the image that `version` means: an OS build first, then an OpenShift version, with or without `-multi`.
    ///
    /// Of several images the one from the newest release that is ready is taken, so that an alias moves to a new build
    /// only when that can be served.
    pub fn find(&self, version: &str, arch: Arch, kind: ImageKind) -> Lookup {
        let state = self.read();
        let candidates = || {
            let reports = state.entries.values().map(|entry| &entry.report);
            reports
                .filter(|report| report.desired.kind == kind)
                .filter(|report| report.desired.arch.is_none_or(|known| known == arch))
        };
        let is_build =
            |report: &&ImageReport| report.os_build.as_ref().is_some_and(|build| build.as_str() == version);
        if let Some(found) = best(candidates().filter(is_build)) {
            return found;
        }
        let Ok(named) = version.parse::<OpenshiftVersion>() else { return Lookup::Unknown };
        let has_name = |report: &&ImageReport| {
            report.desired.openshift_version == named
                || report.desired.release_version.as_ref() == Some(&named)
        };
        best(candidates().filter(has_name)).unwrap_or(Lookup::Unknown)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, desired: DesiredImage) -> EntryId {
        let id = EntryId(self.next_id);
        self.next_id += 1;
        let report = ImageReport { desired, os_build: None, state: ImageState::Waiting };
        self.entries.insert(id, Entry { report, attempted: false });
        id
    }
}

/// The newest ready image, else the newest of those that are not.
fn best<'a>(reports: impl Iterator<Item = &'a ImageReport>) -> Option<Lookup> {
    let newest = reports.max_by_key(|report| {
        (matches!(report.state, ImageState::Ready(_)), &report.desired.release_version)
    })?;
    Some(match &newest.state {
        ImageState::Ready(lease) => Lookup::Ready(lease.clone()),
        _ => Lookup::NotReady(newest.clone()),
    })
}
