use std::fmt;
use std::path::Path;
use std::str::FromStr;

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
    /// The distribution specification's limit for host and repository together.
    const MAX_NAME_LEN: usize = 255;
    /// The distribution specification's limit.
    const MAX_TAG_LEN: usize = 128;
    pub(crate) const DEFAULT_TAG: &str = "latest";
    /// What Linux accepts, less what is put below it.
    const MAX_PATH_LEN: usize = 3072;

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

/// An absolute path, each name of it after one `/`.
fn checked_path(path: &str) -> Result<String, InvalidReference> {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    let normal: String = names.clone().flat_map(|name| ["/", name]).collect();
    let valid = path.starts_with('/')
        && (1..=Reference::MAX_PATH_LEN).contains(&normal.len())
        && !normal.contains(char::is_control)
        && names.clone().all(|name| name != "..")
        && !names.next_back().unwrap_or_default().contains([':', '@']);
    if valid { Ok(normal) } else { Err(InvalidReference::Path(shortened(path))) }
}

/// Docker Hub keeps its official images under `library/`, which nobody writes.
fn checked_repository(host: &RegistryHost, repository: &str) -> Result<String, InvalidReference> {
    if host.is_file_system() {
        return checked_path(repository);
    }
    let repository = if host.is_docker_hub() && !repository.contains('/') {
        format!("library/{repository}")
    } else {
        repository.to_owned()
    };
    let short = host.as_str().len() + 1 + repository.len() <= Reference::MAX_NAME_LEN;
    if short && repository.split('/').all(is_path_component) {
        Ok(repository)
    } else {
        Err(InvalidReference::Repository(shortened(&repository)))
    }
}

/// Runs of letters and digits with one separator between each: `.`, `_`, `__` or any number of `-`.
pub(crate) fn is_path_component(component: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator =
        |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-');
    let bytes = component.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.split(is_word).all(is_separator)
}

pub(crate) fn checked_tag(tag: &str) -> Result<String, InvalidReference> {
    let valid = (1..=Reference::MAX_TAG_LEN).contains(&tag.len())
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !tag.starts_with(['.', '-']);
    if valid { Ok(tag.to_owned()) } else { Err(InvalidReference::Tag(shortened(tag))) }
}

fn shortened(text: &str) -> String {
    text.chars().take(Reference::MAX_NAME_LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::{InvalidReference, Reference};
    use crate::Digest;
    use proptest::prelude::*;

    fn reference(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn references_found_in_the_field_are_read() {
        let digest = Digest::of(b"manifest");
        for (text, registry, repository, tag, digested) in [
            ("quay.io/a/b:4.18.52-x86_64", "quay.io", "a/b", Some("4.18.52-x86_64"), false),
            (
                "mirror.lab:8443/openshift/release-images",
                "mirror.lab:8443",
                "openshift/release-images",
                Some("latest"),
                false,
            ),
            (&format!("quay.io/a/b@{digest}"), "quay.io", "a/b", None, true),
            (&format!("[fd00::1]:5000/a/b:t@{digest}"), "[fd00::1]:5000", "a/b", Some("t"), true),
            ("localhost/a__b.c--d", "localhost", "a__b.c--d", Some("latest"), false),
            ("docker.io/ubuntu", "docker.io", "library/ubuntu", Some("latest"), false),
            ("index.docker.io/a/b", "docker.io", "a/b", Some("latest"), false),
        ] {
            let reference = reference(text);
            assert_eq!(reference.registry(), registry);
            assert_eq!(reference.repository(), repository);
            assert_eq!(reference.tag(), tag);
            assert_eq!(reference.digest(), digested.then_some(digest));
        }
    }

    #[test]
    fn a_scheme_is_refused_without_repeating_what_follows() {
        let error = "https://user:secret@quay.io/a".parse::<Reference>().unwrap_err();
        assert_eq!(error, InvalidReference::Scheme("https://".to_owned()));
    }

    #[test]
    fn a_registry_is_never_guessed() {
        for text in ["", "ubuntu", "ubuntu:22.04", "openshift/release:4.18", "/a/b"] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(matches!(error, InvalidReference::NoRegistry(_)), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        let long = format!("quay.io/{}", "a".repeat(250));
        for text in [
            "quay.io/",
            "quay.io//a",
            "quay.io/a/",
            "quay.io/A",
            "quay.io/a..b",
            "quay.io/a___b",
            "quay.io/-a",
            "quay.io/a.",
            "quay.io/../a",
            "quay.io/a:",
            "quay.io/a:.b",
            "quay.io/a:b:c",
            "quay.io/a@",
            "quay.io/a@sha256:12",
            "quay.io/a@sha512:12",
            "quay.io/a b",
            "quay.io/a?b",
            "quay.io:x/a",
            "a.b-/c",
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_reference_is_moved_within_its_registry() {
        let digest = Digest::of(b"manifest");
        let release = reference("mirror.lab:5000/ocp/release-images:4.18.52-x86_64");
        assert_eq!(
            release.with_digest(digest).to_string(),
            format!("mirror.lab:5000/ocp/release-images@{digest}")
        );
        assert_eq!(release.with_repository("ocp/release").unwrap().repository(), "ocp/release");
        assert!(release.with_repository("ocp/../release").is_err());
        assert_eq!(
            release.with_digest(digest).with_tag("t").unwrap().to_string(),
            "mirror.lab:5000/ocp/release-images:t"
        );
        assert!(release.with_tag("t/../../x").is_err());
    }

    #[test]
    fn folders_are_read_in_the_words_of_the_tools_that_write_them() {
        let digest = Digest::of(b"manifest");
        for (text, path, tag, digested) in [
            (
                "file:///mnt/mirror/openshift/release:4.18.52-x86_64",
                "/mnt/mirror/openshift/release",
                Some("4.18.52-x86_64"),
                false,
            ),
            (&format!("file:///mnt/mirror@{digest}"), "/mnt/mirror", None, true),
            (&format!("oci:/mnt/layout:t@{digest}"), "/mnt/layout", Some("t"), true),
            ("oci:/mnt/layout", "/mnt/layout", None, false),
            ("oci:///mnt//a b:c/./Ünd@/layout/:4.18", "/mnt/a b:c/Ünd@/layout", Some("4.18"), false),
            ("dir:/x/", "/x", None, false),
        ] {
            let reference = reference(text);
            assert_eq!(reference.registry(), "file://");
            assert_eq!(reference.path(), Some(std::path::Path::new(path)));
            assert_eq!(reference.repository(), path);
            assert_eq!((reference.tag(), reference.digest()), (tag, digested.then_some(digest)));
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
        assert_eq!(reference("oci:5000/mnt/layout").registry(), "oci:5000");
        assert_eq!(reference("oci:5000/mnt/layout").path(), None);
    }

    #[test]
    fn what_is_no_folder_is_refused_with_a_hint() {
        for (text, error) in [
            ("file://openshift/release:4.18.52-x86_64", InvalidReference::RelativePath("file://")),
            ("oci:layout:4.18", InvalidReference::RelativePath("oci:")),
            ("dir:", InvalidReference::RelativePath("dir:")),
            ("docker-archive:/mnt/image.tar", InvalidReference::NotAFolder("docker-archive:")),
            ("oci-archive:image.tar:t", InvalidReference::NotAFolder("oci-archive:")),
            ("docker://quay.io/a/b", InvalidReference::Scheme("docker://".to_owned())),
            ("file:///", InvalidReference::Path("/".to_owned())),
            ("file:///a/../b", InvalidReference::Path("/a/../b".to_owned())),
            ("file:///a\nb", InvalidReference::Path("/a\nb".to_owned())),
            ("file:///a:b/", InvalidReference::Path("/a:b/".to_owned())),
            ("file:///a:b/:c", InvalidReference::Path("/a:b/".to_owned())),
            ("oci:/a:b/c:d:e", InvalidReference::Tag("d:e".to_owned())),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
        }
        assert!(format!("file:///{}", "a/".repeat(2000)).parse::<Reference>().is_err());
    }

    #[test]
    fn a_reference_is_moved_on_disk() {
        let release = reference("file:///mnt/openshift/release-images:4.18.52-x86_64");
        let sibling = release.with_repository("/mnt/openshift/release").unwrap();
        assert_eq!(sibling.to_string(), "file:///mnt/openshift/release:4.18.52-x86_64");
        for path in ["openshift/release", "/mnt/../etc", "/mnt/a:b", ""] {
            assert!(release.with_repository(path).is_err(), "{path}");
        }
        let in_registry = reference("quay.io/a/b:t");
        assert!(in_registry.with_repository("/mnt/openshift/release").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_of_a_folder_is_read_back(
            text in "(file://|oci:|dir:)(/[a.:@ ]{0,3}){1,4}(:[a-z.]{0,3})?(@sha256:[0-9a-f]{64})?"
        ) {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
                prop_assert!(reference.repository().split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")));
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            text in "([a-z]{1,8}\\.[a-z]{2,3}|localhost|\\[::[1-9]\\])(:[1-9][0-9]{0,3})?/[a-z0-9]{1,5}([._/-][a-z0-9]{1,4}){0,4}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,20})?(@sha256:[0-9a-f]{64})?"
        ) {
            let reference = reference(&text);
            prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            prop_assert!(reference.to_string().starts_with(&text) || text.starts_with("docker.io"));
        }

        #[test]
        fn what_is_accepted_is_safe_in_a_url_path(text in "\\PC{0,20}/\\PC{0,40}") {
            if let Ok(reference) = text.parse::<Reference>()
                && reference.path().is_none()
            {
                prop_assert!(!reference.repository().contains(['?', '#', '%', ' ', '\\', '@', ':']));
                prop_assert!(reference.repository().split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
