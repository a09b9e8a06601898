use std::fmt;
use std::str::FromStr;

/// A CPU architecture that OpenShift runs on.
///
/// Three vocabularies name them: OCI platforms and Go (`amd64`, `arm64`), RPM and CoreOS (`x86_64`, `aarch64`), and
/// assisted-service (`x86_64`, `arm64`). All are read; [`fmt::Display`] writes assisted-service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// `x86_64`, in Go `amd64`.
    X86_64,
    /// `arm64`, in RPM names `aarch64`.
    Arm64,
    /// 64-bit little-endian POWER.
    Ppc64le,
    /// IBM Z.
    S390x,
}

impl Arch {
    /// Every architecture, in the order lists are shown in.
    pub const ALL: [Self; 4] = [Self::X86_64, Self::Arm64, Self::Ppc64le, Self::S390x];

    /// The name in assisted-service's API and in this service's URLs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
        }
    }

    /// The name in RPM packages, CoreOS stream metadata and file names.
    pub const fn rpm_name(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            other => other.name(),
        }
    }

    /// The name in OCI platforms (`GOARCH`).
    pub const fn oci_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            other => other.name(),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no architecture that OpenShift runs on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown CPU architecture {0:?}: expected x86_64, arm64, ppc64le or s390x")]
pub struct UnknownArch(pub String);

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        match text {
            "x86_64" | "amd64" => Ok(Self::X86_64),
            "arm64" | "aarch64" => Ok(Self::Arm64),
            "ppc64le" => Ok(Self::Ppc64le),
            "s390x" => Ok(Self::S390x),
            other => Err(UnknownArch(other.to_owned())),
        }
    }
}

crate::serde_as_text!(Arch);

#[cfg(test)]
mod tests {
    use super::Arch;

    #[test]
    fn every_vocabulary_is_read() {
        for arch in Arch::ALL {
            for name in [arch.name(), arch.rpm_name(), arch.oci_name()] {
                assert_eq!(name.parse(), Ok(arch));
            }
        }
    }

    #[test]
    fn nothing_else_is_read() {
        for text in ["", "X86_64", "multi", "arm", " x86_64", "i386"] {
            assert!(text.parse::<Arch>().is_err(), "{text:?}");
        }
    }
}
