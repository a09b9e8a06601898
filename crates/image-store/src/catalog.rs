//! Which images are wanted, and what state each is in.
//!
//! The inbound wing adds entries and moves their states; the outbound wing only looks. An entry stands for one image
//! that somebody wants: several may lead to the same image, and one whose architectures are not known yet stands for all.
//! Beside the entries there are retired images, which nobody wants any more and which are found by their build alone.
//! Which of them a request means is `catalog::lookup`'s, and what becomes of an entry that is taken away
//! `catalog::succession`'s.

mod lookup;
mod succession;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use coreos_names::{Arch, ImageKind, OpenshiftVersion, OsBuild};

use crate::image::{Lease, WeakLease};
use crate::key::ImageKey;
use crate::proof::Proof;
use crate::statistics::Statistics;

pub use self::lookup::{Found, Lookup};

/// An image that the configuration asks for.
#[derive(Clone, Debug)]
pub struct DesiredImage {
    /// The OpenShift version that the configuration gives it.
    pub openshift_version: OpenshiftVersion,
    /// The version of the release that carries it; `None` where it comes from a URL in `OS_IMAGES`.
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
    /// The names of all states.
    pub const NAMES: [&str; 5] = ["waiting", "fetching", "ready", "failed", "unsupported"];

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

impl ImageReport {
    /// How the image was proven, if it is ready.
    pub fn proof(&self) -> Option<Proof> {
        self.lease().map(Lease::proof)
    }

    fn lease(&self) -> Option<&Lease> {
        match &self.state {
            ImageState::Ready(lease) => Some(lease),
            _ => None,
        }
    }

    /// Which image it is or will be, as far as that is known.
    pub fn key(&self) -> Option<ImageKey> {
        if let Some(lease) = self.lease() {
            return Some(lease.key().clone());
        }
        Some(ImageKey { os_build: self.os_build.clone()?, arch: self.desired.arch?, kind: self.desired.kind })
    }
}

/// Where the entries of the list of desired images come from, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListReport {
    /// How many are from the environment.
    pub of_environment: usize,
    /// How many are from a feed that may change.
    pub of_feed: usize,
    /// Why the newest list is not the one in use; holds no secret.
    pub problem: Option<String>,
    /// Whether there is more to come: what is not known yet may be asked for all the same.
    pub is_awaited: bool,
}

/// What the entries want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedImages {
    /// The images, each with the highest OpenShift version of the entries that share it.
    pub images: BTreeMap<ImageKey, OpenshiftVersion>,
    /// Whether no entry was passed over. One that was may want any image besides.
    pub is_all: bool,
}

/// The entries of this process, in memory.
#[derive(Debug, Default)]
pub struct Catalog {
    state: RwLock<State>,
    statistics: Statistics,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    entries: BTreeMap<EntryId, Entry>,
    retired: Vec<Found>,
    /// Every image that was here and is still alive.
    known: Vec<WeakLease>,
    settled: bool,
    list: ListReport,
}

#[derive(Debug)]
struct Entry {
    report: ImageReport,
    attempted: bool,
    /// Since when it has failed and nobody knows which image it will be.
    unresolved_since: Option<Instant>,
    /// Its rank among those of `OS_IMAGES`, the lowest first.
    order: u64,
    /// Whether it was taken away, and is here only until its successor is ready.
    is_leaving: bool,
    /// Whether somebody asked for it when it was not ready. Set while many read.
    requested: AtomicBool,
}

impl Catalog {
    /// Adds an entry, waiting.
    pub fn add(&self, desired: DesiredImage) -> EntryId {
        self.write().add(desired)
    }

    /// Takes an entry away, for good. Downloads of its image go on.
    ///
    /// If its image is ready, the names of the entry mean it until the entry that is to have them is ready, too. From then
    /// on it is retired.
    pub fn remove(&self, id: EntryId) {
        self.write().leave(id);
    }

    /// Says where an entry of `OS_IMAGES` stands among the others. Without this those count first that were added first.
    pub fn set_order(&self, id: EntryId, order: u64) {
        if let Some(entry) = self.write().entries.get_mut(&id) {
            entry.order = order;
        }
    }

    /// Replaces an entry whose architectures were unknown by one for each of them, at one instant.
    pub fn replace(&self, id: EntryId, desired: impl IntoIterator<Item = DesiredImage>) -> Vec<EntryId> {
        let mut state = self.write();
        let replaced = state.entries.remove(&id);
        let is_requested = replaced.is_some_and(|entry| entry.requested.into_inner());
        let ids: Vec<_> = desired.into_iter().map(|desired| state.add(desired)).collect();
        for entry in ids.iter().filter_map(|id| state.entries.get(id)).filter(|_| is_requested) {
            entry.requested.store(true, Ordering::Relaxed);
        }
        state.let_go();
        ids
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
        if matches!(new, ImageState::Failed { .. }) {
            entry.unresolved_since.get_or_insert_with(Instant::now);
        }
        let ready = match &new {
            ImageState::Ready(lease) => Some(lease.clone()),
            _ if entry.report.lease().is_some() => return,
            _ => None,
        };
        if let Some(lease) = &ready {
            entry.report.os_build = Some(lease.key().os_build.clone());
        }
        let before = std::mem::replace(&mut entry.report.state, new);
        if let ImageState::Ready(lease) = before {
            let openshift_version = Some(entry.report.desired.openshift_version.clone());
            state.retire(Found { lease, openshift_version });
        }
        if let Some(lease) = &ready {
            state.know(lease);
        }
        state.settled |= ready.is_some() || state.entries.values().all(|entry| entry.attempted);
        state.let_go();
    }

    /// Says that there is nothing to wait for: nothing is desired.
    pub fn settle(&self) {
        self.write().settled = true;
    }

    /// The image that an entry serves now.
    pub fn lease(&self, id: EntryId) -> Option<Lease> {
        self.read().entries.get(&id)?.report.lease().cloned()
    }

    /// Whether somebody has looked for the image of this entry when it was not ready.
    pub fn is_requested(&self, id: EntryId) -> bool {
        self.read().entries.get(&id).is_some_and(|entry| entry.requested.load(Ordering::Relaxed))
    }

    /// Says which images are served though nobody wants them any more, in place of those before.
    pub fn set_retired(&self, retired: Vec<Found>) {
        let mut state = self.write();
        for found in &retired {
            state.know(&found.lease);
        }
        state.retired = retired;
    }

    /// The same after the data directory was looked through. `wanted` is what [`Catalog::wanted`] said when that began:
    /// what was retired since then was not judged, and stays.
    pub fn replace_retired(&self, mut retired: Vec<Found>, wanted: &BTreeMap<ImageKey, OpenshiftVersion>) {
        let mut state = self.write();
        for found in &retired {
            state.know(&found.lease);
        }
        retired.extend(
            std::mem::take(&mut state.retired)
                .into_iter()
                .filter(|found| wanted.contains_key(found.lease.key())),
        );
        state.retired = retired;
    }

    /// The images that are served though nobody wants them any more.
    pub fn retired(&self) -> Vec<Found> {
        self.read().retired.clone()
    }

    /// Every image that the entries want, and the highest OpenShift version of those that share it.
    ///
    /// `None` as long as nobody can say: an entry was not tried yet, or it is not known which image it will be, or there
    /// are no entries and nobody has said that there will be none ([`Catalog::settle`]). An entry that has failed for
    /// `patience` without anybody knowing its image is passed over: see [`WantedImages::is_all`].
    pub fn wanted(&self, patience: Duration) -> Option<WantedImages> {
        let state = self.read();
        if state.entries.is_empty() && !state.settled {
            return None;
        }
        let (mut images, mut is_all) = (BTreeMap::new(), true);
        for Entry { report, attempted, unresolved_since, .. } in state.entries.values() {
            if matches!(report.state, ImageState::Unsupported { .. }) {
                continue;
            }
            let Some(key) = report.key().filter(|_| *attempted) else {
                is_all = false;
                if unresolved_since.is_some_and(|since| since.elapsed() >= patience) {
                    continue;
                }
                return None;
            };
            let version = images.entry(key).or_insert_with(|| report.desired.openshift_version.clone());
            if *version < report.desired.openshift_version {
                version.clone_from(&report.desired.openshift_version);
            }
        }
        Some(WantedImages { images, is_all })
    }

    /// How many images somebody is reading, or is about to: there are leases on them beside those of this catalog. One
    /// that was removed counts until its last download has ended, since its space is free only then.
    pub fn images_in_use(&self) -> usize {
        let state = self.read();
        let held = |image: &WeakLease| state.leases().filter(|lease| image.is_of(lease)).count();
        state.known.iter().filter(|image| image.count() > held(image)).count()
    }

    /// What was done for the entries since the service started.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Says where the entries of the list in use come from.
    pub fn set_list_entries(&self, of_environment: usize, of_feed: usize) {
        let mut state = self.write();
        (state.list.of_environment, state.list.of_feed) = (of_environment, of_feed);
    }

    /// Says why the newest list is not in use, or that it is.
    pub fn set_list_problem(&self, problem: Option<String>) {
        self.write().list.problem = problem;
    }

    /// Says whether the list is still to be read, in part or as a whole.
    pub fn set_list_awaited(&self, is_awaited: bool) {
        self.write().list.is_awaited = is_awaited;
    }

    /// What is known of the list of desired images.
    pub fn list(&self) -> ListReport {
        self.read().list.clone()
    }

    /// Whether at least one image was ready, or every first attempt had ended, at some time. It never becomes false again.
    pub fn is_settled(&self) -> bool {
        self.read().settled
    }

    /// Every entry.
    pub fn report(&self) -> Vec<ImageReport> {
        self.read().entries.values().map(|entry| entry.report.clone()).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, desired: DesiredImage) -> EntryId {
        let id = EntryId(self.next_id);
        self.next_id += 1;
        let report = ImageReport { desired, os_build: None, state: ImageState::Waiting };
        let (attempted, unresolved_since) = (false, None);
        let (is_leaving, requested) = (false, AtomicBool::new(false));
        let entry = Entry { report, attempted, unresolved_since, order: id.0, is_leaving, requested };
        self.entries.insert(id, entry);
        id
    }

    /// The leases that the catalog itself holds.
    fn leases(&self) -> impl Iterator<Item = &Lease> {
        let entries = self.entries.values().filter_map(|entry| entry.report.lease());
        entries.chain(self.retired.iter().map(|found| &found.lease))
    }

    fn know(&mut self, lease: &Lease) {
        self.known.retain(|image| image.count() > 0);
        if !self.known.iter().any(|image| image.is_of(lease)) {
            self.known.push(lease.downgrade());
        }
    }
}
