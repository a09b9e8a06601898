//! The live ISOs that a release announces: ConfigMap `coreos-bootimages`, which the installer puts into the payload.
//!
//! `stream` is stream metadata, since 4.22 of the default stream, and `streams` is then an object with that of each, by
//! name. It is a forecast, so what cannot be read is left out and never harms the release; and it counts only for the
//! generation that it is known to be of, or the images of one would be taken for those of the other.

use coreos_names::{Arch, OpenshiftVersion, WithCauses};
use serde_json::{Map, Value};

use crate::os_stream::OsStream;
use crate::stream_metadata::{BootImage, StreamMetadata};

/// The first release that can have two generations.
const FIRST_WITH_TWO: (u64, u64) = (4, 22);

/// What a release announces of each generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BootImages {
    rhel_9: StreamMetadata,
    rhel_10: StreamMetadata,
}

impl BootImages {
    /// Reads `data` of the ConfigMap of a release of this version.
    pub(crate) fn read(data: &Map<String, Value>, version: &OpenshiftVersion) -> Self {
        let mut images = Self::default();
        if let Some(streams) = data.get("streams").and_then(object) {
            for (name, stream) in &streams {
                images.add(OsStream::in_release(name), stream);
            }
        }
        if let Some(stream) = data.get("stream") {
            let is_the_only_one = (version.major(), version.minor()) < FIRST_WITH_TWO;
            images.add(is_the_only_one.then_some(OsStream::Rhel9), stream);
        }
        images
    }

    /// The live ISO announced for an architecture.
    pub(crate) fn get(&self, stream: OsStream, arch: Arch) -> Option<&BootImage> {
        match stream {
            OsStream::Rhel9 => &self.rhel_9,
            OsStream::Rhel10 => &self.rhel_10,
        }
        .boot_image(arch)
    }

    /// Adds what is not known yet. Where nobody says which generation it is, the builds tell.
    fn add(&mut self, stream: Option<OsStream>, document: &Value) {
        let metadata = match document {
            Value::String(json) => StreamMetadata::parse(json.as_bytes()),
            document => StreamMetadata::from_value(document.clone()),
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                let error = WithCauses(&error);
                tracing::warn!(%error, "the release announces live ISOs in a form that is not understood");
                return;
            }
        };
        for (arch, image) in metadata.into_images() {
            match stream.or_else(|| OsStream::of_build(&image.os_build)) {
                Some(OsStream::Rhel9) => self.rhel_9.add(arch, image),
                Some(OsStream::Rhel10) => self.rhel_10.add(arch, image),
                None => {}
            }
        }
    }
}

/// An object, or the text of one.
fn object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object.clone()),
        Value::String(json) => serde_json::from_str(json).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stream(build: &str, digest: char) -> Value {
        let iso = json!({"disk": {"sha256": digest.to_string().repeat(64)}});
        json!({"stream": "x", "architectures": {"x86_64": {"artifacts": {"metal":
            {"release": build, "formats": {"iso": iso}}}}}})
    }

    fn text(value: &Value) -> Value {
        Value::String(value.to_string())
    }

    #[test]
    fn an_announcement_counts_only_for_the_generation_it_is_of() {
        let (nine, ten) = (stream("9.8.20260428-0", '9'), stream("10.2.20260715-0", 'a'));
        let both = json!({"rhel-9": nine, "rhel-10": ten});
        let cases = [
            ("4.18.52", json!({"stream": text(&stream("418.94.1-0", '1'))}), [Some('1'), None]),
            ("4.15.0-0.okd", json!({"stream": text(&stream("39.20231101.3.0", '3'))}), [Some('3'), None]),
            ("4.20.0-okd-scos.1", json!({"stream": text(&ten)}), [Some('a'), None]),
            ("5.0.0-ec.5", json!({"stream": text(&nine)}), [Some('9'), None]),
            ("5.0.0", json!({"stream": text(&ten)}), [None, Some('a')]),
            ("5.0.0", json!({"stream": text(&stream("39.20231101.3.0", '3'))}), [None, None]),
            ("5.0.0", json!({"stream": text(&nine), "streams": text(&both)}), [Some('9'), Some('a')]),
            ("4.22.1", json!({"streams": both.clone()}), [Some('9'), Some('a')]),
            ("4.22.1", json!({"streams": {"": ten.clone()}}), [None, Some('a')]),
            ("5.0.0", json!({"streams": {"centos-10": text(&ten)}}), [None, Some('a')]),
            ("5.0.0", json!({"streams": {"rhel-10": 7}, "stream": text(&nine)}), [Some('9'), None]),
            ("5.0.0", json!({"streams": "[", "stream": "{"}), [None, None]),
            ("5.0.0", json!({"streams": ["rhel-9"], "stream": null}), [None, None]),
        ];
        for (version, data, expected) in cases {
            let images = BootImages::read(data.as_object().unwrap(), &version.parse().unwrap());
            let found = OsStream::ALL.map(|stream| {
                images.get(stream, Arch::X86_64).map(|image| image.sha256.to_string().chars().next().unwrap())
            });
            assert_eq!(found, expected, "{version} {data}");
        }
    }
}
