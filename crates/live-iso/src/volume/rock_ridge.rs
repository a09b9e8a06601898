//! Rock Ridge names: `NM` entries in the system use area of a record.

use super::susp;
use super::tree::Budget;
use crate::read_at::Source;
use crate::{Error, ReadAt};

/// Names need a few hundred bytes at most, but extended attributes share the place.
const CONTINUATION_BYTES_MAX: u64 = 64 << 10;
/// No file system allows longer names.
const NAME_MAX: usize = 255;

const NAME_IS_SPECIAL: u8 = 0x02 | 0x04; // `.` and `..`

/// The name in a system use area, if it holds one.
pub(super) fn name<R: ReadAt + ?Sized>(
    source: &Source<'_, R>,
    system_use: &[u8],
    budget: &mut Budget,
) -> Result<Option<String>, Error> {
    let mut name = Vec::new();
    let read = |continuation: crate::Extent| {
        budget.spend_directory_bytes(continuation.len)?;
        source.read("a Rock Ridge continuation", continuation, CONTINUATION_BYTES_MAX)
    };
    susp::walk(system_use, read, |_, entry| {
        name.extend_from_slice(part(entry));
        if name.len() > NAME_MAX {
            let (what, problem) = ("a Rock Ridge name".to_owned(), "it is longer than 255 bytes");
            return Err(Error::Malformed { what, problem });
        }
        Ok(())
    })?;
    Ok((!name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned()))
}

/// What an entry adds to the name.
fn part(entry: &[u8]) -> &[u8] {
    match entry {
        [b'N', b'M', _, _, flags, part @ ..] if flags & NAME_IS_SPECIAL == 0 => part,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::part;
    use crate::volume::susp::Entries;

    fn name(area: &[u8]) -> String {
        let parts: Vec<_> = Entries::new(area).map(|(_, entry)| part(entry)).collect();
        String::from_utf8(parts.concat()).unwrap()
    }

    #[test]
    fn parts_of_a_name_are_joined() {
        assert_eq!(name(b"RR\x05\x01\x89NM\x08\x01\x01karNM\x0c\x01\x00gs.json"), "kargs.json");
    }

    #[test]
    fn special_and_cut_names_are_none() {
        for area in [&b"NM\x05\x01\x02"[..], b"NM\x05\x01\x04", b"NM\x04\x01", b"ST\x04\x01NM\x06\x01\x00x"] {
            assert_eq!(name(area), "", "{area:?}");
        }
    }
}
