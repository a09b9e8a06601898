//! From a head and edits to the plan of another image.
//!
//! The new image is the old one cut into pieces, of which some are kept as they are, some are made anew and so grow or
//! shrink, and some are left out. The order of pieces stays. Every number that says where something lies is then looked
//! up in the [`Relocation`]: so extents that were shared still are, and what no structure names (padding, a version
//! block) still is where it was between its neighbours.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::super::BLOCK;
use super::super::descriptor::{self, PRIMARY, SUPPLEMENTARY};
use super::boot_catalog::StoredCatalog;
use super::edits::{Edits, NewDirectory, NewEntry};
use super::partition_tables::{Backup, SystemArea};
use super::relocation::{Piece, Relocation};
use super::{
    Head, ROOT_RECORD, SPACE_SIZE, SYSTEM_AREA, both_endian, directory, locations, malformed, path_table,
    put, u32_block,
};
use crate::{Error, Extent, Plan, Segment};

/// Where a directory record has the block and the length of its file.
const RECORD_BLOCK: usize = 2;
const RECORD_LEN: usize = 10;

/// A new image.
pub(crate) struct Rewritten {
    pub(crate) plan: Plan,
    /// Where the added files are, in the order of [`Edits::added`].
    pub(crate) added: Vec<Extent>,
    relocation: Relocation,
}

impl Rewritten {
    /// Where bytes of files that stayed are now.
    pub(crate) fn kept(&self, extent: Extent) -> Option<Extent> {
        let start = self.relocation.kept(blocks_of(extent))?;
        Some(Extent { offset: start * BLOCK + extent.offset % BLOCK, len: extent.len })
    }

    /// Where a file with other content is now.
    pub(crate) fn replaced(&self, extent: Extent) -> Option<u64> {
        self.relocation.replaced(&blocks_of(extent)).map(|start| start * BLOCK)
    }
}

/// What a piece of the new image is.
#[derive(Clone, Copy)]
enum Content {
    SystemArea,
    Descriptors,
    Directory(usize),
    PathTable(usize),
    Replaced(usize),
    Added,
    Nothing,
}

impl Head {
    /// Plans the image that has the changes.
    pub(crate) fn rewrite(&self, edits: &Edits) -> Result<Rewritten, Error> {
        let directories = self
            .directories
            .iter()
            .map(|directory| edits.new_directory(directory, &self.directories))
            .collect::<Result<Vec<_>, _>>()?;
        let (pieces, contents) = self.pieces(edits, &directories)?;
        let mut tables = self.system_area.clone();
        tables.resize(usize::try_from(SYSTEM_AREA * BLOCK).unwrap_or(0), 0);
        let tables = SystemArea::find(tables)?;
        let new_blocks = pieces.last().map_or(0, |piece| piece.new.end);
        let new_size = tables.size(self.size, self.blocks * BLOCK, new_blocks * BLOCK);
        u32_block(new_blocks)?;
        let relocation = Relocation::new(pieces, self.size, new_size);
        let boot_image = self.boot_catalog.as_ref().and_then(StoredCatalog::default_image);
        let (system_area, backup) = tables.relocated(&relocation, boot_image)?;

        let places = Places::new(self, edits, &directories, relocation)?;
        let mut writer = Writer::default();
        for (piece, content) in places.relocation.pieces().iter().zip(&contents) {
            match *content {
                None => {
                    let len = (piece.old.end - piece.old.start) * BLOCK;
                    writer.segment(Segment::Base(Extent { offset: piece.old.start * BLOCK, len }));
                }
                Some(Content::SystemArea) => writer.bytes(&system_area),
                Some(Content::Descriptors) => self.write_descriptors(&places, &mut writer)?,
                Some(Content::Directory(number)) => {
                    if let Some(directory) = directories.get(number) {
                        places.write_directory(&directory.entries, &mut writer)?;
                    }
                }
                Some(Content::PathTable(number)) => {
                    if let Some(table) = self.path_tables.get(number) {
                        writer.bytes(&table.relocated(&places.relocation)?);
                    }
                }
                Some(Content::Replaced(number)) => {
                    if let Some((_, content)) = edits.replaced.get(number) {
                        writer.segment(Segment::Bytes(content.clone()));
                    }
                }
                Some(Content::Added) => {
                    for file in &edits.added {
                        writer.segment(file.content.clone());
                        writer.fill_block();
                    }
                }
                Some(Content::Nothing) => {}
            }
            writer.fill_to(piece.new.end * BLOCK);
        }
        let relocated_tail = self.tail(new_size, backup.is_some(), &mut writer);
        let patches = self.patches(edits, &places, backup)?;
        let plan = writer.finish();
        if relocated_tail != plan.len() {
            return Err(malformed("the ISO", "its parts overlap"));
        }
        let plan = patched(&plan, patches)?;
        let Places { relocation, added, .. } = places;
        Ok(Rewritten { plan, added, relocation })
    }

    /// Cuts the volume into pieces; a content of None is what is kept.
    fn pieces(
        &self,
        edits: &Edits,
        directories: &[NewDirectory],
    ) -> Result<(Vec<Piece>, Vec<Option<Content>>), Error> {
        let first_descriptor = SYSTEM_AREA;
        let descriptors_end = first_descriptor + self.descriptors.len() as u64;
        let mut made = vec![
            (0..SYSTEM_AREA, SYSTEM_AREA, Content::SystemArea),
            (first_descriptor..descriptors_end, self.descriptors.len() as u64, Content::Descriptors),
        ];
        for (number, (old, new)) in self.directories.iter().zip(directories).enumerate() {
            let blocks = old.len.div_ceil(BLOCK);
            let needed = directory::blocks(new.entries.iter().map(|entry| entry.entry.bytes.len()));
            let new_blocks = if new.is_changed { needed } else { needed.max(blocks) };
            made.push((old.block..old.block + blocks, new_blocks, Content::Directory(number)));
        }
        for (number, table) in self.path_tables.iter().enumerate() {
            let blocks = table.blocks();
            made.push((table.block..table.block + blocks, blocks, Content::PathTable(number)));
        }
        for (number, (old, content)) in edits.replaced.iter().enumerate() {
            made.push((blocks_of(*old), blocks(content.len() as u64), Content::Replaced(number)));
        }
        let added = edits.added.iter().map(|file| blocks(file.content.len())).sum();
        for (number, removed) in edits.removed.iter().enumerate() {
            let (blocks, content) = if number == 0 { (added, Content::Added) } else { (0, Content::Nothing) };
            made.push((blocks_of(*removed), blocks, content));
        }

        made.retain(|(old, _, _)| !old.is_empty());
        made.sort_by_key(|(old, _, _)| old.start);
        let mut cut = Cut::default();
        for (old, new_blocks, content) in made {
            cut.keep_to(old.start)?;
            cut.push(old, new_blocks, Some(content));
        }
        cut.keep_to(self.blocks)?;
        Ok((cut.pieces, cut.contents))
    }

    fn write_descriptors(&self, places: &Places<'_>, writer: &mut Writer) -> Result<(), Error> {
        for old in &self.descriptors {
            let mut descriptor = old.clone();
            match descriptor.first().copied() {
                _ if descriptor::boot_catalog(&descriptor).is_some() => {
                    if let Some(catalog) = &self.boot_catalog {
                        catalog.relocate(&mut descriptor, &places.relocation)?;
                    }
                }
                Some(PRIMARY | SUPPLEMENTARY) => {
                    let blocks = u32_block(places.relocation.new_end())?;
                    put(&mut descriptor, SPACE_SIZE, &both_endian(blocks))?;
                    path_table::relocate(&mut descriptor, &places.relocation)?;
                    let root = descriptor.get_mut(ROOT_RECORD..).unwrap_or_default();
                    places.relocate_directory(root)?;
                }
                _ => {}
            }
            writer.bytes(&descriptor);
        }
        Ok(())
    }

    /// Writes what is behind the volume, and says where that has to end.
    fn tail(&self, new_size: u64, has_backup: bool, writer: &mut Writer) -> u64 {
        let offset = self.blocks * BLOCK;
        let len = self.size - offset;
        if !has_backup && new_size.checked_sub(writer.len) == Some(len) {
            writer.segment(Segment::Base(Extent { offset, len }));
        }
        writer.fill_to(new_size);
        new_size
    }

    /// All that is written over the new image, by offset.
    fn patches(
        &self,
        edits: &Edits,
        places: &Places<'_>,
        backup: Option<Backup>,
    ) -> Result<BTreeMap<u64, Bytes>, Error> {
        let mut patches: Vec<(u64, Bytes)> = edits.patched.clone();
        for location in &self.continued_locations {
            let number = locations::relocated(*location, &places.relocation)?;
            patches.push((location.at, Bytes::copy_from_slice(&number)));
        }
        if let Some(catalog) = &self.boot_catalog {
            let bytes = catalog.patches(&places.relocation)?;
            patches.extend(bytes.into_iter().map(|(at, bytes)| (at, bytes.into())));
        }
        let mut moved = BTreeMap::new();
        for (offset, bytes) in patches {
            let old = Extent { offset, len: bytes.len() as u64 };
            let lost = || malformed("the head of the volume", "a part of it lies in another structure");
            let start = places.relocation.kept(blocks_of(old)).ok_or_else(lost)?;
            moved.insert(start * BLOCK + offset % BLOCK, bytes);
        }
        if let Some(backup) = backup {
            let padding = places.relocation.pieces().last().filter(|piece| piece.kept);
            let padding = padding.map_or(places.relocation.new_end(), |piece| piece.new.start);
            if backup.offset < padding * BLOCK {
                return Err(malformed("the GPT", "there is no room for it at the end of the image"));
            }
            moved.insert(backup.offset, backup.bytes.into());
        }
        Ok(moved)
    }
}

/// The pieces so far.
#[derive(Default)]
struct Cut {
    pieces: Vec<Piece>,
    contents: Vec<Option<Content>>,
    old_end: u64,
    new_end: u64,
}

impl Cut {
    fn keep_to(&mut self, old: u64) -> Result<(), Error> {
        let len = old
            .checked_sub(self.old_end)
            .ok_or_else(|| malformed("the volume", "its parts overlap, or end beyond it"))?;
        if len > 0 {
            self.push(self.old_end..old, len, None);
        }
        Ok(())
    }

    fn push(&mut self, old: Range<u64>, new_blocks: u64, content: Option<Content>) {
        let new = self.new_end..self.new_end + new_blocks;
        (self.old_end, self.new_end) = (old.end, new.end);
        self.pieces.push(Piece { old, new, kept: content.is_none() });
        self.contents.push(content);
    }
}

/// Where everything that a record may name is in the new image.
struct Places<'a> {
    edits: &'a Edits,
    relocation: Relocation,
    /// Block and length of every directory, by its old block.
    directories: HashMap<u64, (u32, u32)>,
    added: Vec<Extent>,
}

impl<'a> Places<'a> {
    fn new(
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

    fn write_directory(&self, entries: &[NewEntry], writer: &mut Writer) -> Result<(), Error> {
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
    fn relocate_directory(&self, record: &mut [u8]) -> Result<(), Error> {
        let old = super::field::u32_le(record, RECORD_BLOCK).map(u64::from);
        let place = old.and_then(|old| self.directories.get(&old));
        let (block, len) = place.ok_or_else(|| malformed("a directory", "a record leads to none"))?;
        put(record, RECORD_BLOCK, &both_endian(*block))?;
        put(record, RECORD_LEN, &both_endian(*len))
    }
}

/// Collects segments; bytes that follow one another become one.
#[derive(Default)]
struct Writer {
    segments: Vec<Segment>,
    pending: Vec<u8>,
    len: u64,
}

/// Fewer zeros than this are not worth a segment.
const ZEROS_MIN: u64 = 2 * BLOCK;

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
        self.len += bytes.len() as u64;
    }

    fn segment(&mut self, segment: Segment) {
        self.flush();
        self.len += segment.len();
        self.segments.push(segment);
    }

    fn flush(&mut self) {
        let zeros = self.pending.iter().rev().take_while(|byte| **byte == 0).count();
        let zeros = if zeros as u64 >= ZEROS_MIN { zeros } else { 0 };
        self.pending.truncate(self.pending.len() - zeros);
        self.segments.push(Segment::Bytes(std::mem::take(&mut self.pending).into()));
        self.segments.push(Segment::Zeros(zeros as u64));
    }

    fn fill_block(&mut self) {
        self.fill_to(self.len.next_multiple_of(BLOCK));
    }

    fn fill_to(&mut self, end: u64) {
        let zeros = end.saturating_sub(self.len);
        if zeros >= ZEROS_MIN {
            self.segment(Segment::Zeros(zeros));
        } else if let Ok(zeros) = usize::try_from(zeros) {
            self.pending.resize(self.pending.len() + zeros, 0);
            self.len = self.len.max(end);
        }
    }

    fn finish(mut self) -> Plan {
        self.flush();
        self.segments.into_iter().collect()
    }
}

/// The plan with bytes written over it, as if it had always been so. There may be as many as there are records.
fn patched(plan: &Plan, patches: BTreeMap<u64, Bytes>) -> Result<Plan, Error> {
    let clash = || malformed("the head of the volume", "parts of it overlap");
    let mut segments = Vec::new();
    let mut end = 0;
    for (offset, bytes) in patches {
        let patch_end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= plan.len());
        let patch_end = patch_end.filter(|_| end <= offset).ok_or_else(clash)?;
        segments.extend(plan.slice(end..offset).into_segments());
        segments.push(Segment::Bytes(bytes));
        end = patch_end;
    }
    segments.extend(plan.slice(end..plan.len()).into_segments());
    Ok(segments.into_iter().collect())
}

/// The blocks that hold some bytes.
fn blocks_of(extent: Extent) -> Range<u64> {
    extent.offset / BLOCK..extent.end().unwrap_or(u64::MAX).div_ceil(BLOCK)
}

fn blocks(len: u64) -> u64 {
    len.div_ceil(BLOCK)
}
