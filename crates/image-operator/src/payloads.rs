//! Reading what release images say of themselves, by the registry client that the image service uses.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coreos_names::WithCauses;
use oci_registry::{Config, Mirrors, PullSecret, RegistriesConf, Registry};
use release_payload::{Payload, Reference, mirror_sets};
use secrecy::ExposeSecret;

use crate::feed::{Access, REGISTRIES_CONF};
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
}

impl RegistryPayloads {
    /// Everything about registries that the cluster does not say: insecure ones, CAs from a file, the user agent.
    pub const fn new(config: Config) -> Self {
        Self { config }
    }
}

impl Payloads for RegistryPayloads {
    fn reader(&self, access: &Access) -> Result<Arc<dyn PayloadReader>, String> {
        let mut config = self.config.clone();
        if let Some(secret) = &access.pull_secret {
            config.credentials =
                PullSecret::parse(secret.expose_secret()).map_err(|error| error.to_string())?.into();
        }
        config.mirrors = mirrors(access)?;
        if let Some(trusted) = &access.trusted_ca {
            let mut pem = config.trusted_ca_pem.take().unwrap_or_default();
            pem.extend_from_slice(b"\n");
            pem.extend_from_slice(trusted.as_bytes());
            config.trusted_ca_pem = Some(pem);
        }
        let registry = Registry::new(config).map_err(|error| WithCauses(&error).to_string())?;
        Ok(Arc::new(RegistryReader(registry)))
    }
}

/// As the image service reads the same two texts: what registries.conf says of a place goes first.
fn mirrors(access: &Access) -> Result<Mirrors, String> {
    let conf = access.registries_conf.as_deref().unwrap_or_default();
    let conf =
        RegistriesConf::parse(REGISTRIES_CONF, conf).map_err(|error| WithCauses(&error).to_string())?;
    let sets = mirror_sets::parse(access.mirrors.as_deref().unwrap_or_default())
        .map_err(|error| WithCauses(&error).to_string())?;
    Ok(Mirrors::new(conf.into_rules().chain(sets)))
}

struct RegistryReader(Registry);

#[async_trait]
impl PayloadReader for RegistryReader {
    async fn read(&self, pullspec: &Reference) -> Result<Facts, Unread> {
        let payload = tokio::time::timeout(LONGEST_READ, Payload::resolve(&self.0, pullspec, None))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirrors_of_the_cluster_are_used() {
        let access = Access {
            registries_conf: Some(
                "[[registry]]\nlocation = \"a.example.com/x\"\n[[registry.mirror]]\nlocation = \"m1.example.com/x\"\n".to_owned(),
            ),
            mirrors: Some(
                "apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata: {name: m}\nspec:\n  imageDigestMirrors:\n  - {source: b.example.com/y, mirrors: [m2.example.com/y]}\n"
                    .to_owned(),
            ),
            ..Access::default()
        };
        let mirrors = mirrors(&access).unwrap();
        let digest = format!("sha256:{}", "0".repeat(64));
        for (image, first) in
            [("a.example.com/x/z", "m1.example.com"), ("b.example.com/y/z", "m2.example.com")]
        {
            let sources = mirrors.pull_sources(&format!("{image}@{digest}").parse().unwrap()).unwrap();
            assert_eq!(sources[0].reference.registry(), first);
        }
        assert!(
            super::mirrors(&Access { mirrors: Some("kind: [".to_owned()), ..Access::default() }).is_err()
        );
        assert!(super::mirrors(&Access::default()).unwrap().is_empty());
    }
}
