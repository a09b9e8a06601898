//! The directories of a volume, record by record.

use std::collections::HashSet;

use super::super::descriptor::SUPPLEMENTARY;
use super::super::record::{Record, Records};
use super::super::{BLOCK, susp};
use super::locations::{self, Location};
use super::{ROOT_RECORD, Reader, malformed};
use crate::{Error, Extent, ReadAt};

/// Where a supplementary descriptor says that its names are in UCS-2, and how it says so.
const ESCAPE_SEQUENCES: usize = 88;
const JOLIET: [&[u8]; 3] = [b"%/@", b"%/C", b"%/E"];

/// How a tree spells names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// `IGNITION.IMG;1`, with the name proper in Rock Ridge entries.
    Level1,
    /// In UCS-2, big-endian.
    Joliet,
    /// As they are.
    Plain,
}

impl Names {
    pub(super) fn of_descriptor(descriptor: &[u8]) -> Self {
        match descriptor {
            [SUPPLEMENTARY, ..] => {
                let escape = descriptor.get(ESCAPE_SEQUENCES..ESCAPE_SEQUENCES + 3);
                if JOLIET.iter().any(|joliet| escape == Some(joliet)) { Self::Joliet } else { Self::Plain }
            }
            _ => Self::Level1,
        }
    }

    pub(super) fn encode(self, name: &str) -> Vec<u8> {
        match self {
            Self::Level1 | Self::Plain => name.as_bytes().to_vec(),
            Self::Joliet => name.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

pub(super) struct Directory {
    /// The name as the parent has it; none in the root.
    identifier: Vec<u8>,
    /// Which directory it is in. None for the root of a tree.
    parent: Option<usize>,
    pub(super) names: Names,
    pub(super) block: u64,
    pub(super) len: u64,
    /// The first two are the directory itself and its parent.
    pub(super) entries: Vec<Entry>,
}

/// A directory record.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) bytes: Vec<u8>,
    pub(super) is_directory: bool,
    /// The blocks of the file or directory, extended attributes included.
    pub(super) block: u64,
    pub(super) blocks: u64,
    /// Where the file proper is.
    pub(super) extent: Extent,
    /// Block numbers in the record's Rock Ridge entries.
    pub(super) locations: Vec<Location>,
}

impl Entry {
    /// The entry, without the locations.
    fn new(record: &Record<'_>) -> Self {
        let extent = record.extent();
        let block = record.block();
        let end = extent.end().unwrap_or(u64::MAX).div_ceil(BLOCK);
        Self {
            bytes: record.bytes.to_vec(),
            is_directory: record.is_directory(),
            block,
            blocks: end.saturating_sub(block),
            extent,
            locations: Vec::new(),
        }
    }

    pub(super) fn identifier(&self) -> &[u8] {
        let len = self.bytes.get(32).copied().map_or(0, usize::from);
        self.bytes.get(33..33 + len).unwrap_or_default()
    }

    pub(super) fn system_use(&self) -> &[u8] {
        let len = self.identifier().len();
        self.bytes.get(33 + len + usize::from(len.is_multiple_of(2))..).unwrap_or_default()
    }

    /// How it is called in an error.
    pub(super) fn name(&self) -> String {
        format!("file {:?}", String::from_utf8_lossy(self.identifier()).replace('\0', ""))
    }
}

/// What was read of the directories of all trees.
#[derive(Default)]
pub(super) struct Trees {
    pub(super) directories: Vec<Directory>,
    pub(super) continued_locations: Vec<Location>,
    entered: HashSet<u64>,
}

impl Trees {
    /// Whether the descriptor's tree is one that was read already.
    pub(super) fn has_root(&self, descriptor: &[u8]) -> bool {
        root(descriptor).is_some_and(|root| self.entered.contains(&root.block()))
    }

    pub(super) fn read<R: ReadAt + ?Sized>(
        &mut self,
        reader: &mut Reader<'_, R>,
        descriptor: &[u8],
        names: Names,
    ) -> Result<(), Error> {
        let root = root(descriptor)
            .ok_or_else(|| malformed("a volume descriptor", "its root directory record is broken"))?;
        let rock_ridge = names == Names::Level1;
        let mut pending = vec![(Entry::new(&root), None)];
        while let Some((itself, parent)) = pending.pop() {
            if !self.entered.insert(itself.block) {
                return Err(Error::DirectoryLoop { path: itself.name() });
            }
            let malformed = |problem| malformed(itself.name().replacen("file", "directory", 1), problem);
            if itself.extent.offset != itself.block * BLOCK {
                return Err(malformed("it has extended attributes"));
            }
            let bytes = reader.bytes("a directory", itself.extent)?;
            let mut entries = Vec::new();
            for record in Records::new(&bytes) {
                let record = record.ok_or_else(|| malformed("it has a broken record"))?;
                if record.is_interleaved() {
                    return Err(malformed("it has an interleaved file"));
                }
                if parent.is_none() && entries.is_empty() && susp::bytes_skipped(record.system_use) > 0 {
                    return Err(malformed("it shares the place of Rock Ridge entries with something else"));
                }
                let mut entry = Entry::new(&record);
                if rock_ridge {
                    entry.locations = locations::read(reader, &record, &mut self.continued_locations)?;
                }
                match entries.len() {
                    0 if !record.is_current() => return Err(malformed("it does not begin with itself")),
                    // libisofs long wrote Joliet parents under the name of the directory itself.
                    1 if !record.is_parent() && !record.is_current() => {
                        return Err(malformed("it does not tell its parent"));
                    }
                    0 | 1 => {}
                    _ if entry.is_directory => pending.push((entry.clone(), Some(self.directories.len()))),
                    _ => {}
                }
                entries.push(entry);
            }
            if entries.len() < 2 {
                return Err(malformed("it does not tell its parent"));
            }
            let (block, len) = (itself.block, itself.extent.len);
            let identifier = itself.identifier().to_vec();
            self.directories.push(Directory { identifier, parent, names, block, len, entries });
        }
        Ok(())
    }
}

/// The root directory's record in a descriptor.
fn root(descriptor: &[u8]) -> Option<Record<'_>> {
    descriptor.get(ROOT_RECORD..ROOT_RECORD + 34).and_then(Record::parse)
}

impl Directory {
    /// Whether it is the directory `name` in the root of its tree.
    pub(super) fn is_in_root(&self, name: &str, all: &[Self]) -> bool {
        let parent = self.parent.and_then(|parent| all.get(parent));
        parent.is_some_and(|parent| parent.parent.is_none())
            && self.identifier.eq_ignore_ascii_case(&self.names.encode(name))
    }
}

/// How many blocks records of such lengths fill: none crosses the end of one.
pub(super) fn blocks(lengths: impl Iterator<Item = usize>) -> u64 {
    let mut end = 0_u64;
    for len in lengths {
        end = place(end, len) + len as u64;
    }
    end.div_ceil(BLOCK)
}

/// Where a record of length `len` goes when the one before it ends at `end`.
pub(super) fn place(end: u64, len: usize) -> u64 {
    let left = end.next_multiple_of(BLOCK) - end;
    if left < len as u64 { end.next_multiple_of(BLOCK) } else { end }
}
