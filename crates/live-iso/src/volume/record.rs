//! Directory records, of which a directory is a sequence:
//!
//! ```text
//!  0  length of the record            25  flags
//!  1  blocks of extended attributes   26  unit size when interleaved
//!  2  block, both byte orders         27  gap size when interleaved
//! 10  length, both byte orders        28  volume number, both byte orders
//! 18  date                            32  length of the name
//! 33  name, a byte of padding if its length is even, then the system use area up to the end
//! ```
//!
//! A record never crosses a block; zeros fill the block after its last record.

use super::{BLOCK, field};
use crate::Extent;

const DIRECTORY: u8 = 0x02;
const MORE_EXTENTS: u8 = 0x80;

#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// The record as it is.
    pub(super) bytes: &'a [u8],
    /// The ISO 9660 name, such as `KARGS.JSO;1`.
    pub(super) identifier: &'a [u8],
    pub(super) system_use: &'a [u8],
    /// Where its extended attributes begin, or itself when it has none.
    block: u64,
    extent: Extent,
    flags: u8,
    interleaved: bool,
}

impl<'a> Record<'a> {
    /// Reads the record that fills `bytes`.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let block = u64::from(field::u32_le(bytes, 2)?);
        let attribute_blocks = u64::from(*bytes.get(1)?);
        let interleaving = bytes.get(26..28)?;
        let (identifier, rest) = bytes.get(33..)?.split_at_checked(usize::from(*bytes.get(32)?))?;
        let padding = usize::from(identifier.len().is_multiple_of(2));
        Some(Self {
            bytes,
            identifier,
            system_use: rest.get(padding..).unwrap_or_default(),
            block,
            extent: Extent {
                offset: (block + attribute_blocks) * BLOCK,
                len: u64::from(field::u32_le(bytes, 10)?),
            },
            flags: *bytes.get(25)?,
            interleaved: interleaving != [0, 0],
        })
    }

    pub(super) fn extent(&self) -> Extent {
        self.extent
    }

    pub(super) fn block(&self) -> u64 {
        self.block
    }

    pub(super) fn is_directory(&self) -> bool {
        self.flags & DIRECTORY != 0
    }

    /// Whether the next record continues this file.
    pub(super) fn has_more_extents(&self) -> bool {
        self.flags & MORE_EXTENTS != 0
    }

    /// Whether the file alternates with gaps, which nobody ever writes.
    pub(super) fn is_interleaved(&self) -> bool {
        self.interleaved
    }

    /// Whether this is the directory itself (`.`).
    pub(super) fn is_current(&self) -> bool {
        self.identifier == [0]
    }

    /// Whether this is the directory's parent (`..`).
    pub(super) fn is_parent(&self) -> bool {
        self.identifier == [1]
    }
}

/// The records of a directory; an item is None where the directory is broken, and nothing follows it.
pub(super) struct Records<'a> {
    directory: &'a [u8],
    position: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(directory: &'a [u8]) -> Self {
        Self { directory, position: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = usize::try_from(BLOCK).ok()?;
        while *self.directory.get(self.position)? == 0 {
            self.position = (self.position / block + 1) * block;
        }
        let rest = self.directory.get(self.position..)?;
        let len = usize::from(*rest.first()?);
        let record = rest.get(..len).and_then(Record::parse);
        self.position = if record.is_some() { self.position + len } else { self.directory.len() };
        Some(record)
    }
}
