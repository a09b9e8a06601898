//! The keys of a pull secret: `host[:port][/part of a repository]`, and what people write instead.

use std::fmt;

use crate::{Reference, RegistryHost};

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// `user@host` or `repository@digest`.
    #[error("is never used: there must be no @ in a key")]
    At,
    /// `host/repository:tag`.
    #[error("is never used: there must be no tag in a key")]
    Tag,
    /// `*.host`.
    #[error("is never used: there are no wildcards in keys")]
    Wildcard,
    /// No registry's name, such as a host without a dot.
    #[error(
        "is never used: a key is host[:port] or host[:port]/repository, such as quay.io or mirror.lab:5000/openshift"
    )]
    NotARegistry,
    /// `https://host/repository`.
    #[error(
        "begins with a scheme, so that it counts for the whole registry: leave out https:// if a part of it is meant"
    )]
    SchemeBeforeRepository,
    /// `host/`.
    #[error("ends with a slash, which oc never finds: leave it out")]
    TrailingSlash,
    /// Another key means the same registry or repository.
    #[error("means the same as another key, which counts")]
    Duplicate,
}

/// The form keys are looked up in, and what is wrong with the key all the same. An error says why it can never match.
pub(super) fn normalised(key: &str) -> Result<(String, Option<KeyProblem>), KeyProblem> {
    if key.contains('@') {
        return Err(KeyProblem::At);
    }
    if key.contains('*') {
        return Err(KeyProblem::Wildcard);
    }
    let (host, path, problem) = if let Some((_, rest)) = key.split_once("://") {
        // Of a URL only the host counts: `https://index.docker.io/v1/`.
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let api = matches!(path.trim_end_matches('/'), "" | "v1" | "v2");
        (host, "", (!api).then_some(KeyProblem::SchemeBeforeRepository))
    } else {
        let bare = key.trim_end_matches('/');
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        (host, path, (bare.len() < key.len()).then_some(KeyProblem::TrailingSlash))
    };
    let host: RegistryHost = host.parse().map_err(|_| KeyProblem::NotARegistry)?;
    if path.is_empty() {
        return Ok((host.to_string(), problem));
    }
    if path.contains(':') {
        return Err(KeyProblem::Tag);
    }
    let name = format!("{host}/{path}");
    // Whether a part of a repository's name is one, too; but for Docker Hub's `library/` nothing is added to it.
    name.parse::<Reference>().map_err(|_| KeyProblem::NotARegistry)?;
    Ok((name, problem))
}

/// A key made fit to be printed, with no user and password in it.
pub(super) fn shown(key: &str) -> String {
    let bare = key.rsplit_once('@').map_or(key, |(_, bare)| bare);
    let bare = bare.split(['?', '#']).next().unwrap_or_default();
    bare.chars().filter(|c| !c.is_control()).take(255).collect()
}

/// An entry of a pull secret that is not for an image, but may have been meant so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearMiss {
    /// The entry's key.
    pub key: String,
    /// What the image's registry or repository is called.
    pub wanted: String,
    /// Why the entry does not count for it.
    pub difference: Difference,
}

/// What keeps an entry of a pull secret from being for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Another port, or one where the image's registry has none, or none where it has one.
    Port,
    /// Another part of the same registry.
    Repository,
    /// It is for nothing, as it is written.
    Unusable(KeyProblem),
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, wanted, difference } = self;
        match difference {
            Difference::Port => {
                write!(f, "did you mean {wanted:?} by {key:?}? The port is part of a registry's name")
            }
            Difference::Repository => {
                write!(f, "{key:?} is for another part of that registry than {wanted:?}")
            }
            Difference::Unusable(problem) => {
                write!(f, "did you mean {wanted:?} by {key:?}? This key {problem}")
            }
        }
    }
}

impl NearMiss {
    /// Compares a key in its normal form with the image that it is not for.
    pub(super) fn of_entry(key: &str, reference: &Reference) -> Option<Self> {
        let (host, _) = key.split_once('/').unwrap_or((key, ""));
        let registry = reference.registry();
        let (wanted, difference) = if host == registry {
            (format!("{registry}/{}", reference.repository()), Difference::Repository)
        } else if without_port(host) == without_port(registry) {
            (registry.to_owned(), Difference::Port)
        } else {
            return None;
        };
        Some(Self { key: key.to_owned(), wanted, difference })
    }

    /// Compares a key that is never used, as it may be printed.
    pub(super) fn of_unused(key: &str, problem: KeyProblem, reference: &Reference) -> Option<Self> {
        let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
        let host = bare.split('/').next().unwrap_or_default();
        let name = without_port(reference.registry());
        let meant = match host.strip_prefix('*') {
            Some(domain) => !domain.is_empty() && name.ends_with(without_port(domain)),
            None => without_port(host).eq_ignore_ascii_case(name),
        };
        let wanted = reference.registry().to_owned();
        meant.then(|| Self { key: key.to_owned(), wanted, difference: Difference::Unusable(problem) })
    }

    /// The most telling first.
    pub(super) const fn rank(&self) -> u8 {
        match self.difference {
            Difference::Port => 0,
            Difference::Unusable(_) => 1,
            Difference::Repository => 2,
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyProblem, normalised, shown};

    #[test]
    fn keys_are_read_as_people_write_them() {
        for (key, normal, problem) in [
            ("quay.io", "quay.io", None),
            ("Registry.Lab:5000", "registry.lab:5000", None),
            ("quay.io/a/b", "quay.io/a/b", None),
            ("[fd00::1]:5000/a", "[fd00::1]:5000/a", None),
            ("https://index.docker.io/v1/", "docker.io", None),
            ("https://quay.io/v2/", "quay.io", None),
            ("http://mirror.lab:5000", "mirror.lab:5000", None),
            ("https://quay.io/a", "quay.io", Some(KeyProblem::SchemeBeforeRepository)),
            ("quay.io/", "quay.io", Some(KeyProblem::TrailingSlash)),
        ] {
            assert_eq!(normalised(key), Ok((normal.to_owned(), problem)), "{key}");
        }
    }

    #[test]
    fn keys_that_never_match_are_told_apart() {
        for (key, problem) in [
            ("u@quay.io", KeyProblem::At),
            ("https://u:p@quay.io/v1/", KeyProblem::At),
            ("quay.io/a@sha256:00", KeyProblem::At),
            ("quay.io/a:latest", KeyProblem::Tag),
            ("*.lab", KeyProblem::Wildcard),
            ("mirror", KeyProblem::NotARegistry),
            ("quay.io/A", KeyProblem::NotARegistry),
            ("quay.io/a?b", KeyProblem::NotARegistry),
            ("mirror.lab:port", KeyProblem::NotARegistry),
            ("", KeyProblem::NotARegistry),
            ("https://", KeyProblem::NotARegistry),
        ] {
            assert_eq!(normalised(key), Err(problem), "{key}");
        }
    }

    #[test]
    fn nothing_secret_of_a_key_is_shown() {
        assert_eq!(shown("https://u:hunter2@b.io/v1/?token=hunter2"), "b.io/v1/");
        assert_eq!(shown("quay.io\n"), "quay.io");
    }
}
