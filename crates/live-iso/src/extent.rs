//! Runs of bytes: what everything that is found in an ISO comes down to. Their arithmetic is checked, for offsets and
//! lengths are foreign.

/// A run of bytes in the ISO.
///
/// Every extent that [`Layout`](crate::Layout) hands out lies within the ISO it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// Where the run begins.
    pub offset: u64,
    /// How many bytes it has.
    pub len: u64,
}

impl Extent {
    /// The first `len` bytes, or all if there are fewer, and the rest.
    #[must_use]
    pub fn split_at(self, len: u64) -> (Self, Self) {
        let len = len.min(self.len);
        (Self { len, ..self }, Self { offset: self.offset.saturating_add(len), len: self.len - len })
    }

    /// Where the run ends, if a file could be that large.
    pub const fn end(self) -> Option<u64> {
        self.offset.checked_add(self.len)
    }

    /// The `len` bytes that begin `offset` bytes into the run, if it has them.
    pub fn part(self, offset: u64, len: u64) -> Option<Self> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        Some(Self { offset: self.offset.checked_add(offset)?, len })
    }

    /// Whether all of `other` lies in the run.
    pub(crate) fn contains(self, other: Self) -> bool {
        other.offset.checked_sub(self.offset).is_some_and(|offset| self.part(offset, other.len).is_some())
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        let before = |first: Self, second: Self| first.end().is_some_and(|end| end <= second.offset);
        !before(self, other) && !before(other, self)
    }
}

#[cfg(test)]
mod tests {
    use super::Extent;

    const EXTENT: Extent = Extent { offset: 100, len: 10 };

    #[test]
    fn a_part_lies_within_the_whole() {
        assert_eq!(EXTENT.part(0, 10), Some(EXTENT));
        assert_eq!(EXTENT.part(4, 6), Some(Extent { offset: 104, len: 6 }));
        assert_eq!(EXTENT.part(10, 0), Some(Extent { offset: 110, len: 0 }));
        for (offset, len) in [(0, 11), (4, 7), (11, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert_eq!(EXTENT.part(offset, len), None, "{len} bytes at {offset}");
        }
        assert_eq!(Extent { offset: u64::MAX, len: 2 }.part(1, 1), None);
    }

    #[test]
    fn a_whole_contains_its_parts() {
        for (offset, len, expected) in [
            (100, 10, true),
            (109, 1, true),
            (110, 0, true),
            (99, 2, false),
            (109, 2, false),
            (100, u64::MAX, false),
        ] {
            assert_eq!(EXTENT.contains(Extent { offset, len }), expected, "{len} bytes at {offset}");
        }
    }

    #[test]
    fn neighbours_do_not_overlap() {
        let neighbours = [Extent { offset: 90, len: 10 }, Extent { offset: 110, len: 1 }];
        let intruders = [Extent { offset: 90, len: 11 }, Extent { offset: 109, len: 1 }, EXTENT];
        for (others, expected) in [(&neighbours[..], false), (&intruders[..], true)] {
            for other in others {
                assert_eq!(EXTENT.overlaps(*other), expected, "{other:?}");
                assert_eq!(other.overlaps(EXTENT), expected, "{other:?}");
            }
        }
    }
}
