use std::fmt;
use std::str::FromStr;

use crate::host::is_dns_label;
use crate::reference::{checked_tag, is_path_component};
use crate::{Digest, InvalidDigest, InvalidReference, InvalidRegistryHost, Reference, RegistryHost};

/// Which images a rule is about: everything below `host[:port][/path]`, one tag or digest of a repository, or all
/// subdomains of a host, `*.host`, at any depth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Below(Location),
    Image {
        repository: Location,
        tag: Option<String>,
        digest: Option<Digest>,
    },
    /// The host with a dot before it.
    Subdomains(String),
}

/// A registry, or a part of one: `host[:port][/path]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    host: RegistryHost,
    /// Empty for the whole registry.
    path: String,
}

/// What of an image's name a [`Scope`] says nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remainder<'a> {
    /// With its colon.
    port: &'a str,
    path: &'a str,
}

impl Scope {
    /// How much it says. The most specific scope decides; of two that say as much the one that names its host.
    pub(crate) fn specificity(&self) -> (usize, bool) {
        (self.to_string().len(), !self.is_wildcard())
    }

    /// Whether it is for subdomains.
    pub const fn is_wildcard(&self) -> bool {
        matches!(self.0, Kind::Subdomains(_))
    }

    /// Which part of which registry it is; no part for subdomains.
    pub fn location(&self) -> Option<&Location> {
        match &self.0 {
            Kind::Below(location) | Kind::Image { repository: location, .. } => Some(location),
            Kind::Subdomains(_) => None,
        }
    }

    /// Whether it is for one tag or digest alone.
    pub const fn is_pinned(&self) -> bool {
        matches!(self.0, Kind::Image { .. })
    }

    /// Whether the same tag and digest are meant, or none by both.
    pub(crate) fn pins_like(&self, other: &Self) -> bool {
        self.pinned() == other.pinned()
    }

    /// The tag and the digest that it is about, if it is not about all.
    pub(crate) fn pinned(&self) -> (Option<&str>, Option<Digest>) {
        match &self.0 {
            Kind::Image { tag, digest, .. } => (tag.as_deref(), *digest),
            Kind::Below(_) | Kind::Subdomains(_) => (None, None),
        }
    }

    /// What follows the scope in an image's name, if it is about that image.
    ///
    /// A host without a port is about all of its ports. containers-registries.conf(5) calls that unintended, but this
    /// is how the file works.
    pub(crate) fn remainder<'r>(&self, reference: &'r Reference) -> Option<Remainder<'r>> {
        match &self.0 {
            Kind::Below(location) => location.remainder(reference),
            Kind::Image { repository, tag, digest } => {
                let tagged = tag.as_deref().is_none_or(|tag| reference.tag() == Some(tag));
                let digested = digest.is_none_or(|digest| reference.digest() == Some(digest));
                repository
                    .remainder(reference)
                    .filter(|remainder| tagged && digested && remainder.path.is_empty())
            }
            Kind::Subdomains(suffix) => {
                let (name, port) = reference.host().split_port();
                name.ends_with(suffix).then_some(Remainder { port, path: reference.repository() })
            }
        }
    }
}

impl Location {
    fn remainder<'r>(&self, reference: &'r Reference) -> Option<Remainder<'r>> {
        let repository = reference.repository();
        if self.path.is_empty() {
            let (name, port) = reference.host().split_port();
            if self.host == *reference.host() {
                Some(Remainder { port: "", path: repository })
            } else {
                (self.host.as_str() == name).then_some(Remainder { port, path: repository })
            }
        } else {
            let path = repository.strip_prefix(&self.path).filter(|_| self.host == *reference.host())?;
            let path = if path.is_empty() { path } else { path.strip_prefix('/')? };
            Some(Remainder { port: "", path })
        }
    }

    /// An image of a scope, at the place that this scope has here. A port that the scope says nothing of is kept if
    /// this is a bare host, and means nothing anywhere else.
    pub(crate) fn relocated(
        &self,
        reference: &Reference,
        remainder: Remainder<'_>,
    ) -> Result<Reference, InvalidReference> {
        let bare = self.path.is_empty() && self.host.split_port().1.is_empty();
        let host = if bare && !remainder.port.is_empty() {
            format!("{}{}", self.host, remainder.port).parse()?
        } else {
            self.host.clone()
        };
        let separator = if self.path.is_empty() || remainder.path.is_empty() { "" } else { "/" };
        reference.relocated(host, &format!("{}{separator}{}", self.path, remainder.path))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Below(location) => location.fmt(f),
            Kind::Subdomains(suffix) => write!(f, "*{suffix}"),
            Kind::Image { repository, tag, digest } => {
                repository.fmt(f)?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

/// The text is no part of a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScope {
    /// Nothing is there.
    #[error("empty")]
    Empty,
    /// A URL was given.
    #[error("a scheme is given: write host[:port][/path]")]
    Scheme,
    /// Credentials were given, which are not repeated.
    #[error("a user is given: write host[:port][/path], and credentials into the pull secret")]
    Credentials,
    /// `*` somewhere else than in front of a host, or where a place is needed.
    #[error(
        "invalid wildcard {0:?}: there is only *.host, without port or path, and only where images are chosen"
    )]
    Wildcard(String),
    /// The host is none.
    #[error(transparent)]
    Host(#[from] InvalidRegistryHost),
    /// Something behind the host is no part of a repository's name.
    #[error("invalid path {0:?}: expected lower-case letters and digits, with . _ - / between them")]
    Path(String),
    /// Something that looks like a tag and is none.
    #[error(transparent)]
    Tag(#[from] InvalidReference),
    /// Something that looks like a digest and is none.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// A tag or digest where a place is needed.
    #[error("{0:?} has a tag or digest: write host[:port][/path]")]
    Pinned(String),
}

impl InvalidScope {
    /// As much of a text as is repeated.
    const MAX_SHOWN: usize = 255;

    fn shown(text: &str) -> String {
        text.chars().take(Self::MAX_SHOWN).collect()
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let text = text.trim_end_matches('/');
        if text.is_empty() {
            return Err(InvalidScope::Empty);
        }
        if text.contains("://") {
            return Err(InvalidScope::Scheme);
        }
        let (host, rest) = text.split_once('/').unwrap_or((text, ""));
        if host.contains('@') {
            return Err(InvalidScope::Credentials);
        }
        if text.contains('*') {
            let labels = text.strip_prefix("*.").filter(|host| host.split('.').all(is_dns_label));
            let host = labels.ok_or_else(|| InvalidScope::Wildcard(InvalidScope::shown(text)))?;
            return Ok(Self(Kind::Subdomains(format!(".{}", host.to_ascii_lowercase()))));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(checked_tag(tag)?)),
            None => (rest, None),
        };
        let whole = !text.contains('/');
        if !whole && !path.split('/').all(is_path_component) {
            return Err(InvalidScope::Path(InvalidScope::shown(path)));
        }
        let location = Location { host: host.parse()?, path: path.to_owned() };
        Ok(Self(if tag.is_none() && digest.is_none() {
            Kind::Below(location)
        } else {
            Kind::Image { repository: location, tag, digest }
        }))
    }
}

impl FromStr for Location {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        match text.parse::<Scope>()?.0 {
            Kind::Below(location) => Ok(location),
            Kind::Image { .. } => Err(InvalidScope::Pinned(InvalidScope::shown(text))),
            Kind::Subdomains(_) => Err(InvalidScope::Wildcard(InvalidScope::shown(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidScope, Location, Scope};

    #[test]
    fn scopes_are_read_and_written() {
        let digest = format!("quay.io/a@sha256:{}", "0".repeat(64));
        for (text, shown) in [
            ("quay.io", "quay.io"),
            ("Quay.IO/a/b/", "quay.io/a/b"),
            ("mirror.lab:5000/a", "mirror.lab:5000/a"),
            ("[fd00:0::1]:5000/a", "[fd00::1]:5000/a"),
            ("*.Example.com", "*.example.com"),
            ("quay.io/a:v1", "quay.io/a:v1"),
            (&digest, &digest),
            ("index.docker.io/library", "docker.io/library"),
        ] {
            let scope: Scope = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(scope.to_string(), shown);
            assert_eq!(shown.parse(), Ok(scope));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "/",
            "a",
            "a/b",
            "https://quay.io",
            "user:password@quay.io/a",
            "quay.io//a",
            "quay.io/A",
            "quay.io/../a",
            "quay.io/a:",
            "quay.io/a@sha256:1",
            "quay.io/:v1",
            "*",
            "*.",
            "*.a/b",
            "*.a:5000",
            "a.*.b",
            "*.*.b",
            "quay.io/a b",
            "quay.io:0/a",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text:?}");
        }
        assert_eq!("user:password@quay.io/a".parse::<Scope>(), Err(InvalidScope::Credentials));
    }

    #[test]
    fn a_place_is_neither_a_wildcard_nor_one_image() {
        for text in ["*.quay.io", "quay.io/a:v1"] {
            assert!(text.parse::<Location>().is_err(), "{text:?}");
        }
    }
}
