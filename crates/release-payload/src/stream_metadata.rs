//! CoreOS stream metadata: which live ISO belongs to a release, for every architecture.
//!
//! The format is that of <https://github.com/coreos/stream-metadata-go>; only what identifies an ISO is read, and nothing
//! else is kept in memory.

use std::collections::BTreeMap;
use std::fmt;

use coreos_names::{Arch, OsBuild, Sha256};
use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The live ISO of one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BootImage {
    /// The operating system's build, the RHCOS version.
    pub os_build: OsBuild,
    /// The SHA-256 of the ISO.
    pub sha256: Sha256,
}

/// The live ISOs that a stream has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamMetadata(BTreeMap<Arch, BootImage>);

impl StreamMetadata {
    /// Reads a `*-stream.json`. Architectures that are unknown, have no live ISO, or state
    /// nonsense are left out, so that one of them never harms the others.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Document<'_> = serde_json::from_slice(json)?;
        let mut images = BTreeMap::new();
        for_each_member(document.architectures.get(), |name, architecture| {
            if let Ok(arch) = name.parse()
                && let Some(image) = live_iso(architecture)
            {
                images.insert(arch, image);
            }
        })?;
        Ok(Self(images))
    }

    /// The live ISO of an architecture.
    pub fn boot_image(&self, arch: Arch) -> Option<&BootImage> {
        self.0.get(&arch)
    }

    /// All of them.
    pub(crate) fn into_images(self) -> impl Iterator<Item = (Arch, BootImage)> {
        self.0.into_iter()
    }

    /// Adds one, unless there is one for the architecture.
    pub(crate) fn add(&mut self, arch: Arch, image: BootImage) {
        self.0.entry(arch).or_insert(image);
    }
}

fn live_iso(architecture: &RawValue) -> Option<BootImage> {
    let Architecture { artifacts } = serde_json::from_str(architecture.get()).ok()?;
    let metal = artifacts.metal?;
    let sha256 = metal.formats.iso?.disk.sha256;
    Some(BootImage { os_build: metal.release, sha256 })
}

/// Shows every member of a JSON object, and keeps none of them.
pub(crate) fn for_each_member<'a>(
    json: &'a str,
    visit: impl FnMut(&str, &'a RawValue),
) -> Result<(), serde_json::Error> {
    struct Members<F>(F);

    impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Members<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(mut self, mut members: M) -> Result<(), M::Error> {
            while let Some(name) = members.next_key::<String>()? {
                (self.0)(&name, members.next_value()?);
            }
            Ok(())
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(json);
    deserializer.deserialize_map(Members(visit))?;
    deserializer.end()
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    architectures: &'a RawValue,
}

#[derive(Deserialize)]
struct Architecture {
    #[serde(default)]
    artifacts: Artifacts,
}

#[derive(Default, Deserialize)]
struct Artifacts {
    metal: Option<Metal>,
}

#[derive(Deserialize)]
struct Metal {
    release: OsBuild,
    formats: Formats,
}

#[derive(Deserialize)]
struct Formats {
    iso: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    disk: Disk,
}

#[derive(Deserialize)]
struct Disk {
    sha256: Sha256,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isos_of_known_architectures_are_read_and_the_rest_is_left_out() {
        let json = format!(
            r#"{{"stream":"rhcos-4.18","metadata":{{"last-modified":"2025"}},"architectures":{{
                "x86_64":{{"artifacts":{{"metal":{{"release":"418.94.1-0","formats":{{
                    "iso":{{"disk":{{"location":"https://example.com/x.iso","sha256":"{digest}"}}}},
                    "raw.gz":{{"disk":{{"sha256":"junk"}}}}}}}},"aws":{{"release":"418.94.1-0","formats":{{}}}}}},"images":{{}}}},
                "aarch64":{{"artifacts":{{"metal":{{"release":"418.94.1-0","formats":{{}}}}}}}},
                "s390x":{{"artifacts":{{"metal":{{"release":"../x","formats":{{"iso":{{"disk":{{"sha256":"zz"}}}}}}}}}}}},
                "riscv64":{{"artifacts":{{}}}}}}}}"#,
            digest = "ab".repeat(32)
        );
        let stream = StreamMetadata::parse(json.as_bytes()).unwrap();
        let image = stream.boot_image(Arch::X86_64).unwrap();
        assert_eq!(image.os_build.as_str(), "418.94.1-0");
        assert_eq!(image.sha256, Sha256::from([0xab; 32]));
        assert!(stream.boot_image(Arch::Arm64).is_none());
        assert!(stream.boot_image(Arch::S390x).is_none());
    }
}
