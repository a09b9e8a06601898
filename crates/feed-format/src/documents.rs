use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;

use crate::{
    Access, CONFIGURATION, MIRRORS, OS_IMAGES, PULL_SECRET, REGISTRIES_CONF, RELEASE_IMAGES, SecretText,
    TRUSTED_CA,
};

/// What a feed says, as text. `None` is what it does not say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// Under [`RELEASE_IMAGES`].
    pub release_images: Option<String>,
    /// Under [`OS_IMAGES`].
    pub os_images: Option<String>,
    /// Under all other keys.
    pub access: Access,
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URLs may hold secrets.
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}

impl Documents {
    /// Takes the document of each key from `get`.
    pub fn collect<E>(mut get: impl FnMut(&str) -> Result<Option<String>, E>) -> Result<Self, E> {
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

    /// Takes the documents from the entries of a ConfigMap and the pull secret of a Secret. A pull secret has no place in
    /// a ConfigMap, which more people can read; one that is there does not count.
    pub fn of_objects(mut config: BTreeMap<String, String>, pull_secret: Option<String>) -> Self {
        let mut pull_secret = pull_secret;
        let get = |key: &str| {
            Ok::<_, Infallible>(if key == PULL_SECRET { pull_secret.take() } else { config.remove(key) })
        };
        let Ok(documents) = Self::collect(get);
        documents
    }

    /// What is said under each of [`CONFIGURATION`]: the entries of a ConfigMap.
    pub fn configuration(&self) -> BTreeMap<&'static str, String> {
        let Self { release_images, os_images, access } = self;
        let Access { registries_conf, mirrors, trusted_ca, pull_secret: _ } = access;
        let documents = [release_images, os_images, registries_conf, mirrors, trusted_ca];
        let said = CONFIGURATION.into_iter().zip(documents);
        said.filter_map(|(key, text)| Some((key, text.clone()?))).collect()
    }

    /// The same, with what `other` says of that of which this says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Documents {
        let text = |text: &str| Some(text.to_owned());
        Documents {
            release_images: text("releases"),
            os_images: text("images"),
            access: Access {
                registries_conf: text("conf"),
                mirrors: text("mirrors"),
                trusted_ca: text("ca"),
                pull_secret: Some("secret".into()),
            },
        }
    }

    #[test]
    fn every_key_that_is_written_is_read_and_no_other() {
        let written = full().configuration();
        assert_eq!(written.keys().copied().collect::<Vec<_>>().len(), CONFIGURATION.len());
        assert!(!written.values().any(|text| text == "secret"), "{written:?}");
        let mut asked = Vec::new();
        let read = Documents::collect(|key| {
            asked.push(key.to_owned());
            let of_secret = (key == PULL_SECRET).then(|| "secret".to_owned());
            Ok::<_, Infallible>(written.get(key).cloned().or(of_secret))
        });
        assert_eq!(read, Ok(full()));
        asked.sort();
        let mut known = CONFIGURATION.to_vec();
        known.push(PULL_SECRET);
        known.sort_unstable();
        assert_eq!(asked, known);
    }

    #[test]
    fn a_pull_secret_in_a_config_map_does_not_count() {
        let owned = |(key, text): (&str, String)| (key.to_owned(), text);
        let mut config: BTreeMap<_, _> = full().configuration().into_iter().map(owned).collect();
        config.insert(PULL_SECRET.to_owned(), "public".to_owned());
        assert_eq!(Documents::of_objects(config.clone(), None).access.pull_secret, None);
        assert_eq!(Documents::of_objects(config, Some("secret".to_owned())), full());
    }

    #[test]
    fn what_is_not_said_is_taken_from_the_other() {
        let said = Documents { release_images: Some("mine".to_owned()), ..Documents::default() };
        let both = said.or(full());
        assert_eq!(both, Documents { release_images: Some("mine".to_owned()), ..full() });
    }
}
