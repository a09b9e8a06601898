//! Block numbers in Rock Ridge entries: where a system use area continues (`CE`), and where a directory that was moved
//! for its depth lies or came from (`CL`, `PL`). An entry holds it behind its signature, length and version.

use super::super::record::Record;
use super::super::{BLOCK, field, susp};
use super::relocation::Relocation;
use super::{Reader, both_endian, malformed, put, u32_block};
use crate::{Error, Extent, ReadAt};

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

/// The block numbers in a record. Those in what continues it are added to `continued`.
pub(super) fn read<R: ReadAt + ?Sized>(
    reader: &mut Reader<'_, R>,
    record: &Record<'_>,
    continued: &mut Vec<Location>,
) -> Result<Vec<Location>, Error> {
    let system_use_at = (record.bytes.len() - record.system_use.len()) as u64;
    let mut locations = Vec::new();
    let read = |extent| reader.bytes("a Rock Ridge continuation", extent);
    susp::walk(record.system_use, read, |place, entry| {
        if !matches!(entry, [b'C', b'E' | b'L', ..] | [b'P', b'L', ..]) {
            return Ok(());
        }
        let Some(block) = field::u32_le(entry, NUMBER).map(u64::from) else { return Ok(()) };
        let continuation = susp::continued_at(entry);
        let location = |at| Location { at: at + NUMBER as u64, block, continuation };
        match place {
            susp::Place::Area(at) => locations.push(location(system_use_at + at)),
            susp::Place::Continuation(at) => continued.push(location(at)),
        }
        Ok(())
    })?;
    Ok(locations)
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
