//! System use areas, in which Rock Ridge says what ISO 9660 does not: entries at the end of a directory record, which may
//! continue elsewhere (`CE`) up to a terminator (`ST`) or the end.
//!
//! An entry is a two-letter signature, its length, a version and its data.
//!
//! Reference: SUSP 1.12.

use std::borrow::Cow;

use super::{BLOCK, field};
use crate::{Error, Extent};

/// As many as Linux follows.
const CONTINUATIONS_MAX: usize = 32;
/// The signature, the length and the version.
const ENTRY_MIN: usize = 4;

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// So far into the area.
    Area(u64),
    /// In a continuation, at this offset of the ISO.
    Continuation(u64),
}

/// The entries of one area, without those that continue it, and where in it they are.
pub(super) struct Entries<'a> {
    area: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn new(area: &'a [u8]) -> Self {
        Self { area, at: 0 }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.area.get(at..)?;
        let entry = rest.get(..usize::from(*rest.get(2)?)).filter(|entry| entry.len() >= ENTRY_MIN)?;
        self.at = if entry.starts_with(b"ST") { self.area.len() } else { at + entry.len() };
        Some((at, entry))
    }
}

/// Visits all entries of an area and of its continuations, which `read` reads and has to bound.
pub(super) fn walk(
    area: &[u8],
    mut read: impl FnMut(Extent) -> Result<Vec<u8>, Error>,
    mut visit: impl FnMut(Place, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut area = Cow::Borrowed(area);
    let mut start = None;
    for _ in 0..=CONTINUATIONS_MAX {
        let mut continuation = None;
        for (at, entry) in Entries::new(&area) {
            let at = at as u64;
            visit(start.map_or(Place::Area(at), |start| Place::Continuation(start + at)), entry)?;
            continuation = continued_at(entry).or(continuation);
        }
        let Some(extent) = continuation else { return Ok(()) };
        area = Cow::Owned(read(extent)?);
        start = Some(extent.offset);
    }
    Err(Error::Malformed { what: "a Rock Ridge name".to_owned(), problem: "it continues too often" })
}

/// Where an area continues, if the entry says so.
pub(super) fn continued_at(entry: &[u8]) -> Option<Extent> {
    if !entry.starts_with(b"CE") {
        return None;
    }
    let block = u64::from(field::u32_le(entry, 4)?);
    let offset = u64::from(field::u32_le(entry, 12)?);
    Some(Extent { offset: block * BLOCK + offset, len: u64::from(field::u32_le(entry, 20)?) })
}

/// How many bytes to skip at the start of every system use area, given that of the root directory's `.`.
pub(super) fn bytes_skipped(system_use: &[u8]) -> usize {
    match system_use {
        [b'S', b'P', 7, 1, 0xbe, 0xef, skipped, ..] => usize::from(*skipped),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{CONTINUATIONS_MAX, Place, bytes_skipped, continued_at, walk};
    use crate::{Error, Extent};

    fn continued(block: u32, offset: u32, len: u32) -> Vec<u8> {
        let mut entry = b"CE\x1c\x01".to_vec();
        for number in [block, offset, len] {
            entry.extend(number.to_le_bytes());
            entry.extend(number.to_be_bytes());
        }
        entry
    }

    /// The entries of an area that continues so often, at block 1, 2 and so on.
    fn walked(continuations: usize) -> Result<Vec<(Place, Vec<u8>)>, Error> {
        let mut left = continuations;
        let area = |left: usize, number: u32| {
            let continuation = if left > 0 { continued(number, 100, 40) } else { Vec::new() };
            [b"XX\x05\x01x".to_vec(), continuation].concat()
        };
        let mut entries = Vec::new();
        walk(
            &area(left, 1),
            |extent| {
                left -= 1;
                let block = u32::try_from(extent.offset / 2048).unwrap();
                assert_eq!(extent, Extent { offset: u64::from(block) * 2048 + 100, len: 40 });
                Ok(area(left, block + 1))
            },
            |place, entry| {
                entries.push((place, entry.to_vec()));
                Ok(())
            },
        )?;
        Ok(entries)
    }

    #[test]
    fn continuations_are_followed() {
        let entry = b"XX\x05\x01x".to_vec();
        let expected = [
            (Place::Area(0), entry.clone()),
            (Place::Area(5), continued(1, 100, 40)),
            (Place::Continuation(2148), entry.clone()),
            (Place::Continuation(2153), continued(2, 100, 40)),
            (Place::Continuation(4196), entry),
        ];
        assert_eq!(walked(2).unwrap(), expected);
    }

    #[test]
    fn continuations_are_bounded() {
        assert_eq!(walked(CONTINUATIONS_MAX).unwrap().len(), 2 * CONTINUATIONS_MAX + 1);
        let refused = walked(CONTINUATIONS_MAX + 1).unwrap_err();
        assert!(refused.to_string().ends_with("it continues too often"), "{refused}");
    }

    #[test]
    fn a_broken_area_ends_where_it_breaks() {
        for area in [&b"XX"[..], b"XX\x00\x01x", b"XX\x03", b"XX\x03\x01", b"XX\xff\x01x", b""] {
            walk(area, |_| unreachable!(), |_, entry| panic!("{entry:?} in {area:?}")).unwrap();
        }
        let mut entries = 0;
        let count = |_, _: &[u8]| {
            entries += 1;
            Ok(())
        };
        walk(b"ST\x04\x01XX\x05\x01x", |_| unreachable!(), count).unwrap();
        assert_eq!(entries, 1);
        assert_eq!(continued_at(b"CE\x05\x01\x00"), None);
    }

    #[test]
    fn the_root_directory_tells_what_to_skip() {
        assert_eq!(bytes_skipped(b"SP\x07\x01\xbe\xef\x03RR"), 3);
        assert_eq!(bytes_skipped(b"SP\x07\x01\xbe\xee\x03RR"), 0);
        assert_eq!(bytes_skipped(b""), 0);
    }
}
