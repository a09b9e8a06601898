//! Entity tags: made of what is sent, with the digests of what lies in memory hashed only once where that is worth it.

use std::sync::Arc;

use bytes::Bytes;
use coreos_names::Sha256;
use live_iso::{Plan, Segment};
use sha2::Digest;
use tokio::task::{JoinError, spawn_blocking};

/// What is shorter is hashed faster than found.
const WORTH_REMEMBERING: usize = 4096;

/// What is longer is hashed on the thread pool for blocking work.
const LONG: usize = 64 * 1024;

/// A strong entity tag: the name of exactly these bytes.
///
/// It is made of what is sent, never of what that was made from. So every replica gives the same bytes the same tag,
/// and one that compresses differently gives its bytes another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag(String);

impl EntityTag {
    /// The tag of a plan over the image and the nmstate archive with these digests. Others that it takes may be known
    /// already.
    pub(super) fn of(image: Sha256, nmstate: Option<Sha256>, plan: &Plan, known: &KnownDigests) -> Self {
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
            let digest = match segment {
                Segment::Bytes(bytes) => Some(known.digest_of(bytes)),
                Segment::Nmstate(_) => nmstate,
                Segment::Base(_) | Segment::Zeros(_) => None,
            };
            hash.update(digest.as_ref().map_or(&[][..], |digest| digest.as_bytes()));
        }
        Self(format!("\"{}\"", Sha256::new(hash.finalize())))
    }

    /// The tag as headers have it, in quotes.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Digests of bytes that lie in memory anyway and are part of many plans, such as the head of a minimal ISO. A tag does
/// not depend on what is known here, only the time it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownDigests(Arc<[(Bytes, Sha256)]>);

impl KnownDigests {
    /// Those of all long segments of a plan.
    pub(crate) fn of(plan: &Plan) -> Self {
        let long = plan.segments().filter_map(|segment| match segment {
            Segment::Bytes(bytes) if bytes.len() >= WORTH_REMEMBERING => Some(bytes),
            _ => None,
        });
        Self(long.map(|bytes| (bytes.clone(), digest(bytes))).collect())
    }

    /// These and those of what would keep a thread of the runtime busy.
    pub(crate) async fn with_long(self, plan: &Plan) -> Result<Self, JoinError> {
        let unknown = plan.segments().filter_map(|segment| match segment {
            Segment::Bytes(bytes) if bytes.len() >= LONG && self.find(bytes).is_none() => Some(bytes.clone()),
            _ => None,
        });
        let unknown: Vec<_> = unknown.collect();
        if unknown.is_empty() {
            return Ok(self);
        }
        let hashing = spawn_blocking(move || {
            let hashed = unknown.into_iter().map(|bytes| {
                let digest = digest(&bytes);
                (bytes, digest)
            });
            Self(self.0.iter().cloned().chain(hashed).collect())
        });
        hashing.await
    }

    fn digest_of(&self, bytes: &Bytes) -> Sha256 {
        self.find(bytes).unwrap_or_else(|| digest(bytes))
    }

    fn find(&self, bytes: &Bytes) -> Option<Sha256> {
        // As long as they are kept here, nothing else can be at the same place.
        let is_same = |known: &Bytes| known.as_ptr() == bytes.as_ptr() && known.len() == bytes.len();
        self.0.iter().find(|(known, _)| is_same(known)).map(|(_, digest)| *digest)
    }
}

fn digest(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use coreos_names::Sha256;
    use live_iso::{Extent, Plan, Segment};

    use super::{EntityTag, KnownDigests, LONG, WORTH_REMEMBERING, digest};

    const IMAGE: Extent = Extent { offset: 0, len: 1000 };

    fn of(image: u8, plan: &Plan) -> EntityTag {
        EntityTag::of(Sha256::from([image; 32]), None, plan, &KnownDigests::default())
    }

    fn with_nmstate(archive: Option<u8>) -> EntityTag {
        let plan = Plan::from_iter([Segment::Nmstate(IMAGE)]);
        let archive = archive.map(|archive| Sha256::from([archive; 32]));
        EntityTag::of(Sha256::from([1; 32]), archive, &plan, &KnownDigests::default())
    }

    fn tag(image: u8, overlays: &[(u64, Segment)]) -> EntityTag {
        let mut plan = Plan::base(IMAGE);
        for (offset, segment) in overlays {
            plan = plan.overlay(*offset, [segment.clone()]).unwrap();
        }
        of(image, &plan)
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
            of(1, &Plan::base(Extent { offset: 1, len: 999 })),
            of(1, &Plan::base(Extent { offset: 0, len: 999 })),
            with_nmstate(None),
            with_nmstate(Some(1)),
            with_nmstate(Some(2)),
        ];
        for (index, tag) in tags.iter().enumerate() {
            assert!(!tags[..index].contains(tag), "{index}");
        }
    }

    #[test]
    fn what_is_known_makes_no_difference() {
        let head = Bytes::from(vec![7; 2 * WORTH_REMEMBERING]);
        let plan: Plan = [Segment::Bytes(head.clone()), Segment::Base(IMAGE)].into_iter().collect();
        let known = KnownDigests::of(&plan);
        assert_eq!(known.digest_of(&head), digest(&head));
        let customised = plan.clone().overlay(100, [Segment::Bytes(Bytes::from_static(b"config"))]).unwrap();
        let image = Sha256::from([1; 32]);
        for plan in [plan, customised, Plan::from_iter([Segment::Bytes(Bytes::copy_from_slice(&head))])] {
            assert_eq!(EntityTag::of(image, None, &plan, &known), of(1, &plan));
        }
    }

    #[tokio::test]
    async fn what_is_long_is_known_before_the_tag_is_made() {
        let [short, long, known] = [LONG - 1, LONG, LONG].map(|len| Bytes::from(vec![7; len]));
        let all = [&short, &long, &known].map(|bytes| Segment::Bytes(bytes.clone()));
        let digests = KnownDigests([(known.clone(), Sha256::from([9; 32]))].into());
        let digests = digests.with_long(&Plan::from_iter(all)).await.unwrap();
        assert_eq!(digests.find(&short), None);
        assert_eq!(digests.find(&long), Some(digest(&long)));
        assert_eq!(digests.find(&known), Some(Sha256::from([9; 32])), "and is not hashed again");
    }

    #[test]
    fn a_known_digest_is_not_computed_again() {
        let bytes = Bytes::from(vec![7; WORTH_REMEMBERING]);
        let known = KnownDigests([(bytes.clone(), Sha256::from([9; 32]))].into());
        assert_eq!(known.digest_of(&bytes), Sha256::from([9; 32]));
        assert_eq!(known.digest_of(&bytes.slice(1..)), digest(&bytes[1..]));
        assert_eq!(known.digest_of(&Bytes::copy_from_slice(&bytes)), digest(&bytes));
    }
}
