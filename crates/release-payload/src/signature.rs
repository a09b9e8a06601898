//! Whether the publisher of a release vouches for it, before anything in it is believed.

use std::time::SystemTime;

use oci_registry::{Digest, Reference};
use release_signature::{SignaturePolicy, Verification};

use crate::error::Error;

/// Refuses a release image that the policy does not accept. `None` where there is no policy.
///
/// Of a multi payload a signature over the list will do, and so will one over `child`, the image of the list that is
/// read, and no other: what it states of all architectures is pinned by digest, so the list says nothing beyond it but
/// which ones there are.
pub(crate) async fn verify(
    policy: Option<&SignaturePolicy>,
    pullspec: &Reference,
    digest: Digest,
    child: Option<Digest>,
) -> Result<Option<Verification>, Error> {
    let Some(policy) = policy else { return Ok(None) };
    let digests: Vec<_> = [Some(digest), child].into_iter().flatten().map(Digest::sha256).collect();
    match policy.verify(&digests, SystemTime::now()).await {
        Ok(verification) => Ok(Some(verification)),
        Err(source) => Err(Error::NotVouchedFor { pullspec: pullspec.clone(), source: Box::new(source) }),
    }
}
