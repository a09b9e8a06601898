//! The words every room of the house speaks: architectures, OS builds, OpenShift versions, image kinds, digests.
//!
//! Each type is parsed once, where text enters the program, and is trusted afterwards. Nothing here does I/O.

mod arch;
mod image_kind;
mod openshift_version;
mod os_build;
mod sha256;
mod with_causes;

pub use arch::{Arch, UnknownArch};
pub use image_kind::{ImageKind, UnknownImageKind};
pub use openshift_version::{InvalidOpenshiftVersion, OpenshiftVersion};
pub use os_build::{InvalidOsBuild, OsBuild};
pub use sha256::{InvalidSha256, Sha256};
pub use with_causes::WithCauses;

/// Writes a type as its `Display` text and reads it back through `FromStr`.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;
