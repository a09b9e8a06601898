//! The `OS_IMAGES` setting, of old `RHCOS_VERSIONS`: a JSON list of live ISOs on web servers, or in releases.

use std::fmt;
use std::str::FromStr;

use coreos_names::{Arch, ImageKind, OpenshiftVersion, OsBuild, Sha256};
use image_store::ImageKey;
use oci_registry::InvalidReference;
use release_payload::{OsImageEntry, Reference};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::origin::{InvalidOriginUrl, OriginUrl};

/// One live ISO that the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsImage {
    /// The version under which clients ask for it: `4.18`, seldom `4.18.52`.
    pub openshift_version: OpenshiftVersion,
    /// The operating system's build, which the list calls `version`.
    pub os_build: OsBuild,
    /// The architecture it boots on.
    pub arch: Arch,
    /// Which kind of ISO it is.
    pub kind: ImageKind,
    /// Where it is.
    pub source: Source,
    /// What its bytes must hash to, where the admin says so.
    pub sha256: Option<Sha256>,
}

impl OsImage {
    /// The image that the entry means. Entries with the same key share one file.
    pub fn key(&self) -> ImageKey {
        ImageKey { os_build: self.os_build.clone(), arch: self.arch, kind: self.kind }
    }
}

/// Where the ISO of an entry comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A web server.
    Web(OriginUrl),
    /// A release image that carries it, written as [`OsImageEntry`] has it.
    Release(Reference),
}

/// Why a text says of no ISO where it is. Repeats nothing of a URL but its scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// It is no URL of a web server.
    #[error(transparent)]
    Url(#[from] InvalidOriginUrl),
    /// No release image is behind the scheme.
    #[error(transparent)]
    Release(#[from] InvalidReference),
}

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        Ok(match OsImageEntry::release_of(text) {
            Some(release) => Self::Release(release?),
            None => Self::Web(text.parse()?),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(url) => url.fmt(f),
            Self::Release(pullspec) => f.write_str(&OsImageEntry::url_of(pullspec)),
        }
    }
}

/// The list of OS images cannot be used. Every problem in it is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("OS_IMAGES: {}", problems.join("; "))]
pub struct InvalidOsImages {
    /// What is wrong, one sentence each, naming entry and member. Nothing of a URL but its scheme is repeated.
    pub problems: Vec<String>,
}

/// Reads the setting. An empty list is a mistake: whoever wants no such images leaves the setting out.
///
/// Members that this program does not use (`rootfs_url`, …) are ignored, as the field's other readers do.
pub fn parse(json: &str) -> Result<Vec<OsImage>, InvalidOsImages> {
    let refuse = |problem: String| Err(InvalidOsImages { problems: vec![problem] });
    let entries = match serde_json::from_str::<Vec<Entry>>(json) {
        Ok(entries) if entries.is_empty() => {
            return refuse("the list is empty: expected at least one image".to_owned());
        }
        Ok(entries) => entries,
        Err(error) if error.is_data() => return refuse("expected a JSON list".to_owned()),
        Err(error) => return refuse(format!("not JSON: {error}")),
    };
    let mut problems = Vec::new();
    let mut images = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut reader = Reader { entry: index, members: &[], problems: &mut problems };
        match entry {
            Entry::Object(Members(members)) => {
                reader.members = members;
                images.extend(reader.os_image());
            }
            Entry::Other(IgnoredAny) => {
                reader.problem("expected a JSON object");
            }
        }
    }
    if problems.is_empty() { Ok(images) } else { Err(InvalidOsImages { problems }) }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Object(Members),
    Other(IgnoredAny),
}

/// The members of an object in the order they were written, those given twice included.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Reads the members of one entry, collecting what is wrong with them.
struct Reader<'a> {
    entry: usize,
    members: &'a [(String, Value)],
    problems: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn problem(&mut self, what: &str) -> Noted {
        self.problems.push(format!("entry {}: {what}", self.entry));
        Noted
    }

    fn os_image(&mut self) -> Result<OsImage, Noted> {
        // Every member is read before the first bad one ends the entry, so that all problems are found at once.
        let openshift_version = self.required("openshift_version");
        let arch = self.required("cpu_architecture");
        let source = self.required("url");
        let os_build = self.required("version");
        let kind = self.optional("type");
        let sha256 = self.optional("sha256");
        let image = OsImage {
            openshift_version: openshift_version?,
            os_build: os_build?,
            arch: arch?,
            kind: kind?.unwrap_or(ImageKind::Full),
            source: source?,
            sha256: sha256?,
        };
        if let Source::Release(_) = image.source {
            if image.kind != ImageKind::Full {
                return Err(self.problem("a release image has no ISO of this type"));
            }
            if image.sha256.is_some() {
                return Err(self.problem("sha256 is stated by the release image, and not to be given here"));
            }
        }
        Ok(image)
    }

    fn required<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<T, Noted> {
        self.optional(name)?.ok_or_else(|| self.problem(&format!("{name} is missing")))
    }

    fn optional<T: FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Result<Option<T>, Noted> {
        let mut given = self.members.iter().filter(|(member, _)| member == name).map(|(_, value)| value);
        match (given.next(), given.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(self.problem(&format!("{name} is given more than once"))),
            (Some(Value::String(text)), None) => {
                text.parse().map(Some).map_err(|error| self.problem(&format!("{name}: {error}")))
            }
            (Some(_), None) => Err(self.problem(&format!("{name} must be a string"))),
        }
    }
}

/// There is no value, and the list of problems says why.
struct Noted;

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn every_shape_of_the_field_is_read() {
        // As the operator writes it, with a member of older days.
        let images = parse(
            r#"[{"openshift_version":"4.18","cpu_architecture":"x86_64","version":"418.94.202511191518-0",
                 "url":"https://mirror.example.com/rhcos-live.x86_64.iso","rootfs_url":"https://x/","more":[1]},
                {"openshift_version":"4.18-multi","cpu_architecture":"aarch64","version":"418.94.202511191518-0",
                 "url":"http://user:secret@[fd00::1]:8080/a.iso?token=secret","type":"full-iso"}]"#,
        )
        .unwrap();
        let [x86, arm] = images.as_slice() else { panic!("{images:?}") };
        assert_eq!(x86.key().file_name(), "rhcos-full-iso-418.94.202511191518-0-x86_64.iso");
        assert_eq!((x86.openshift_version.to_string().as_str(), x86.sha256), ("4.18", None));
        assert_eq!(x86.source.to_string(), "https://mirror.example.com/rhcos-live.x86_64.iso");
        assert_eq!((arm.openshift_version.to_string().as_str(), arm.arch), ("4.18", Arch::Arm64));
        assert_eq!(arm.source.to_string(), "http://[fd00::1]:8080/a.iso");
        assert!(!format!("{images:?}").contains("secret"), "{images:?}");

        let json = format!(
            r#"[{{"openshift_version":"4.20.1","cpu_architecture":"x86_64","version":"9.6.20251212-1",
                 "url":"https://mirror/ove.iso","type":"disconnected-iso","sha256":"{SHA256}"}}]"#
        );
        let [image] = parse(&json).unwrap().try_into().unwrap();
        assert_eq!((image.kind, image.sha256), (ImageKind::Disconnected, Some(SHA256.parse().unwrap())));
    }

    #[test]
    fn what_is_written_of_a_release_is_read_back() {
        let entry = OsImageEntry {
            openshift_version: "4.18".parse().unwrap(),
            arch: Arch::Arm64,
            os_build: "418.94.202511191518-0".parse().unwrap(),
            release: "quay.io/openshift-release-dev/ocp-release:4.18.30-multi".parse().unwrap(),
        };
        let [read] = parse(&serde_json::to_string(&[&entry]).unwrap()).unwrap().try_into().unwrap();
        assert_eq!(read.source.to_string(), entry.url());
        let OsImageEntry { openshift_version, arch, os_build, release } = entry;
        let (kind, source, sha256) = (ImageKind::Full, Source::Release(release), None);
        assert_eq!(read, OsImage { openshift_version, os_build, arch, kind, source, sha256 });
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let json = r#"[
            {"openshift_version":"four","cpu_architecture":"multi","url":"ftp://mirror/x.iso","version":"../x"},
            "text",
            null,
            {"openshift_version":4.18,"cpu_architecture":"x86_64","url":"user:secret@mirror/x.iso",
             "version":"1","version":"2","type":"minimal-iso","sha256":"abc"},
            {"openshift_version":"4.18","url":"https://:secret@/?secret","version":"418.94.1-0","sha256":null},
            {"openshift_version":"4.18","cpu_architecture":"x86_64","version":"1","url":"https://m/x.iso","type":""}
        ]"#;
        let error = parse(json).unwrap_err();
        let expected = [
            "entry 0: openshift_version: invalid OpenShift version \"four\"",
            "entry 0: cpu_architecture: unknown CPU architecture \"multi\": expected x86_64, arm64, ppc64le or s390x",
            "entry 0: url: the scheme \"ftp\" is not supported: expected an http or https URL",
            "entry 0: version: invalid OS build \"../x\"",
            "entry 1: expected a JSON object",
            "entry 2: expected a JSON object",
            "entry 3: openshift_version must be a string",
            "entry 3: url: expected an http or https URL",
            "entry 3: version is given more than once",
            "entry 3: type: unknown image kind \"minimal-iso\": expected full-iso or disconnected-iso",
            "entry 3: sha256: invalid SHA-256 digest \"abc\": expected 64 hexadecimal digits",
            "entry 4: cpu_architecture is missing",
            "entry 4: url: not a URL: empty host",
            "entry 4: sha256 must be a string",
            "entry 5: type: unknown image kind \"\": expected full-iso or disconnected-iso",
        ];
        for (problem, expected) in error.problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem:?} is not {expected:?}");
        }
        assert_eq!(error.problems.len(), expected.len(), "{:#?}", error.problems);
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn text_that_is_no_list_of_images_is_refused() {
        for (json, problem) in [
            ("", "not JSON: EOF"),
            ("[{]", "not JSON: "),
            ("{}", "expected a JSON list"),
            ("null", "expected a JSON list"),
            ("\"secret\"", "expected a JSON list"),
            ("[]", "the list is empty: expected at least one image"),
            (&"[".repeat(100_000), "not JSON: recursion limit exceeded"),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.problems[0].starts_with(problem), "{json:.20?}: {error}");
        }
    }
}
