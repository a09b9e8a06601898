//! The head of a volume: all that says where its files are, and not the files themselves.
//!
//! It is read once and kept, so that images with other files can be made of the ISO without reading it again: system
//! area with its partition tables, volume descriptors, the directories of every tree (ISO 9660 with Rock Ridge, Joliet)
//! record by record, path tables, and the El Torito boot catalog. [`rewrite`](Head::rewrite) makes a new one.
//!
//! References: as for [`Volume`](crate::Volume), El Torito 1.0, the GUID partition table of UEFI 2.10, and what
//! isohybrid writes.
//!
//! What there may be of it is bounded by [`HEAD_BYTES_MAX`]; a directory that is reached twice is an error.

mod boot_catalog;
mod directory;
mod edits;
mod locations;
mod partition_tables;
mod path_table;
mod relocation;
mod rewrite;

use std::collections::BTreeSet;

use super::descriptor::{self, FIRST_DESCRIPTOR, PRIMARY, SUPPLEMENTARY};
use super::{BLOCK, field};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

use boot_catalog::StoredCatalog;
use directory::{Directory, Names, Trees};
use locations::Location;
use partition_tables::SystemArea;
use path_table::PathTable;
use relocation::SECTOR;

pub(crate) use edits::{Edits, NewFile};
pub(crate) use rewrite::Rewritten;

/// The head of a live ISO has some 60 KiB; only appliance ISOs with ten thousands of files have more than this.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// Blocks before the first descriptor.
const SYSTEM_AREA: u64 = FIRST_DESCRIPTOR;

/// Where things are in a primary or supplementary descriptor.
const SPACE_SIZE: usize = 80;
const PATH_TABLE_SIZE: usize = 132;
const PATH_TABLES_LITTLE_ENDIAN: [usize; 2] = [140, 144];
const PATH_TABLES_BIG_ENDIAN: [usize; 2] = [148, 152];
const ROOT_RECORD: usize = 156;

/// The head of a volume, as it was read.
pub(crate) struct Head {
    /// Without the zeros at its end.
    system_area: Vec<u8>,
    /// From block 16 to the terminator, a block each.
    descriptors: Vec<Vec<u8>>,
    /// Of every tree; a directory comes after its parent.
    directories: Vec<Directory>,
    /// Blocks that Rock Ridge entries outside the directories name.
    continued_locations: Vec<Location>,
    path_tables: Vec<PathTable>,
    boot_catalog: Option<StoredCatalog>,
    /// Blocks of the volume, and bytes of the ISO around it.
    blocks: u64,
    size: u64,
}

impl Head {
    pub(crate) fn read<R: ReadAt + ?Sized>(source: &Source<'_, R>) -> Result<Self, Error> {
        let mut reader = Reader { source, left: HEAD_BYTES_MAX };
        let mut system_area = reader.blocks("the system area", 0, SYSTEM_AREA)?;
        refuse_volumes_in_partitions(&mut reader, &system_area)?;
        system_area.truncate(system_area.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        system_area.shrink_to_fit();

        let descriptors = descriptor::read_all(|block| reader.blocks("a volume descriptor", block, 1))?;
        let mut trees = Trees::default();
        let mut path_tables = Vec::new();
        let mut boot_catalog = None;
        let mut blocks = None;
        for descriptor in &descriptors {
            match descriptor.first().copied() {
                _ if boot_catalog.is_none() && descriptor::boot_catalog(descriptor).is_some() => {
                    boot_catalog = Some(StoredCatalog::read(&mut reader, descriptor)?);
                }
                Some(kind @ (PRIMARY | SUPPLEMENTARY)) => {
                    let names = Names::of_descriptor(descriptor);
                    let space = space_size(descriptor)?;
                    if *blocks.get_or_insert(space) != space {
                        return Err(malformed("a volume descriptor", "the volume has two sizes"));
                    }
                    if kind == PRIMARY || !trees.has_root(descriptor) {
                        trees.read(&mut reader, descriptor, names)?;
                    }
                    PathTable::read_all(&mut reader, descriptor, &mut path_tables)?;
                }
                _ => {}
            }
        }
        let blocks = blocks.ok_or(Error::NotIso9660)?;
        source.require("the volume", Extent { offset: 0, len: blocks * BLOCK })?;
        let Trees { directories, continued_locations, .. } = trees;
        Ok(Self {
            system_area,
            descriptors,
            directories,
            continued_locations,
            path_tables,
            boot_catalog,
            blocks,
            size: source.size(),
        })
    }
}

/// Fails if a partition begins with descriptors of its own for the same files, as those that xorriso makes with
/// `-partition_offset`: what they name would be elsewhere.
fn refuse_volumes_in_partitions<R: ReadAt + ?Sized>(
    reader: &mut Reader<'_, R>,
    system_area: &[u8],
) -> Result<(), Error> {
    let tables = SystemArea::find(system_area.to_vec())?;
    let starts: BTreeSet<u64> = tables.starts().filter(|start| *start > 0).collect();
    for start in starts {
        let offset = start.saturating_mul(SECTOR).saturating_add(FIRST_DESCRIPTOR * BLOCK);
        let extent = Extent { offset, len: BLOCK };
        if extent.end().is_some_and(|end| end <= reader.size())
            && descriptor::is_descriptor(&reader.bytes("a partition", extent)?)
        {
            return Err(malformed("a partition", "it has volume descriptors of its own"));
        }
    }
    Ok(())
}

fn space_size(descriptor: &[u8]) -> Result<u64, Error> {
    field::u32_le(descriptor, SPACE_SIZE)
        .map(u64::from)
        .ok_or_else(|| malformed("a volume descriptor", "it is too short"))
}

/// Reads the head's parts, of which there may be so much.
struct Reader<'a, R: ?Sized> {
    source: &'a Source<'a, R>,
    left: u64,
}

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    fn blocks(&mut self, what: &str, block: u64, count: u64) -> Result<Vec<u8>, Error> {
        self.bytes(what, Extent { offset: block * BLOCK, len: count * BLOCK })
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    fn bytes(&mut self, what: &str, extent: Extent) -> Result<Vec<u8>, Error> {
        let too_many = Error::TooMany { what: "bytes of directories and path tables", max: HEAD_BYTES_MAX };
        self.left = self.left.checked_sub(extent.len).ok_or(too_many)?;
        self.source.read(what, extent, HEAD_BYTES_MAX)
    }
}

/// A number in both byte orders.
fn both_endian(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    let (little, big) = bytes.split_at_mut(4);
    little.copy_from_slice(&number.to_le_bytes());
    big.copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Overwrites bytes of a structure; it is an error if it has not so many.
fn put(structure: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), Error> {
    let place = at.checked_add(bytes.len()).and_then(|end| structure.get_mut(at..end));
    place
        .ok_or_else(|| malformed("the head of the volume", "a structure is too short"))?
        .copy_from_slice(bytes);
    Ok(())
}

/// A block's number as structures store it.
fn u32_block(block: u64) -> Result<u32, Error> {
    u32::try_from(block).map_err(|_| malformed("the head of the volume", "a block lies beyond 8 TiB"))
}

fn malformed(what: impl Into<String>, problem: &'static str) -> Error {
    Error::Malformed { what: what.into(), problem }
}

/// Its bytes are of no use in a log.
impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({} directories, {} blocks)", self.directories.len(), self.blocks)
    }
}
