//! Which images were stated by a release whose signature was verified, and under which keyrings.
//!
//! An image is the same whoever vouches for it, but where the admin asks for signatures, one that an unsigned release has
//! brought earlier is not to be handed out.

use std::collections::BTreeSet;

use coreos_names::Sha256;

use crate::error::Error;
use crate::index::ImageRecord;
use crate::key::ImageKey;
use crate::proof::Proof;
use crate::store::ImageStore;

impl ImageStore {
    /// Remembers the keyrings, by their fingerprints, under which a release that states this image was verified.
    pub fn note_verified(
        &self,
        key: &ImageKey,
        sha256: Sha256,
        keyrings: &BTreeSet<Sha256>,
    ) -> Result<(), Error> {
        let _lock = self.0.lock_index()?;
        match ImageRecord::read(&self.0, key)? {
            Some(mut record) if record.sha256 == sha256 && record.verified_by != *keyrings => {
                record.verified_by.clone_from(keyrings);
                record.write(&self.0)
            }
            _ => Ok(()),
        }
    }

    /// The images that were brought by a release which was not verified under all of these keyrings.
    pub fn unverified(&self, keyrings: &BTreeSet<Sha256>) -> Result<BTreeSet<ImageKey>, Error> {
        let records = ImageRecord::all(&self.0)?.into_iter();
        let unverified = records
            .filter(|record| record.proof == Proof::Digest && !keyrings.is_subset(&record.verified_by));
        Ok(unverified.map(|record| record.key).collect())
    }
}
