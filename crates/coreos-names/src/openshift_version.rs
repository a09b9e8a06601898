use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use semver::{Prerelease, Version};

/// An OpenShift version: a whole one (`4.18.52`, `4.20.0-ec.1`) or just its minor stream (`4.18`).
///
/// A `-multi` suffix says something about the payload, not about the version, and is dropped on reading. Versions
/// order as semantic versions do; a minor stream orders as its `.0`, before the whole version of that number.
///
/// Admins give images names of their own, and the predecessor takes them: `v4.18` is `4.18`, `5` is `5.0`, and
/// `4.18-custom` is a stream beside `4.18`.
#[derive(Clone, Debug)]
pub struct OpenshiftVersion {
    version: Version,
    whole: bool,
}

impl OpenshiftVersion {
    /// The first release whose payload carries an ISO this service can use.
    pub const FIRST_WITH_ISO: (u64, u64) = (4, 11);

    /// The first number, 4 in `4.18.52`.
    pub fn major(&self) -> u64 {
        self.version.major
    }

    /// The second number, 18 in `4.18.52`.
    pub fn minor(&self) -> u64 {
        self.version.minor
    }

    /// Whether hosts of this version configure their network with nmstatectl, which their initramfs lacks and an image
    /// has to bring along: from 4.18.0-ec.0 on.
    pub fn needs_nmstatectl(&self) -> bool {
        // What follows a stream is a name, not a stage on the way to it.
        if !self.whole {
            return (self.major(), self.minor()) >= (4, 18);
        }
        let first = Prerelease::new("ec.0").map(|pre| Version { pre, ..Version::new(4, 18, 0) });
        first.is_ok_and(|first| self.version >= first)
    }

    /// Whether releases of this minor stream carry the live ISO in their payload.
    pub fn payload_has_iso(&self) -> bool {
        (self.major(), self.minor()) >= Self::FIRST_WITH_ISO
    }
}

impl fmt::Display for OpenshiftVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.whole {
            self.version.fmt(f)
        } else {
            let Version { major, minor, pre, build, .. } = &self.version;
            let pre = if pre.is_empty() { String::new() } else { format!("-{pre}") };
            let build = if build.is_empty() { String::new() } else { format!("+{build}") };
            f.pad(&format!("{major}.{minor}{pre}{build}"))
        }
    }
}

/// The text is not an OpenShift version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid OpenShift version {0:?}: expected something like 4.18, 4.18.52 or 4.20.0-ec.1")]
pub struct InvalidOpenshiftVersion(pub String);

impl FromStr for OpenshiftVersion {
    type Err = InvalidOpenshiftVersion;

    fn from_str(text: &str) -> Result<Self, InvalidOpenshiftVersion> {
        const LONGEST: usize = 128;
        let invalid = || InvalidOpenshiftVersion(text.chars().take(LONGEST).collect());
        if text.len() > LONGEST {
            return Err(invalid());
        }
        let bare = text.strip_suffix("-multi").unwrap_or(text);
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        let (numbers, rest) = bare.split_at(bare.find(['-', '+']).unwrap_or(bare.len()));
        let missing = match numbers.bytes().filter(|&byte| byte == b'.').count() {
            0 => ".0.0",
            1 => ".0",
            _ => "",
        };
        let version = Version::parse(&format!("{numbers}{missing}{rest}")).map_err(|_| invalid())?;
        Ok(Self { version, whole: missing.is_empty() })
    }
}

impl Ord for OpenshiftVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.version.cmp(&other.version).then(self.whole.cmp(&other.whole))
    }
}

impl PartialOrd for OpenshiftVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for OpenshiftVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for OpenshiftVersion {}

impl Hash for OpenshiftVersion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.version, self.whole).hash(state);
    }
}

crate::serde_as_text!(OpenshiftVersion);

#[cfg(test)]
mod tests {
    use super::OpenshiftVersion;

    fn version(text: &str) -> OpenshiftVersion {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn versions_found_in_the_field_are_read() {
        for (text, shown) in [
            ("4.18", "4.18"),
            ("5.0-multi", "5.0"),
            ("4.11.0-multi", "4.11.0"),
            ("v4.18", "4.18"),
            ("v4.18.52-multi", "4.18.52"),
            ("5", "5.0"),
            ("4.18-custom", "4.18-custom"),
            ("4.18-ec.1", "4.18-ec.1"),
            ("4.18-my-lab-multi", "4.18-my-lab"),
            ("4.14.71", "4.14.71"),
            ("5.0.0-ec.5-multi", "5.0.0-ec.5"),
            ("4.20.0-okd-scos.ec.10", "4.20.0-okd-scos.ec.10"),
            ("4.16.0-0.okd", "4.16.0-0.okd"),
            ("4.19.0-0.nightly-2025-01-02-030405", "4.19.0-0.nightly-2025-01-02-030405"),
        ] {
            assert_eq!(version(text).to_string(), shown);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "v",
            "vv4.18",
            "4.18.",
            "4..1",
            "4.x",
            "x4",
            "4.18-",
            "4.18-a/b",
            "4.18.1.2",
            "-custom",
            " 4.18",
            "../4.18.0",
            "4.18.0/x",
        ] {
            assert!(text.parse::<OpenshiftVersion>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn versions_order_by_age() {
        let ordered = ["4.9", "4.18.0-ec.1", "4.18.0-rc.2", "4.18", "4.18.0", "4.18.9", "4.18.52", "5.0"];
        assert!(ordered.map(version).is_sorted());
        assert_ne!(version("4.18-custom"), version("4.18"));
        assert_eq!(version("4.18-custom"), version(&version("4.18-custom").to_string()));
    }

    #[test]
    fn nmstatectl_is_needed_from_the_first_candidate_of_4_18_on() {
        let needed = [
            "4.18-custom",
            "5",
            "4.18",
            "4.18-multi",
            "4.18.0-ec.0",
            "4.18.0-ec.1",
            "4.18.0-rc.1",
            "4.18.0",
            "4.18.52",
            "5.0",
        ];
        for text in needed {
            assert!(version(text).needs_nmstatectl(), "{text}");
        }
        for text in [
            "4.9",
            "4.17",
            "4.17-custom",
            "4.17-multi",
            "4.17.99",
            "4.17.0-rc.9",
            "4.18.0-0.nightly-2024-10-01-000000",
        ] {
            assert!(!version(text).needs_nmstatectl(), "{text}");
        }
    }

    #[test]
    fn the_iso_came_into_the_payload_with_4_11() {
        assert!(!version("4.10.67").payload_has_iso());
        assert!(version("4.11.0").payload_has_iso());
        assert!(version("5.0").payload_has_iso());
    }
}
