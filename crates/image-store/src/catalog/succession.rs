//! What becomes of an entry that is taken away.
//!
//! Somebody may be at its image, and its names may be another entry's by now which has nothing to serve yet. So an entry
//! with a ready image stays until its heir is ready: the entry that would own its OpenShift version if everything were.
//! Then its image is retired: it answers to its build, until the collector judges it.

use coreos_names::OpenshiftVersion;

use super::{Entry, EntryId, Found, ImageReport, ImageState, State};
use crate::key::ImageKey;

impl State {
    /// Takes an entry away, as soon as nobody needs it.
    pub(super) fn leave(&mut self, id: EntryId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.is_leaving = true;
        }
        self.let_go();
    }

    /// Lets the entries go that were taken away and whose successors are ready, or that have none. To be called after
    /// every change.
    pub(super) fn let_go(&mut self) {
        let leaving = self.entries.iter().filter(|(_, entry)| entry.is_leaving);
        let gone: Vec<EntryId> =
            leaving.filter(|(_, entry)| !self.is_needed(entry)).map(|(id, _)| *id).collect();
        for id in gone {
            let Some(ImageReport { desired, state, .. }) = self.entries.get(&id).map(|entry| &entry.report)
            else {
                continue;
            };
            let ImageState::Ready(lease) = state.clone() else {
                self.entries.remove(&id);
                continue;
            };
            tracing::info!(
                openshift.version = %desired.openshift_version, image.key = %lease.key(),
                "the image is no longer asked for under this version; it answers to its build for now"
            );
            let openshift_version = self.highest_version(lease.key());
            self.entries.remove(&id);
            self.retire(Found { lease, openshift_version });
        }
        let mut entries = self.entries.values().peekable();
        self.settled |= entries.peek().is_some() && entries.all(|entry| entry.attempted);
    }

    /// Whether the entry has something to serve, and its heir has not.
    fn is_needed(&self, leaving: &Entry) -> bool {
        let desired = &leaving.report.desired;
        let is_heir = |entry: &&Entry| {
            let other = &entry.report.desired;
            !entry.is_leaving
                && !matches!(entry.report.state, ImageState::Unsupported { .. })
                && entry.has_name(&desired.openshift_version)
                && other.kind == desired.kind
                && (other.arch.is_none() || other.arch == desired.arch)
        };
        let heirs = self.entries.values().filter(is_heir);
        let heir = heirs.max_by(|one, other| one.rank().cmp(&other.rank()));
        leaving.report.lease().is_some() && heir.is_some_and(|heir| heir.report.lease().is_none())
    }

    /// Serves an image by its build, unless an entry serves it.
    pub(super) fn retire(&mut self, found: Found) {
        let key = found.lease.key();
        let is_key = |other: Option<&crate::Lease>| other.is_some_and(|other| other.key() == key);
        let is_served = self.entries.values().any(|entry| is_key(entry.report.lease()))
            || self.retired.iter().any(|other| is_key(Some(&other.lease)));
        if !is_served {
            self.retired.push(found);
        }
    }

    /// The highest OpenShift version of the entries that share an image.
    pub(super) fn highest_version(&self, key: &ImageKey) -> Option<OpenshiftVersion> {
        let reports = self.entries.values().map(|entry| &entry.report);
        let sharing = reports.filter(|report| report.key().as_ref() == Some(key));
        sharing.map(|report| &report.desired.openshift_version).max().cloned()
    }
}
