use coreos_names::Sha256;
use live_iso::{Plan, Segment};
use sha2::Digest;

/// A strong entity tag: the name of exactly these bytes.
///
/// It is made of what is sent, never of what that was made from. So every replica gives the same bytes the same tag,
/// and one that compresses differently gives its bytes another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag(String);

impl EntityTag {
    /// The tag of a plan over the image with this digest.
    pub(super) fn of(image: Sha256, plan: &Plan) -> Self {
        let mut hash = sha2::Sha256::new();
        hash.update(image.as_bytes());
        for segment in plan.segments() {
            let (kind, offset) = match segment {
                Segment::Base(extent) => (0_u8, extent.offset),
                Segment::Bytes(_) => (1, 0),
                Segment::Zeros(_) => (2, 0),
                Segment::Nmstate(extent) => (3, extent.offset),
            };
            hash.update([kind]);
            hash.update(offset.to_be_bytes());
            hash.update(segment.len().to_be_bytes());
            if let Segment::Bytes(bytes) = segment {
                hash.update(bytes);
            }
        }
        Self(format!("\"{}\"", Sha256::new(hash.finalize())))
    }

    /// The tag as headers have it, in quotes.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use coreos_names::Sha256;
    use live_iso::{Extent, Plan, Segment};

    use super::EntityTag;

    const IMAGE: Extent = Extent { offset: 0, len: 1000 };

    fn tag(image: u8, overlays: &[(u64, Segment)]) -> EntityTag {
        let mut plan = Plan::base(IMAGE);
        for (offset, segment) in overlays {
            plan = plan.overlay(*offset, [segment.clone()]).unwrap();
        }
        EntityTag::of(Sha256::from([image; 32]), &plan)
    }

    #[test]
    fn the_same_bytes_have_the_same_tag() {
        let bytes = |offset| (offset, Segment::Bytes(Bytes::from_static(b"config")));
        assert_eq!(tag(1, &[bytes(10)]), tag(1, &[bytes(10)]));
        assert_eq!(tag(1, &[]).as_str().len(), 2 + 64);
    }

    #[test]
    fn other_bytes_have_another_tag() {
        let bytes =
            |offset, text: &'static str| (offset, Segment::Bytes(Bytes::from_static(text.as_bytes())));
        let tags = [
            tag(1, &[]),
            tag(2, &[]),
            tag(1, &[bytes(10, "config")]),
            tag(1, &[bytes(10, "confog")]),
            tag(1, &[bytes(11, "config")]),
            tag(1, &[(10, Segment::Zeros(6))]),
            tag(1, &[bytes(10, "config"), (16, Segment::Zeros(6))]),
            EntityTag::of(Sha256::from([1; 32]), &Plan::base(Extent { offset: 1, len: 999 })),
            EntityTag::of(Sha256::from([1; 32]), &Plan::base(Extent { offset: 0, len: 999 })),
        ];
        for (index, tag) in tags.iter().enumerate() {
            assert!(!tags[..index].contains(tag), "{index}");
        }
    }
}
