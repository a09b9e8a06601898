use std::fmt;
use std::str::FromStr;

use coreos_names::OsBuild;

/// A generation of the operating system. A release before 4.22 has one, later ones can carry two side by side.
///
/// Files in `machine-os-images` begin with the generation's prefix. That of RHEL 9 is older than the distinction: the
/// files of every release with one generation have it, be they RHEL 8 or CentOS Stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OsStream {
    /// `rhel-9`, whose files begin with `coreos`.
    Rhel9,
    /// `rhel-10`, whose files begin with `coreos10`.
    Rhel10,
}

impl OsStream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rhel9, Self::Rhel10];

    /// The name, as in install-config's `osImageStream`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rhel9 => "rhel-9",
            Self::Rhel10 => "rhel-10",
        }
    }

    /// What the names of its files begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Rhel9 => "coreos",
            Self::Rhel10 => "coreos10",
        }
    }

    /// The other one.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Rhel9 => Self::Rhel10,
            Self::Rhel10 => Self::Rhel9,
        }
    }

    /// By its name in a release, where OKD has names of its own (`centos-10`).
    pub(crate) fn in_release(name: &str) -> Option<Self> {
        match name.rsplit_once('-')?.1 {
            "9" => Some(Self::Rhel9),
            "10" => Some(Self::Rhel10),
            _ => None,
        }
    }

    /// By the version of RHEL that a build states: `9.8.20260428-0`, or `418.94.202511191518-0` before 4.19. Builds of
    /// Fedora CoreOS state none.
    pub(crate) fn of_build(build: &OsBuild) -> Option<Self> {
        let mut numbers = build.as_str().split('.');
        let first: u64 = numbers.next()?.parse().ok()?;
        let second: u64 = numbers.next()?.parse().ok()?;
        let major = if first < 40 { first } else { second / 10 };
        match major {
            8 | 9 => Some(Self::Rhel9),
            10 => Some(Self::Rhel10),
            _ => None,
        }
    }
}

impl fmt::Display for OsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no generation of the operating system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown OS stream {0:?}: expected rhel-9 or rhel-10")]
pub struct UnknownOsStream(String);

/// Exactly as in install-config, which knows no other spelling either.
impl FromStr for OsStream {
    type Err = UnknownOsStream;

    fn from_str(text: &str) -> Result<Self, UnknownOsStream> {
        const LONGEST: usize = 64;
        let found = Self::ALL.into_iter().find(|stream| stream.name() == text);
        found.ok_or_else(|| UnknownOsStream(text.chars().take(LONGEST).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_install_config_reads_them() {
        for stream in OsStream::ALL {
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        for text in ["RHEL-9", "rhel9", "9", "", "rhel-8"] {
            assert!(text.parse::<OsStream>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn builds_tell_their_rhel() {
        for (build, expected) in [
            ("49.84.202207192205-0", Some(OsStream::Rhel9)),
            ("418.94.202511191518-0", Some(OsStream::Rhel9)),
            ("9.6.20251212-1", Some(OsStream::Rhel9)),
            ("9.8.20260428-0", Some(OsStream::Rhel9)),
            ("10.2.20260715-0", Some(OsStream::Rhel10)),
            ("10.0.20250628-0", Some(OsStream::Rhel10)),
            ("39.20231101.3.0", None),
            ("41.20241027.3.0", None),
            ("0.0.1", None),
            ("x", None),
        ] {
            assert_eq!(OsStream::of_build(&build.parse().unwrap()), expected, "{build}");
        }
    }
}
