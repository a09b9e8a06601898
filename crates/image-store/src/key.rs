//! What an image is called, by us and by the predecessor.

use std::fmt;

use coreos_names::{Arch, ImageKind, OpenshiftVersion, OsBuild};
use serde::{Deserialize, Serialize};

/// What makes an image the one it is. Two entries with the same key share one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageKey {
    /// The operating system's build, the RHCOS version.
    pub os_build: OsBuild,
    /// The architecture it boots on.
    pub arch: Arch,
    /// Which kind of ISO it is.
    pub kind: ImageKind,
}

impl ImageKey {
    /// The name of the published file, the same as the predecessor's so that an upgrade finds what is there.
    pub fn file_name(&self) -> String {
        format!("rhcos-{}-{}-{}.iso", self.kind, self.os_build, self.arch)
    }

    /// Whether the predecessor can have given an image this name: it wrote architectures as its configuration did, and
    /// in older versions an OpenShift version in front of the build.
    pub(crate) fn is_named_by(&self, file_name: &str) -> bool {
        let Some(rest) = file_name.strip_prefix(&format!("rhcos-{}-", self.kind)) else { return false };
        [self.arch.name(), self.arch.rpm_name()].iter().any(|arch| {
            let version = rest.strip_suffix(&format!("{}-{arch}.iso", self.os_build));
            version.is_some_and(|version| {
                version.is_empty()
                    || version
                        .strip_suffix('-')
                        .is_some_and(|version| version.parse::<OpenshiftVersion>().is_ok())
            })
        })
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.os_build, self.arch, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_predecessor_gave_are_known() {
        let os_build: OsBuild = "418.94.202511191518-0".parse().unwrap();
        let key = ImageKey { os_build, arch: Arch::Arm64, kind: ImageKind::Full };
        for name in [
            "rhcos-full-iso-418.94.202511191518-0-arm64.iso",
            "rhcos-full-iso-418.94.202511191518-0-aarch64.iso",
            "rhcos-full-iso-4.18-418.94.202511191518-0-arm64.iso",
            "rhcos-full-iso-4.18.3-multi-418.94.202511191518-0-aarch64.iso",
            "rhcos-full-iso-4.20.0-ec.1-418.94.202511191518-0-arm64.iso",
        ] {
            assert!(key.is_named_by(name), "{name}");
        }
        for name in [
            "rhcos-minimal-iso-4.18-418.94.202511191518-0-arm64.iso",
            "rhcos-full-iso-4.18-418.94.202511191518-0-x86_64.iso",
            "rhcos-full-iso-4.18-418.94.202511191518-1-arm64.iso",
            "rhcos-full-iso-x418.94.202511191518-0-arm64.iso",
            "rhcos-full-iso-backup-418.94.202511191518-0-arm64.iso",
            "rhcos-full-iso-4.18-418.94.202511191518-0-arm64.iso.tmp",
            "rhcos-full-iso-arm64.iso",
        ] {
            assert!(!key.is_named_by(name), "{name}");
        }
    }
}
