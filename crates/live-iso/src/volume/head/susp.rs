//! Block numbers in Rock Ridge entries: where a system use area continues (`CE`), and where a directory that was moved
//! for its depth lies or came from (`CL`, `PL`). An entry holds it behind its signature, length and version.

use super::super::{BLOCK, field, rock_ridge};
use super::relocation::Relocation;
use super::{Reader, both_endian, malformed, put, u32_block};
use crate::{Error, Extent, ReadAt};

/// As many as Linux follows.
const CONTINUATIONS_MAX: usize = 32;
const NUMBER: usize = 4;

/// Where a block number is, and which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location {
    /// In the structure that holds it, or in the ISO when it is in a continuation.
    pub(super) at: u64,
    block: u64,
    /// What lies there, if it is a continuation.
    continuation: Option<Extent>,
}

/// The entries of a system use area, and where in it they are.
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
        let entry = rest.get(..usize::from(*rest.get(2)?)).filter(|entry| entry.len() >= NUMBER)?;
        self.at = if entry.starts_with(b"ST") { self.area.len() } else { at + entry.len() };
        Some((at, entry))
    }
}

/// The block numbers in a system use area, and where it continues.
pub(super) fn locations(area: &[u8]) -> (Vec<Location>, Option<Extent>) {
    let mut continuation = None;
    let mut locations = Vec::new();
    for (at, entry) in Entries::new(area) {
        if !matches!(entry, [b'C', b'E' | b'L', ..] | [b'P', b'L', ..]) {
            continue;
        }
        let Some(block) = field::u32_le(entry, NUMBER) else { continue };
        let continued = entry.starts_with(b"CE").then(|| rock_ridge::continued_at(entry)).flatten();
        locations.push(Location {
            at: (at + NUMBER) as u64,
            block: u64::from(block),
            continuation: continued,
        });
        continuation = continued.or(continuation);
    }
    (locations, continuation)
}

/// The block numbers in a continuation and in what continues that.
pub(super) fn continued_locations<R: ReadAt + ?Sized>(
    reader: &mut Reader<'_, R>,
    mut continuation: Option<Extent>,
    found: &mut Vec<Location>,
) -> Result<(), Error> {
    for _ in 0..CONTINUATIONS_MAX {
        let Some(extent) = continuation else { return Ok(()) };
        let area = reader.bytes("a Rock Ridge continuation", extent)?;
        let (locations, next) = locations(&area);
        found.extend(
            locations.iter().map(|location| Location { at: extent.offset + location.at, ..*location }),
        );
        continuation = next;
    }
    Err(malformed("a Rock Ridge name", "it continues too often"))
}

/// The number that takes the place of another one.
pub(super) fn relocated(location: Location, relocation: &Relocation) -> Result<[u8; 8], Error> {
    let block = match location.continuation {
        Some(extent) => {
            let end = extent.end().unwrap_or(u64::MAX).div_ceil(BLOCK);
            relocation.kept(location.block..end.max(location.block + 1))
        }
        None => relocation.block(location.block),
    };
    let lost = || {
        malformed("a Rock Ridge entry", "it names a block that is none of the volume's, or something else's")
    };
    Ok(both_endian(u32_block(block.ok_or_else(lost)?)?))
}

/// Replaces the block numbers in a record.
pub(super) fn relocate(
    record: &mut [u8],
    locations: &[Location],
    relocation: &Relocation,
) -> Result<(), Error> {
    for location in locations {
        let at = usize::try_from(location.at).unwrap_or(usize::MAX);
        put(record, at, &relocated(*location, relocation)?)?;
    }
    Ok(())
}
