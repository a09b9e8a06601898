use std::fmt;

use coreos_names::{Arch, ImageKind, OsBuild};
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
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.os_build, self.arch, self.kind)
    }
}
