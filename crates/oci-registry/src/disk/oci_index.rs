use serde::Deserialize;

use crate::excerpt::Excerpt;

/// `index.json` of an OCI layout: the images that have a name there.
#[derive(Debug, Deserialize)]
pub(crate) struct OciIndex {
    manifests: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    /// Kept as text: an entry nobody asks for may have any digest.
    digest: String,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Debug, Deserialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    name: Option<String>,
}

/// What an index says about a tag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chosen<'a> {
    /// This image.
    Digest(&'a str),
    /// None.
    None,
    /// More than one.
    Several,
}

impl OciIndex {
    /// A release has one entry for each of its 200 components at most.
    pub(crate) const MAX_SIZE: u64 = 4 << 20;

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Excerpt> {
        serde_json::from_slice(bytes).map_err(|error| Excerpt::of(&error.to_string()))
    }

    /// The image with this tag; without a tag, the only image. The same image may be listed twice.
    pub(crate) fn choose(&self, tag: Option<&str>) -> Chosen<'_> {
        let mut entries = self
            .manifests
            .iter()
            .filter(|entry| tag.is_none() || entry.name() == tag)
            .map(|entry| entry.digest.as_str());
        match entries.next() {
            None => Chosen::None,
            Some(first) if entries.all(|other| other == first) => Chosen::Digest(first),
            Some(_) => Chosen::Several,
        }
    }

    /// The tags there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.manifests.iter().filter_map(Entry::name)
    }
}

impl Entry {
    fn name(&self) -> Option<&str> {
        self.annotations.as_ref()?.name.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Chosen, OciIndex};

    #[test]
    fn a_tag_chooses_and_so_does_being_alone() {
        let index = OciIndex::parse(
            br#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
                {"digest": "d1", "size": 1, "annotations": {"org.opencontainers.image.ref.name": "a", "other": "c"}},
                {"digest": "d2", "annotations": {"org.opencontainers.image.ref.name": "b"}},
                {"digest": "d1", "annotations": {"org.opencontainers.image.ref.name": "a"}},
                {"digest": "d3", "annotations": {"other": "c"}},
                {"digest": "d4", "annotations": null},
                {"digest": "d5", "annotations": {"org.opencontainers.image.ref.name": "b"}}]}"#,
        )
        .unwrap();
        assert_eq!(index.choose(Some("a")), Chosen::Digest("d1"));
        assert_eq!(index.choose(Some("b")), Chosen::Several);
        assert_eq!(index.choose(Some("c")), Chosen::None);
        assert_eq!(index.choose(None), Chosen::Several);
        assert_eq!(index.names().collect::<Vec<_>>(), ["a", "b", "a", "b"]);

        let nameless = OciIndex::parse(br#"{"manifests": [{"digest": "d"}]}"#).unwrap();
        assert_eq!(nameless.choose(None), Chosen::Digest("d"));
        assert_eq!(nameless.choose(Some("a")), Chosen::None);
        assert_eq!(OciIndex::parse(br#"{"manifests": []}"#).unwrap().choose(None), Chosen::None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = OciIndex::parse(&bytes);
        }
    }
}
