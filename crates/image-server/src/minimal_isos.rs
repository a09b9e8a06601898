//! Minimal ISOs before they are customised, kept because a BMC reads each in thousands of ranges.

use coreos_names::Sha256;
use image_store::{ImageKey, Lease, NmstateArchive};
use live_iso::{Customization, MinimalIso, PlanError, RootfsUrl};

use crate::base_url::BaseUrl;
use crate::recent::Recent;
use crate::rejection::Rejection;
use crate::respond::KnownDigests;

/// How many are kept. Each holds the head of an ISO, some 100 to 300 KiB.
const MAX_KEPT: usize = 64;

/// What a minimal ISO depends on, beside the base URL, of which there is one.
#[derive(Debug, PartialEq)]
struct Key {
    image: ImageKey,
    sha256: Sha256,
    nmstate: Option<Sha256>,
}

/// A minimal ISO that is not customised yet.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) iso: MinimalIso,
    pub(crate) known: KnownDigests,
}

/// The latest minimal ISOs: making a head takes milliseconds, and a BMC reads the ISO in thousands of ranges.
#[derive(Debug)]
pub(crate) struct MinimalIsos(Recent<Key, Prepared>);

impl Default for MinimalIsos {
    fn default() -> Self {
        Self(Recent::new(MAX_KEPT))
    }
}

impl MinimalIsos {
    /// The minimal ISO of this image, for hosts that reach this service at `base_url`.
    pub(crate) async fn prepare(
        &self,
        lease: &Lease,
        nmstate: Option<&NmstateArchive>,
        base_url: &BaseUrl,
    ) -> Result<Prepared, Rejection> {
        let (image, sha256) = (lease.key().clone(), lease.sha256());
        let key = Key { image, sha256, nmstate: nmstate.map(NmstateArchive::sha256) };
        if let Some(prepared) = self.0.find(&key) {
            return Ok(prepared);
        }
        let rootfs_url = RootfsUrl::try_from(base_url.rootfs(lease.key().arch, &lease.key().os_build))?;
        let (lease, nmstate) = (lease.clone(), nmstate.map(NmstateArchive::len));
        let prepared = tokio::task::spawn_blocking(move || -> Result<Prepared, PlanError> {
            let iso = lease.layout().minimal(&rootfs_url, nmstate)?;
            let known = KnownDigests::of(&iso.plan(&Customization::default())?);
            Ok(Prepared { iso, known })
        });
        let prepared = prepared.await??;
        self.0.keep(key, prepared.clone());
        Ok(prepared)
    }
}
