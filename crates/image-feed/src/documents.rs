//! What a feed holds, as text: the keys of its ConfigMap and Secret, or the files of its directory.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

/// The name of the ConfigMap and of the Secret.
pub const FEED_NAME: &str = "coreos-image-service-feed";
/// The key with the releases, in the format of `RELEASE_IMAGES`.
pub const RELEASE_IMAGES: &str = "release-images.json";
/// The key with images by URL, in the format of `OS_IMAGES`.
pub const OS_IMAGES: &str = "os-images.json";
/// The key with a registries.conf(5), version 2.
pub const REGISTRIES_CONF: &str = "registries.conf";
/// The key with OpenShift's mirror sets.
pub const MIRRORS: &str = "mirrors.yaml";
/// The key with CAs that are trusted for registries beside the others, as PEM.
pub const TRUSTED_CA: &str = "ca.crt";
/// The key with the pull secret, the only one of the Secret.
pub const PULL_SECRET: &str = ".dockerconfigjson";
/// The keys of the ConfigMap.
pub const CONFIGURATION: [&str; 5] = [RELEASE_IMAGES, OS_IMAGES, REGISTRIES_CONF, MIRRORS, TRUSTED_CA];

/// What a feed says. `None` is what it does not say.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Documents {
    pub(crate) release_images: Option<String>,
    pub(crate) os_images: Option<String>,
    pub(crate) access: Access,
}

/// What a feed says of how registries are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) registries_conf: Option<String>,
    pub(crate) mirrors: Option<String>,
    pub(crate) trusted_ca: Option<String>,
    pub(crate) pull_secret: Option<SecretText>,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs may hold secrets.
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}

impl Documents {
    /// Takes the document of each key from `get`.
    pub(crate) fn collect<E>(mut get: impl FnMut(&str) -> Result<Option<String>, E>) -> Result<Self, E> {
        Ok(Self {
            release_images: get(RELEASE_IMAGES)?,
            os_images: get(OS_IMAGES)?,
            access: Access {
                registries_conf: get(REGISTRIES_CONF)?,
                mirrors: get(MIRRORS)?,
                trusted_ca: get(TRUSTED_CA)?,
                pull_secret: get(PULL_SECRET)?.map(SecretText::new),
            },
        })
    }

    /// The same, with what `other` says of that of which this says nothing.
    pub(crate) fn or(self, other: Self) -> Self {
        let (access, of_other) = (self.access, other.access);
        Self {
            release_images: self.release_images.or(other.release_images),
            os_images: self.os_images.or(other.os_images),
            access: Access {
                registries_conf: access.registries_conf.or(of_other.registries_conf),
                mirrors: access.mirrors.or(of_other.mirrors),
                trusted_ca: access.trusted_ca.or(of_other.trusted_ca),
                pull_secret: access.pull_secret.or(of_other.pull_secret),
            },
        }
    }

    /// What is said under each of [`CONFIGURATION`].
    pub(crate) fn configuration(&self) -> BTreeMap<String, String> {
        let Self { release_images, os_images, access } = self;
        let Access { registries_conf, mirrors, trusted_ca, pull_secret: _ } = access;
        let documents = [release_images, os_images, registries_conf, mirrors, trusted_ca];
        let said = CONFIGURATION.into_iter().zip(documents);
        said.filter_map(|(key, text)| Some((key.to_owned(), text.clone()?))).collect()
    }
}

/// Text that can be compared, but not printed.
#[derive(Clone)]
pub(crate) struct SecretText(SecretString);

impl SecretText {
    pub(crate) fn new(text: String) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for SecretText {}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}
