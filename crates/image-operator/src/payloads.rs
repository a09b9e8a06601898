//! Reading what release images say of themselves, by the registry client that the image service uses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coreos_names::WithCauses;
use feed_format::Access;
use oci_registry::{Config, Registry};
use release_payload::{Payload, Reference};
use release_signature::SignaturePolicy;

use crate::select::Facts;

/// A release image's metadata is a few MiB; a registry that takes longer is asked again later.
const LONGEST_READ: Duration = Duration::from_mins(3);

/// Where release images are read from. A trait, so that a hub's hundreds of releases need no registry in a test.
pub trait Payloads: Send + Sync {
    /// A reader for this way to reach registries; or why there is none.
    fn reader(&self, access: &Access) -> Result<Arc<dyn PayloadReader>, String>;
}

/// Reads release images.
#[async_trait]
pub trait PayloadReader: Send + Sync {
    /// What a release image says of itself, every byte verified.
    async fn read(&self, pullspec: &Reference) -> Result<Facts, Unread>;
}

/// A release image could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Why, for people. Never with secrets in it.
    pub message: String,
    /// Whether it lies in the release image itself, so that trying again soon is of no use.
    pub is_content: bool,
}

/// Release images in registries.
#[derive(Clone, Debug)]
pub struct RegistryPayloads {
    config: Config,
    signatures: Option<SignaturePolicy>,
}

impl RegistryPayloads {
    /// Everything about registries that the cluster does not say: insecure ones, CAs from a file, the user agent; and
    /// whose signature a release must carry, if any.
    pub const fn new(config: Config, signatures: Option<SignaturePolicy>) -> Self {
        Self { config, signatures }
    }
}

impl Payloads for RegistryPayloads {
    fn reader(&self, access: &Access) -> Result<Arc<dyn PayloadReader>, String> {
        // As the image service reads the same texts.
        let config = access.added_to(self.config.clone()).map_err(|problems| problems.join("; "))?;
        let registry = Registry::new(config).map_err(|error| WithCauses(&error).to_string())?;
        Ok(Arc::new(RegistryReader { registry, signatures: self.signatures.clone() }))
    }
}

struct RegistryReader {
    registry: Registry,
    signatures: Option<SignaturePolicy>,
}

#[async_trait]
impl PayloadReader for RegistryReader {
    async fn read(&self, pullspec: &Reference) -> Result<Facts, Unread> {
        let payload = Payload::resolve(&self.registry, pullspec, self.signatures.as_ref());
        let payload = tokio::time::timeout(LONGEST_READ, payload)
            .await
            .map_err(|_| Unread {
                message: format!("{} did not finish within {LONGEST_READ:?}", pullspec.registry()),
                is_content: false,
            })?
            .map_err(|error| Unread {
                message: WithCauses(&error).to_string(),
                is_content: error.is_content(),
            })?;
        let builds = payload
            .arches()
            .iter()
            .filter_map(|&arch| Some((arch, payload.boot_image(arch)?.os_build.clone())));
        Ok(Facts {
            version: payload.version().clone(),
            arches: payload.arches().iter().copied().collect(),
            os_builds: builds.collect(),
        })
    }
}
