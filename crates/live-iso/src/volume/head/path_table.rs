//! Path tables: all directories of a tree in one list, in each byte order.
//!
//! A record: length of the name, blocks of extended attributes, block (4), number of the parent (2), the name, and a
//! byte of padding if the name has an odd length.

use super::super::{BLOCK, field};
use super::relocation::Relocation;
use super::{
    PATH_TABLE_SIZE, PATH_TABLES_BIG_ENDIAN, PATH_TABLES_LITTLE_ENDIAN, Reader, malformed, put, u32_block,
};
use crate::{Error, Extent, ReadAt};

const LOCATION: usize = 2;
const NAME: usize = 8;

pub(super) struct PathTable {
    pub(super) block: u64,
    big_endian: bool,
    bytes: Vec<u8>,
}

impl PathTable {
    /// Reads the tables that a descriptor names, up to four. Those that `tables` has already are left out.
    pub(super) fn read_all<R: ReadAt + ?Sized>(
        reader: &mut Reader<'_, R>,
        descriptor: &[u8],
        tables: &mut Vec<Self>,
    ) -> Result<(), Error> {
        let len = field::u32_le(descriptor, PATH_TABLE_SIZE).map_or(0, u64::from);
        for (block, big_endian) in places().filter_map(|(at, big_endian)| {
            read_number(descriptor, at, big_endian).filter(|block| *block > 0).zip(Some(big_endian))
        }) {
            if tables.iter().all(|table| table.block != block) {
                let bytes = reader.bytes("a path table", Extent { offset: block * BLOCK, len })?;
                tables.push(Self { block, big_endian, bytes });
            }
        }
        Ok(())
    }

    pub(super) fn blocks(&self) -> u64 {
        (self.bytes.len() as u64).div_ceil(BLOCK)
    }

    /// The table with the new places of its directories.
    pub(super) fn relocated(&self, relocation: &Relocation) -> Result<Vec<u8>, Error> {
        let mut bytes = self.bytes.clone();
        let mut at = 0;
        while at < bytes.len() {
            let malformed = |problem| malformed("a path table", problem);
            let block = read_number(&bytes, at + LOCATION, self.big_endian);
            let block = block.ok_or_else(|| malformed("its last record is too short"))?;
            let lost = || malformed("it has a directory that is none");
            let block = u32_block(relocation.block(block).ok_or_else(lost)?)?;
            put(&mut bytes, at + LOCATION, &number(block, self.big_endian))?;
            let name = bytes.get(at).copied().map_or(0, usize::from);
            at += NAME + name.next_multiple_of(2);
        }
        Ok(bytes)
    }
}

/// Replaces the places of the tables in a descriptor.
pub(super) fn relocate(descriptor: &mut [u8], relocation: &Relocation) -> Result<(), Error> {
    for (at, big_endian) in places() {
        let Some(block) = read_number(descriptor, at, big_endian).filter(|block| *block > 0) else {
            continue;
        };
        let lost = || malformed("a path table", "it lies beyond the volume");
        let block = u32_block(relocation.block(block).ok_or_else(lost)?)?;
        put(descriptor, at, &number(block, big_endian))?;
    }
    Ok(())
}

/// Where a descriptor has the blocks of its tables, and which are big-endian.
fn places() -> impl Iterator<Item = (usize, bool)> {
    let little = PATH_TABLES_LITTLE_ENDIAN.into_iter().map(|at| (at, false));
    little.chain(PATH_TABLES_BIG_ENDIAN.into_iter().map(|at| (at, true)))
}

fn read_number(bytes: &[u8], at: usize, big_endian: bool) -> Option<u64> {
    let number = field::u32_le(bytes, at)?;
    Some(u64::from(if big_endian { number.swap_bytes() } else { number }))
}

fn number(number: u32, big_endian: bool) -> [u8; 4] {
    if big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
}
