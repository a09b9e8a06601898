mod grammar;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use grammar::{checked_repository, shortened};
pub(crate) use grammar::{checked_tag, is_path_component};

use crate::host::looks_like_host;
use crate::{Digest, InvalidDigest, InvalidRegistryHost, RegistryHost};

/// Where an image is: `host[:port]/repository[:tag][@sha256:…]` in a registry, `file:///folder[:tag][@sha256:…]` on
/// disk.
///
/// The host must be written out and no scheme may stand before it. Without tag and digest the tag is `latest`. With
/// both, the digest decides what is fetched and the tag is only carried along.
///
/// On disk the absolute path is the repository, and the registry is called `file://`. What lies there is found out when
/// it is asked for. skopeo's spellings `oci:/folder:tag` and `dir:/folder` mean the same place. Without tag and digest
/// there is none of either: which image is meant depends on what lies there. Nothing in the path is an escape; only its
/// last part must have no `:` and no `@`, which begin tag and digest.
///
/// oci-spec's type was looked at: it reads no IPv6 address, its constructors check nothing and its digest is a string.
///
/// ```
/// use oci_registry::Reference;
///
/// let release: Reference = "quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64".parse()?;
/// assert_eq!(release.registry(), "quay.io");
/// assert_eq!(release.repository(), "openshift-release-dev/ocp-release");
/// assert_eq!(release.tag(), Some("4.18.52-x86_64"));
/// # Ok::<(), oci_registry::InvalidReference>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: RegistryHost,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    pub(crate) const DEFAULT_TAG: &str = "latest";

    /// The registry, `host[:port]`, or `file://`.
    pub fn registry(&self) -> &str {
        self.host.as_str()
    }

    /// The registry as a type. For images on disk it is one that nothing configured is about.
    pub const fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// The repository within the registry. On disk, the absolute path.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The path, if the image is on disk and in no registry.
    pub fn path(&self) -> Option<&Path> {
        self.host.is_file_system().then(|| Path::new(&self.repository))
    }

    /// The tag, if one is given or implied. Fetching looks at it only if there is no digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one is given.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository at this digest, and at no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository at this tag, and at no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, InvalidReference> {
        Ok(Self { tag: Some(checked_tag(tag)?), digest: None, ..self.clone() })
    }

    /// Another repository of the same registry, or another path on disk, at the same tag and digest.
    pub fn with_repository(&self, repository: &str) -> Result<Self, InvalidReference> {
        Ok(Self { repository: checked_repository(&self.host, repository)?, ..self.clone() })
    }

    /// Stands for a registry where a reference is needed. What it names there is never asked for.
    pub(crate) fn of_registry(host: &RegistryHost) -> Self {
        Self { host: host.clone(), repository: String::new(), tag: None, digest: None }
    }

    /// A repository of any registry, at the same tag and digest.
    pub(crate) fn relocated(&self, host: RegistryHost, repository: &str) -> Result<Self, InvalidReference> {
        let repository = checked_repository(&host, repository)?;
        Ok(Self { host, repository, ..self.clone() })
    }

    /// Reads what stands behind `file://`, `oci:` or `dir:`.
    fn on_disk(text: &str) -> Result<Self, InvalidReference> {
        let (folders, last) = text.split_at(text.rfind('/').map_or(0, |slash| slash + 1));
        let (last, digest) = match last.split_once('@') {
            Some((last, digest)) => (last, Some(digest.parse()?)),
            None => (last, None),
        };
        let (last, tag) = match last.split_once(':') {
            Some((last, tag)) => (last, Some(checked_tag(tag)?)),
            None => (last, None),
        };
        let host = RegistryHost::file_system();
        let repository = checked_repository(&host, &format!("{folders}{last}"))?;
        Ok(Self { host, repository, tag, digest })
    }

    /// What the manifest is asked for by: the digest, else the tag.
    pub(crate) fn manifest_name(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => Self::DEFAULT_TAG.to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path() {
            Some(_) => write!(f, "{}{}", self.host, self.repository)?,
            None => write!(f, "{}/{}", self.host, self.repository)?,
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The text refers to no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidReference {
    /// A URL was given.
    #[error("an image reference has no scheme: remove {0:?} from its front")]
    Scheme(String),
    /// No host at the front.
    #[error("image reference {0:?} names no registry: begin with its host, as in quay.io/organisation/image")]
    NoRegistry(String),
    /// Something at the front that looks like a host and is none.
    #[error(transparent)]
    Registry(#[from] InvalidRegistryHost),
    /// Not a repository name, or too long a one.
    #[error("invalid repository {0:?}: expected lower-case letters and digits, with . _ - / between them")]
    Repository(String),
    /// A relative path. `oc` prints `file://` so, and means what is in the directory that it was told.
    #[error(
        "{0:?} must be followed by an absolute path, as in file:///mnt/mirror/openshift/release:4.18.52-x86_64"
    )]
    RelativePath(&'static str),
    /// A path that is none, or could be written in two ways.
    #[error(
        "invalid path {0:?}: expected names without control characters, none of them .., no : or @ in the last"
    )]
    Path(String),
    /// Something of containers' that is neither a registry nor a folder.
    #[error("{0:?} is not read: copy it into a folder, as with skopeo copy --all {0}… dir:/folder")]
    NotAFolder(&'static str),
    /// Not a tag.
    #[error("invalid tag {0:?}: expected up to 128 letters, digits, and . _ - after the first")]
    Tag(String),
    /// Not a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        for scheme in FOLDERS {
            match text.strip_prefix(scheme) {
                Some(path) if path.starts_with('/') => return Self::on_disk(path),
                Some(path) if !is_port(path) => return Err(InvalidReference::RelativePath(scheme)),
                _ => {}
            }
        }
        for scheme in NO_FOLDERS {
            if text.strip_prefix(scheme).is_some_and(|rest| !is_port(rest)) {
                return Err(InvalidReference::NotAFolder(scheme));
            }
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(InvalidReference::Scheme(format!("{}://", shortened(scheme))));
        }
        let no_registry = || InvalidReference::NoRegistry(shortened(text));
        let (first, rest) = text.split_once('/').ok_or_else(no_registry)?;
        if !looks_like_host(first) {
            return Err(no_registry());
        }
        let host: RegistryHost = first.parse()?;

        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (repository, tag) = match name.split_once(':') {
            Some((repository, tag)) => (repository, Some(checked_tag(tag)?)),
            None if digest.is_none() => (name, Some(Self::DEFAULT_TAG.to_owned())),
            None => (name, None),
        };
        let repository = checked_repository(&host, repository)?;
        Ok(Self { host, repository, tag, digest })
    }
}

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What images on disk begin with.
const FOLDERS: [&str; 3] = ["file://", "oci:", "dir:"];
/// What containers' tools read beside folders and registries.
const NO_FOLDERS: [&str; 4] = ["oci-archive:", "docker-archive:", "docker-daemon:", "containers-storage:"];

/// A registry may be called `oci:5000`.
fn is_port(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
