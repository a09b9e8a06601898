//! The `RELEASE_IMAGES` setting: a JSON list in the format of assisted-service's variable of that name.
//!
//! One member is ours, `os_stream`: from 4.22 on a release can carry two generations of the operating system, and with it
//! two entries of one release serve both. Each needs an `openshift_version` of its own, by which clients ask for it. The
//! release's own version (`5.0.0`) then means the first of the two entries; the second answers to `5.0.0+rhel-10`.

use coreos_names::{Arch, OpenshiftVersion};
use oci_registry::Reference;
use serde_json::{Map, Value};

use crate::os_stream::OsStream;

/// One release that the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseImage {
    /// The version under which clients ask for it: `4.18` or `4.18.52`.
    pub openshift_version: OpenshiftVersion,
    /// The release's own version: `4.18.52`.
    pub version: OpenshiftVersion,
    /// Which architectures are wanted of it.
    pub architectures: Architectures,
    /// The release image, in its origin, in a mirror or in a folder.
    pub pullspec: Reference,
    /// The generation of the operating system that is wanted, if not the one its hosts boot from by default.
    pub os_stream: Option<OsStream>,
    /// The version by which clients ask for exactly this release: [`Self::version`], unless an entry before it has the
    /// same release with another [`Self::os_stream`].
    pub version_alias: OpenshiftVersion,
}

impl ReleaseImage {
    /// What tells this entry from all others, and stays the same from start to start: the release image as the admin
    /// wrote it, and the generation of the operating system where one is asked for.
    pub fn identity(&self) -> String {
        match self.os_stream {
            Some(stream) => format!("{} {stream}", self.pullspec),
            None => self.pullspec.to_string(),
        }
    }

    /// A name for a release of which another entry has the plain one.
    fn second_alias(&self) -> OpenshiftVersion {
        let stream = self.os_stream.map_or("default", OsStream::name);
        format!("{}+{stream}", self.version).parse().unwrap_or_else(|_| self.version.clone())
    }
}

/// The architectures that an entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architectures {
    /// These, without duplicates.
    Listed(Vec<Arch>),
    /// Those that the payload has (`cpu_architecture: multi` without a list).
    OfPayload,
}

/// `RELEASE_IMAGES` cannot be used. Every problem in it is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("RELEASE_IMAGES: {}", problems.join("; "))]
pub struct InvalidReleaseImages {
    /// What is wrong, one sentence each, naming entry and member.
    pub problems: Vec<String>,
}

/// Reads the setting. An empty list is valid: an operator may fill it later.
///
/// Members that this program does not use (`default`, `support_level`, …) are ignored, as the field's other readers do.
pub fn parse(json: &str) -> Result<Vec<ReleaseImage>, InvalidReleaseImages> {
    let entries = match serde_json::from_str(json) {
        Ok(Value::Array(entries)) => entries,
        Ok(_) => return Err(InvalidReleaseImages { problems: vec!["expected a JSON list".to_owned()] }),
        Err(error) => return Err(InvalidReleaseImages { problems: vec![format!("not JSON: {error}")] }),
    };
    let mut problems = Vec::new();
    let mut releases: Vec<ReleaseImage> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let mut members = Members { entry: index, object: entry.as_object(), problems: &mut problems };
        let Some(mut release) = members.release_image() else { continue };
        let same: Vec<&ReleaseImage> =
            releases.iter().filter(|other| other.pullspec == release.pullspec).collect();
        let ReleaseImage { pullspec, openshift_version, os_stream, .. } = &release;
        if same.iter().any(|other| other.os_stream == *os_stream) {
            members.problem(&format!("url {pullspec} was given before"));
        } else if same.iter().any(|other| other.openshift_version == *openshift_version) {
            members.problem(&format!(
                "url {pullspec} was given before with openshift_version {openshift_version}; each os_stream needs one of its own"
            ));
        } else {
            if !same.is_empty() {
                release.version_alias = release.second_alias();
            }
            releases.push(release);
        }
    }
    if problems.is_empty() { Ok(releases) } else { Err(InvalidReleaseImages { problems }) }
}

/// The members of one entry, collecting what is wrong with them.
struct Members<'a> {
    entry: usize,
    object: Option<&'a Map<String, Value>>,
    problems: &'a mut Vec<String>,
}

impl Members<'_> {
    fn problem(&mut self, what: &str) {
        self.problems.push(format!("entry {}: {what}", self.entry));
    }

    fn release_image(&mut self) -> Option<ReleaseImage> {
        if self.object.is_none() {
            self.problem("expected a JSON object");
            return None;
        }
        // Every member is read before the first missing one ends the entry, so that all problems are found at once.
        let openshift_version = self.parsed("openshift_version");
        let version = self.parsed("version");
        let pullspec = self.parsed("url");
        let architectures = self.architectures();
        let known_problems = self.problems.len();
        let os_stream = self.os_stream();
        if self.problems.len() > known_problems {
            return None;
        }
        let version: OpenshiftVersion = version?;
        Some(ReleaseImage {
            openshift_version: openshift_version?,
            os_stream,
            version_alias: version.clone(),
            version,
            architectures: architectures?,
            pullspec: pullspec?,
        })
    }

    /// `os_stream`, which most entries lack. `None` is also what a problem gives.
    fn os_stream(&mut self) -> Option<OsStream> {
        match self.object?.get("os_stream") {
            None | Some(Value::Null) => None,
            Some(_) => self.parsed("os_stream"),
        }
    }

    /// A required string member, parsed.
    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Option<T> {
        match self.object?.get(name) {
            Some(Value::String(text)) => {
                text.parse().map_err(|error| self.problem(&format!("{name}: {error}"))).ok()
            }
            Some(_) => {
                self.problem(&format!("{name} must be a string"));
                None
            }
            None => {
                self.problem(&format!("{name} is missing"));
                None
            }
        }
    }

    /// `cpu_architectures` where it says more than `cpu_architecture`, which is required all the same.
    fn architectures(&mut self) -> Option<Architectures> {
        let scalar: Option<EntryArch> = self.parsed("cpu_architecture");
        let listed = match self.object?.get("cpu_architectures") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => self.listed(list)?,
            Some(_) => {
                self.problem("cpu_architectures must be a list of strings");
                return None;
            }
        };
        let wanted = if listed.is_empty() { vec![scalar?] } else { listed };
        let mut arches = Vec::new();
        for arch in wanted {
            match arch {
                EntryArch::Multi => return Some(Architectures::OfPayload),
                EntryArch::One(arch) if arches.contains(&arch) => {}
                EntryArch::One(arch) => arches.push(arch),
            }
        }
        Some(Architectures::Listed(arches))
    }

    fn listed(&mut self, list: &[Value]) -> Option<Vec<EntryArch>> {
        let mut arches = Vec::with_capacity(list.len());
        for value in list {
            match value.as_str().map(str::parse) {
                Some(Ok(arch)) => arches.push(arch),
                Some(Err(error)) => self.problem(&format!("cpu_architectures: {error}")),
                None => self.problem("cpu_architectures must be a list of strings"),
            }
        }
        (arches.len() == list.len()).then_some(arches)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryArch {
    One(Arch),
    Multi,
}

impl std::str::FromStr for EntryArch {
    type Err = coreos_names::UnknownArch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "multi" { Ok(Self::Multi) } else { text.parse().map(Self::One) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(json: &str) -> ReleaseImage {
        let mut releases = parse(json).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(releases.len(), 1);
        releases.remove(0)
    }

    #[test]
    fn every_shape_of_the_field_is_read() {
        let single = one(
            r#"[{"openshift_version":"4.14","cpu_architecture":"x86_64","cpu_architectures":["x86_64"],
                 "url":"quay.io/openshift-release-dev/ocp-release:4.14.71-x86_64","version":"4.14.71","default":true}]"#,
        );
        assert_eq!(single.architectures, Architectures::Listed(vec![Arch::X86_64]));
        assert_eq!(single.version.to_string(), "4.14.71");

        let installer = one(
            r#"[{"openshift_version":"4.16.10","cpu_architecture":"aarch64","version":"4.16.10",
                 "url":"mirror.example.com:5000/ocp/release@sha256:0000000000000000000000000000000000000000000000000000000000000000"}]"#,
        );
        assert_eq!(installer.architectures, Architectures::Listed(vec![Arch::Arm64]));

        let multi =
            one(r#"[{"openshift_version":"5.0-multi","cpu_architecture":"multi","support_level":"beta",
                 "cpu_architectures":["x86_64","arm64","ppc64le","s390x"],"version":"5.0.0-ec.5-multi",
                 "url":"quay.io/openshift-release-dev/ocp-release:5.0.0-ec.5-multi"}]"#);
        assert_eq!(multi.architectures, Architectures::Listed(Arch::ALL.to_vec()));
        assert_eq!(
            (multi.openshift_version.to_string(), multi.version.to_string()),
            ("5.0".into(), "5.0.0-ec.5".into())
        );

        let bare_multi = one(
            r#"[{"openshift_version":"4.18-multi","cpu_architecture":"multi","version":"4.18.1-multi","url":"r.example.com/x:1"}]"#,
        );
        assert_eq!(bare_multi.architectures, Architectures::OfPayload);

        for (url, shown) in [
            (
                "file:///mnt/mirror/openshift/release:4.18.1-x86_64",
                "file:///mnt/mirror/openshift/release:4.18.1-x86_64",
            ),
            ("oci:/mnt/layout:4.18.1-x86_64", "file:///mnt/layout:4.18.1-x86_64"),
            ("dir:/mnt/release-images", "file:///mnt/release-images"),
        ] {
            let on_disk = one(&format!(
                r#"[{{"openshift_version":"4.18","cpu_architecture":"x86_64","url":"{url}","version":"4.18.1"}}]"#
            ));
            assert_eq!(on_disk.pullspec.to_string(), shown);
        }
        assert_eq!(parse("[]"), Ok(Vec::new()));
    }

    #[test]
    fn two_entries_of_a_release_bring_both_generations_of_its_os() {
        let entry = |openshift_version: &str, more: &str| {
            format!(
                r#"{{"openshift_version":"{openshift_version}","cpu_architecture":"x86_64","version":"5.0.0","url":"r.example.com/x:1"{more}}}"#
            )
        };
        let (nine, ten) = (r#","os_stream":"rhel-9""#, r#","os_stream":"rhel-10""#);
        let both = parse(&format!("[{},{}]", entry("5.0", ten), entry("5.0-rhel-9", nine))).unwrap();
        let names: Vec<_> = both
            .iter()
            .map(|release| (release.os_stream, release.version_alias.to_string(), release.identity()))
            .collect();
        let expected = [
            (Some(OsStream::Rhel10), "5.0.0".to_owned(), "r.example.com/x:1 rhel-10".to_owned()),
            (Some(OsStream::Rhel9), "5.0.0+rhel-9".to_owned(), "r.example.com/x:1 rhel-9".to_owned()),
        ];
        assert_eq!(names, expected);
        assert_eq!(both[1].version.to_string(), "5.0.0");

        let plain = parse(&format!("[{},{}]", entry("5.0-rhel-9", nine), entry("5.0", ""))).unwrap();
        assert_eq!(plain[1].identity(), "r.example.com/x:1");
        assert_eq!(plain[1].version_alias.to_string(), "5.0.0+default");

        for (list, problem) in [
            (
                [entry("5.0", ten), entry("5.0", nine)],
                "entry 1: url r.example.com/x:1 was given before with openshift_version 5.0;",
            ),
            ([entry("5.0", ten), entry("5.0-b", ten)], "entry 1: url r.example.com/x:1 was given before"),
            (
                [entry("5.0", r#","os_stream":"RHEL-9""#), entry("5.1", "")],
                "entry 0: os_stream: unknown OS stream \"RHEL-9\"",
            ),
            ([entry("5.0", r#","os_stream":9"#), entry("5.1", "")], "entry 0: os_stream must be a string"),
        ] {
            let error = parse(&format!("[{}]", list.join(","))).unwrap_err();
            assert_eq!(error.problems.len(), 1, "{error}");
            assert!(error.problems[0].starts_with(problem), "{error}");
        }
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let json = r#"[
            {"openshift_version":"four","cpu_architecture":"sparc","url":"https://quay.io/x"},
            "text",
            {"openshift_version":4.18,"cpu_architecture":"x86_64","cpu_architectures":["x86_64",7,"i386"],
             "url":"r.example.com/a:1","version":"4.18.1"},
            {"openshift_version":"4.18","cpu_architecture":"x86_64","url":"r.example.com/b:1","version":"4.18.1"},
            {"openshift_version":"4.18","cpu_architecture":"x86_64","url":"r.example.com/b:1","version":"4.18.1"}
        ]"#;
        let Err(error) = parse(json) else { panic!("accepted") };
        for expected in [
            "entry 0: openshift_version: invalid OpenShift version \"four\"",
            "entry 0: version is missing",
            "entry 0: url: ",
            "entry 0: cpu_architecture: unknown CPU architecture \"sparc\"",
            "entry 1: expected a JSON object",
            "entry 2: openshift_version must be a string",
            "entry 2: cpu_architectures must be a list of strings",
            "entry 2: cpu_architectures: unknown CPU architecture \"i386\"",
            "entry 4: url r.example.com/b:1 was given before",
        ] {
            assert!(
                error.problems.iter().any(|problem| problem.starts_with(expected)),
                "{expected:?} is not in {:#?}",
                error.problems
            );
        }
        assert_eq!(error.problems.len(), 9, "{:#?}", error.problems);
    }

    #[test]
    fn text_that_is_no_list_is_refused() {
        for json in ["", "{}", "null", "[", "\"x\""] {
            assert!(parse(json).is_err(), "{json:?}");
        }
    }
}
