//! Where everything that a directory record may name is in the new image, and the directories that say so.

use std::collections::HashMap;

use super::super::super::{BLOCK, field};
use super::super::directory;
use super::super::edits::{Edits, NewDirectory, NewEntry};
use super::super::relocation::Relocation;
use super::super::{Head, both_endian, locations, malformed, put, u32_block};
use super::writer::Writer;
use super::{blocks, blocks_of};
use crate::{Error, Extent};

/// Where a directory record has the block and the length of its file.
const RECORD_BLOCK: usize = 2;
const RECORD_LEN: usize = 10;

/// Where everything that a record may name is in the new image.
pub(super) struct Destinations<'a> {
    edits: &'a Edits,
    pub(super) relocation: Relocation,
    /// Block and length of every directory, by its old block.
    directories: HashMap<u64, (u32, u32)>,
    pub(super) added: Vec<Extent>,
}

impl<'a> Destinations<'a> {
    pub(super) fn new(
        head: &Head,
        edits: &'a Edits,
        new_directories: &[NewDirectory],
        relocation: Relocation,
    ) -> Result<Self, Error> {
        let mut directories = HashMap::new();
        for (old, new) in head.directories.iter().zip(new_directories) {
            let lost = || malformed("a directory", "it lies in another structure");
            let old_blocks = old.block..old.block + old.len.div_ceil(BLOCK);
            let piece = relocation.made(&old_blocks).ok_or_else(lost)?;
            let len = (piece.new.end - piece.new.start) * BLOCK;
            // go-diskfs writes lengths that are no whole blocks.
            let len = if new.is_changed || old.len.is_multiple_of(BLOCK) { len } else { old.len };
            directories.insert(old.block, (u32_block(piece.new.start)?, u32_block(len)?));
        }
        let mut offset = edits
            .removed
            .first()
            .and_then(|removed| relocation.replaced(&blocks_of(*removed)))
            .ok_or_else(|| malformed("the volume", "its root file system is nowhere"))?;
        let mut added = Vec::new();
        for file in &edits.added {
            added.push(Extent { offset: offset * BLOCK, len: file.content.len() });
            offset += blocks(file.content.len());
        }
        Ok(Self { edits, relocation, directories, added })
    }

    pub(super) fn write_directory(&self, entries: &[NewEntry], writer: &mut Writer) -> Result<(), Error> {
        let start = writer.len;
        for NewEntry { entry, added } in entries {
            let mut record = entry.bytes.clone();
            if entry.is_directory {
                self.relocate_directory(&mut record)?;
            } else {
                let (block, len) = match added {
                    Some(number) => self.added_file(*number),
                    None => self.file(entry),
                }
                .ok_or_else(|| {
                    malformed(entry.name(), "it lies beyond the volume or in another structure")
                })?;
                put(&mut record, RECORD_BLOCK, &both_endian(block))?;
                put(&mut record, RECORD_LEN, &both_endian(len))?;
            }
            locations::relocate(&mut record, &entry.locations, &self.relocation)?;
            writer.fill_to(start + directory::place(writer.len - start, record.len()));
            writer.bytes(&record);
        }
        Ok(())
    }

    /// Where a file is now, as a record has it.
    fn file(&self, entry: &directory::Entry) -> Option<(u32, u32)> {
        let len = u32::try_from(entry.extent.len).ok()?;
        if len == 0 {
            // Such a file is nowhere; a block it names is only kept if there is one.
            return Some((u32_block(self.relocation.block(entry.block).unwrap_or(0)).ok()?, 0));
        }
        let blocks = entry.block..entry.block + entry.blocks;
        if let Some((_, content)) = self.edits.replaced.iter().find(|(old, _)| *old == entry.extent) {
            let block = self.relocation.replaced(&blocks)?;
            return Some((u32_block(block).ok()?, u32::try_from(content.len()).ok()?));
        }
        Some((u32_block(self.relocation.kept(blocks)?).ok()?, len))
    }

    fn added_file(&self, number: usize) -> Option<(u32, u32)> {
        let extent = self.added.get(number)?;
        Some((u32_block(extent.offset / BLOCK).ok()?, u32::try_from(extent.len).ok()?))
    }

    /// Replaces place and length of a directory in its record.
    pub(super) fn relocate_directory(&self, record: &mut [u8]) -> Result<(), Error> {
        let old = field::u32_le(record, RECORD_BLOCK).map(u64::from);
        let place = old.and_then(|old| self.directories.get(&old));
        let (block, len) = place.ok_or_else(|| malformed("a directory", "a record leads to none"))?;
        put(record, RECORD_BLOCK, &both_endian(*block))?;
        put(record, RECORD_LEN, &both_endian(*len))
    }
}
