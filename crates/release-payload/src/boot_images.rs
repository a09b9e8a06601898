//! The live ISOs that a release announces: ConfigMap `coreos-bootimages`, which the installer puts into the payload.
//!
//! `stream` is stream metadata, since 4.22 of the default stream, and `streams` is then an object with that of each, by
//! name; both are JSON in a string. It is a forecast, so what cannot be read is left out and never harms the release; and
//! it counts only for the generation that it is known to be of, or the images of one would be taken for those of the other.

use coreos_names::{Arch, OpenshiftVersion};
use serde::Deserialize;

use crate::error::excerpt;
use crate::os_stream::OsStream;
use crate::stream_metadata::{BootImage, StreamMetadata, for_each_member};

/// The first release that can have two generations.
const FIRST_WITH_TWO: (u64, u64) = (4, 22);

/// `data` of the ConfigMap.
#[derive(Debug, Deserialize)]
pub(crate) struct Announcement {
    stream: Option<String>,
    streams: Option<String>,
}

/// What a release announces of each generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BootImages {
    rhel_9: StreamMetadata,
    rhel_10: StreamMetadata,
}

impl BootImages {
    /// Reads what a release of this version announces.
    pub(crate) fn read(announcement: &Announcement, version: &OpenshiftVersion) -> Self {
        let is_the_only_one = (version.major(), version.minor()) < FIRST_WITH_TWO;
        let streams = announcement.streams.as_deref().map(Self::of_streams);
        let stream = announcement
            .stream
            .as_deref()
            .map(|stream| Self::of_stream(is_the_only_one.then_some(OsStream::Rhel9), stream));
        let mut images = Self::default();
        for announced in [streams, stream].into_iter().flatten() {
            match announced {
                Ok(announced) => images.complete(announced),
                Err(error) => tracing::warn!(
                    release.version = %version, error = excerpt(&error),
                    "the release announces live ISOs in a form that is not understood"
                ),
            }
        }
        images
    }

    /// Reads stream metadata by name. What is broken of one harms no other, and is told once, however many there are.
    fn of_streams(json: &str) -> Result<Self, serde_json::Error> {
        let mut images = Self::default();
        let mut broken = None;
        for_each_member(json, |name, stream| {
            match Self::of_stream(OsStream::in_release(name), stream.get()) {
                Ok(announced) => images.complete(announced),
                Err(error) => _ = broken.get_or_insert(error),
            }
        })?;
        if let Some(error) = broken {
            tracing::warn!(error = excerpt(&error), "ignoring stream metadata that is broken");
        }
        Ok(images)
    }

    /// Reads stream metadata. Where nobody says which generation it is of, the builds tell.
    fn of_stream(stream: Option<OsStream>, json: &str) -> Result<Self, serde_json::Error> {
        let mut images = Self::default();
        for (arch, image) in StreamMetadata::parse(json.as_bytes())?.into_images() {
            match stream.or_else(|| OsStream::of_build(&image.os_build)) {
                Some(OsStream::Rhel9) => images.rhel_9.add(arch, image),
                Some(OsStream::Rhel10) => images.rhel_10.add(arch, image),
                None => {}
            }
        }
        Ok(images)
    }

    /// The live ISO announced for an architecture.
    pub(crate) fn get(&self, stream: OsStream, arch: Arch) -> Option<&BootImage> {
        match stream {
            OsStream::Rhel9 => &self.rhel_9,
            OsStream::Rhel10 => &self.rhel_10,
        }
        .boot_image(arch)
    }

    /// Adds what is not known yet.
    fn complete(&mut self, other: Self) {
        for (images, other) in [(&mut self.rhel_9, other.rhel_9), (&mut self.rhel_10, other.rhel_10)] {
            other.into_images().for_each(|(arch, image)| images.add(arch, image));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn stream(build: &str, digest: char) -> Value {
        let iso = json!({"disk": {"sha256": digest.to_string().repeat(64)}});
        json!({"stream": "x", "architectures": {"x86_64": {"artifacts": {"metal":
            {"release": build, "formats": {"iso": iso}}}}}})
    }

    #[test]
    fn an_announcement_counts_only_for_the_generation_it_is_of() {
        let (nine, ten) = (stream("9.8.20260428-0", '9'), stream("10.2.20260715-0", 'a'));
        let fedora = stream("39.20231101.3.0", '3');
        let both = json!({"rhel-9": nine, "rhel-10": ten});
        let cases = [
            ("4.18.52", json!({"stream": stream("418.94.1-0", '1')}), [Some('1'), None]),
            ("4.15.0-0.okd", json!({"stream": fedora}), [Some('3'), None]),
            ("4.20.0-okd-scos.1", json!({"stream": ten}), [Some('a'), None]),
            ("5.0.0-ec.5", json!({"stream": nine}), [Some('9'), None]),
            ("5.0.0", json!({"stream": ten}), [None, Some('a')]),
            ("5.0.0", json!({"stream": fedora}), [None, None]),
            ("5.0.0", json!({"stream": nine, "streams": both}), [Some('9'), Some('a')]),
            ("4.22.1", json!({"streams": both}), [Some('9'), Some('a')]),
            ("4.22.1", json!({"streams": {"": ten}}), [None, Some('a')]),
            ("5.0.0", json!({"streams": {"centos-10": ten}}), [None, Some('a')]),
            ("5.0.0", json!({"streams": {"rhel-10": 7, "rhel-9": nine}}), [Some('9'), None]),
            ("5.0.0", json!({"streams": {"rhel-10": 7}, "stream": nine}), [Some('9'), None]),
            ("5.0.0", json!({"streams": ["rhel-9"], "stream": nine}), [Some('9'), None]),
            ("5.0.0", json!({"streams": both, "stream": []}), [Some('9'), Some('a')]),
            ("5.0.0", json!({}), [None, None]),
        ];
        for (version, data, expected) in cases {
            let text = |name: &str| data.get(name).map(Value::to_string);
            let announcement = Announcement { stream: text("stream"), streams: text("streams") };
            assert_eq!(found(&announcement, version), expected, "{version} {data}");
        }
        let broken = Announcement { stream: Some("{".to_owned()), streams: Some(format!("{both} x")) };
        assert_eq!(found(&broken, "5.0.0"), [None, None]);
    }

    /// What the digests of the two generations' ISOs begin with.
    fn found(announcement: &Announcement, version: &str) -> [Option<char>; 2] {
        let images = BootImages::read(announcement, &version.parse().unwrap());
        OsStream::ALL.map(|stream| {
            images.get(stream, Arch::X86_64).map(|image| image.sha256.to_string().chars().next().unwrap())
        })
    }
}
