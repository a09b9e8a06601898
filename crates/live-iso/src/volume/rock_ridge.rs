//! Rock Ridge names: `NM` entries in the system use area of a record, which may continue elsewhere (`CE`).
//!
//! An entry is a two-letter signature, its length, a version and its data.

use std::borrow::Cow;

use super::tree::Budget;
use super::{BLOCK, field};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

/// As many as Linux follows.
const CONTINUATIONS_MAX: usize = 32;
/// Names need a few hundred bytes at most, but extended attributes share the place.
const CONTINUATION_BYTES_MAX: u64 = 64 << 10;
/// No file system allows longer names.
const NAME_MAX: usize = 255;

const NAME_IS_SPECIAL: u8 = 0x02 | 0x04; // `.` and `..`

/// How many bytes to skip at the start of every system use area, given that of the root directory's `.`.
pub(super) fn bytes_skipped(system_use: &[u8]) -> usize {
    match system_use {
        [b'S', b'P', 7, 1, 0xbe, 0xef, skipped, ..] => usize::from(*skipped),
        _ => 0,
    }
}

/// The name in a system use area, if it holds one.
pub(super) fn name<R: ReadAt + ?Sized>(
    source: &Source<'_, R>,
    system_use: &[u8],
    budget: &mut Budget,
) -> Result<Option<String>, Error> {
    let mut name = Vec::new();
    let mut area = Cow::Borrowed(system_use);
    for _ in 0..=CONTINUATIONS_MAX {
        let continuation = scan(&area, &mut name);
        if name.len() > NAME_MAX {
            return Err(malformed("it is longer than 255 bytes"));
        }
        let Some(continuation) = continuation else {
            return Ok((!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned()));
        };
        budget.spend_directory_bytes(continuation.len)?;
        area = Cow::Owned(source.read("a Rock Ridge continuation", continuation, CONTINUATION_BYTES_MAX)?);
    }
    Err(malformed("it continues too often"))
}

/// Adds the parts of a name in `area` to `name`, and says where the area continues.
fn scan(mut area: &[u8], name: &mut Vec<u8>) -> Option<Extent> {
    let mut continuation = None;
    while let Some((entry, rest)) = area.get(2).and_then(|len| area.split_at_checked(usize::from(*len))) {
        match entry {
            [b'N', b'M', _, _, flags, part @ ..] if flags & NAME_IS_SPECIAL == 0 => {
                name.extend_from_slice(part);
            }
            [b'C', b'E', ..] => continuation = continued_at(entry),
            [b'S', b'T', ..] | [] | [_] | [_, _] | [_, _, _] => break,
            _ => {}
        }
        area = rest;
    }
    continuation
}

pub(super) fn continued_at(entry: &[u8]) -> Option<Extent> {
    let block = u64::from(field::u32_le(entry, 4)?);
    let offset = u64::from(field::u32_le(entry, 12)?);
    Some(Extent { offset: block * BLOCK + offset, len: u64::from(field::u32_le(entry, 20)?) })
}

fn malformed(problem: &'static str) -> Error {
    Error::Malformed { what: "a Rock Ridge name".to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::{bytes_skipped, scan};
    use crate::Extent;

    fn scanned(area: &[u8]) -> (String, Option<Extent>) {
        let mut name = Vec::new();
        let continuation = scan(area, &mut name);
        (String::from_utf8(name).expect("test names are text"), continuation)
    }

    #[test]
    fn parts_of_a_name_are_joined() {
        assert_eq!(
            scanned(b"RR\x05\x01\x89NM\x08\x01\x01karNM\x0c\x01\x00gs.json"),
            ("kargs.json".to_owned(), None)
        );
    }

    #[test]
    fn continuations_are_found() {
        let mut area = b"NM\x06\x01\x01kCE\x1c\x01".to_vec();
        for number in [30_u32, 100, 40] {
            area.extend(number.to_le_bytes());
            area.extend(number.to_be_bytes());
        }
        assert_eq!(scanned(&area), ("k".to_owned(), Some(Extent { offset: 30 * 2048 + 100, len: 40 })));
    }

    #[test]
    fn a_broken_area_ends_where_it_breaks() {
        for area in
            [&b"NM"[..], b"NM\x00\x01\x00x", b"NM\x03", b"NM\xff\x01\x00x", b"ST\x04\x01NM\x06\x01\x00x", b""]
        {
            assert_eq!(scanned(area), (String::new(), None), "{area:?}");
        }
        assert_eq!(scanned(b"NM\x05\x01\x02"), (String::new(), None));
    }

    #[test]
    fn the_root_directory_tells_what_to_skip() {
        assert_eq!(bytes_skipped(b"SP\x07\x01\xbe\xef\x03RR"), 3);
        assert_eq!(bytes_skipped(b"SP\x07\x01\xbe\xee\x03RR"), 0);
        assert_eq!(bytes_skipped(b""), 0);
    }
}
