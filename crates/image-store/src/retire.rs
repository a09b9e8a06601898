//! Images that nobody wants any more: served for a while, then removed.
//!
//! A host that has booted a minimal ISO fetches the rest minutes later, so an image outlives the wish for it. For how long
//! nobody has wanted it is counted in its record, from one look to the next, and so survives a restart. Each look counts
//! the time since the one before, but never more than [`STEP_MAX`]: a clock that is set forward, or a service that was
//! down while hosts could not ask either, brings no image to its end early. A clock that is set back counts nothing once,
//! and goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coreos_names::{OpenshiftVersion, WithCauses};

use crate::catalog::Found;
use crate::error::Error;
use crate::index::{ImageRecord, ResolvedRelease, Unwanted};
use crate::key::ImageKey;
use crate::part;
use crate::staging_file;
use crate::store::{ImageStore, Inner};

/// Twice as long as it should be between two looks.
const STEP_MAX: Duration = Duration::from_hours(2);

/// What the configuration asks for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The images, each with the highest OpenShift version that wants it; see [`crate::Catalog::wanted`].
    pub images: BTreeMap<ImageKey, OpenshiftVersion>,
    /// Images that were wanted until now, each with the highest OpenShift version that wanted it.
    pub formerly: BTreeMap<ImageKey, OpenshiftVersion>,
    /// The release images, as the admin wrote them.
    pub releases: BTreeSet<String>,
    /// The names of downloads that may be gone on with.
    pub downloads: BTreeSet<String>,
}

impl ImageStore {
    /// Every image that the index knows and nobody has touched, but for those that nobody has wanted for `after`. What
    /// is wanted is among them: it is for the time before anybody can say so.
    pub fn known(&self, after: Duration) -> Result<Vec<Found>, Error> {
        let mut records = ImageRecord::all(&self.0)?;
        records.retain(|record| {
            !record.is_due(after)
                && record.path(&self.0).metadata().is_ok_and(|metadata| record.describes(&metadata))
        });
        Ok(records.iter().filter_map(|record| self.0.found(record)).collect())
    }

    /// Notes which images are wanted and for how long the others were not. Returns those of the latter for which that is
    /// less than `after`: they are still to be served. Should be called once an hour.
    ///
    /// Images that were there before are retired like ours.
    pub fn retire(&self, wanted: &Wanted, now: SystemTime, after: Duration) -> Result<Vec<Found>, Error> {
        let _lock = self.0.lock_index()?;
        let mut served = Vec::new();
        for mut record in ImageRecord::all(&self.0)? {
            let before = record.clone();
            if let Some(version) = wanted.images.get(&record.key) {
                record.openshift_version = Some(version.clone());
                record.unwanted = None;
            } else {
                if record.openshift_version.is_none() {
                    record.openshift_version = wanted.formerly.get(&record.key).cloned();
                }
                record.unwanted = Some(Unwanted::count(record.unwanted, now));
            }
            if record != before {
                record.write(&self.0)?;
            }
            if record.unwanted.is_some() && !record.is_due(after) {
                served.extend(self.0.found(&record));
            }
        }
        Ok(served)
    }

    /// Removes what nobody has wanted for `after`, as [`ImageStore::retire`] has counted it, and which nobody in this
    /// process has leased; so what is retired is first taken out of the catalog. Returns the images that were removed.
    ///
    /// With the images goes what was made of them. Of an image that we did not write and that no
    /// configuration has wanted since it was found only the record goes. Downloads
    /// that nobody is at and nobody wants are removed at once, records of releases with their last image.
    pub fn collect(&self, wanted: &Wanted, after: Duration) -> Result<Vec<ImageKey>, Error> {
        let _lock = self.0.lock_index()?;
        let (mut collected, mut kept) = (Vec::new(), Vec::new());
        for record in ImageRecord::all(&self.0)? {
            let is_due = record.is_due(after) && !wanted.images.contains_key(&record.key);
            if !is_due || self.0.is_leased(&record.key) {
                kept.push(record);
            } else if self.0.remove(&record)? {
                collected.push(record.key);
            }
        }
        self.0.remove_unwanted_nmstate(|iso| kept.iter().any(|record| record.sha256 == iso))?;
        ResolvedRelease::remove_unwanted(&self.0, &wanted.releases, &kept)?;
        part::remove_unwanted(&self.0, |name| wanted.downloads.contains(name))?;
        Ok(collected)
    }
}

impl Inner {
    /// The image of a record, if it can be served, with what was made of it before.
    fn found(&self, record: &ImageRecord) -> Option<Found> {
        let lease = self.open_recorded(record).unwrap_or_else(|error| {
            tracing::warn!(image.key = %record.key, error = %WithCauses(&error), "cannot serve an image that nobody wants");
            None
        })?;
        if let Err(error) = self.attach_nmstate(&lease) {
            tracing::warn!(image.key = %record.key, error = %WithCauses(&error), "cannot read the nmstate archive");
        }
        Some(Found { lease, openshift_version: record.openshift_version.clone() })
    }

    /// Removes an image of ours, and in any case its record. Returns whether there was one to remove.
    fn remove(&self, record: &ImageRecord) -> Result<bool, Error> {
        let path = record.path(self);
        // The bytes, not only the name, must be those that we wrote or took over.
        let is_ours = record.may_be_removed() && self.has_recorded_bytes(record)?;
        if is_ours {
            if !record.is_published {
                tracing::info!(path = %path.display(), "removing an image that was here before; it was wanted for a time, and nobody wants it any more");
            }
            staging_file::remove(&path)?;
            staging_file::sync_directory(&self.data_dir)?;
        } else if path.exists() {
            tracing::info!(path = %path.display(), "nobody wants the image; it was neither written nor ever wanted by this service and stays");
        }
        // After the file: without its record it would never be known as ours again.
        record.remove(self)?;
        Ok(is_ours)
    }
}

impl ImageRecord {
    fn is_due(&self, after: Duration) -> bool {
        self.unwanted.is_some_and(|unwanted| Duration::from_secs(unwanted.seconds) >= after)
    }
}

impl Unwanted {
    fn count(before: Option<Self>, now: SystemTime) -> Self {
        let counted_at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seconds = before.map_or(0, |before| {
            let step = counted_at.saturating_sub(before.counted_at).min(STEP_MAX.as_secs());
            before.seconds.saturating_add(step)
        });
        Self { seconds, counted_at }
    }
}
