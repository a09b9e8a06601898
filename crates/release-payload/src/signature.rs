//! Whether the publisher of a release vouches for it, before anything in it is believed.

use std::time::SystemTime;

use oci_registry::{Manifest, ManifestKind, Reference};
use release_signature::{SignaturePolicy, Verification};

use crate::error::Error;
use crate::payload::platforms;

/// Refuses a release image that the policy does not accept. `None` where there is no policy.
///
/// Of a multi payload a signature over the list will do, and so will one over the image of the list that is read: what
/// it states of all architectures is pinned by digest, so the list says nothing beyond it but which ones there are.
pub(crate) async fn verify(
    policy: Option<&SignaturePolicy>,
    pullspec: &Reference,
    manifest: &Manifest,
) -> Result<Option<Verification>, Error> {
    let Some(policy) = policy else { return Ok(None) };
    let mut digests = vec![manifest.digest.sha256()];
    if let ManifestKind::Index(index) = &manifest.kind {
        digests.extend(platforms(index).values().next().map(|image| image.digest.sha256()));
    }
    match policy.verify(&digests, SystemTime::now()).await {
        Ok(verification) => Ok(Some(verification)),
        Err(source) => Err(Error::NotVouchedFor { pullspec: pullspec.clone(), source: Box::new(source) }),
    }
}
