//! Volume descriptors: one block each, from block 16 to a terminator.

use std::time::SystemTime;

use super::record::Record;
use super::{BLOCK, date, field};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

/// The first 16 blocks, the system area, belong to boot code and partition tables.
pub(super) const FIRST_DESCRIPTOR: u64 = 16;
/// Real volumes have four or five.
const DESCRIPTORS_MAX: u64 = 64;

const IDENTIFIER: &[u8] = b"CD001";
pub(super) const BOOT_RECORD: u8 = 0;
pub(super) const PRIMARY: u8 = 1;
pub(super) const SUPPLEMENTARY: u8 = 2;
const TERMINATOR: u8 = 255;
const EL_TORITO: &[u8] = b"EL TORITO SPECIFICATION";
/// Where the boot record says in which block the catalog is.
pub(super) const BOOT_CATALOG: usize = 71;

pub(super) fn is_descriptor(block: &[u8]) -> bool {
    block.get(1..6) == Some(IDENTIFIER)
}

/// The block of the El Torito boot catalog, if the descriptor is a boot record that says so.
pub(super) fn boot_catalog(descriptor: &[u8]) -> Option<u64> {
    let is_el_torito = descriptor.first() == Some(&BOOT_RECORD) && descriptor.get(7..30) == Some(EL_TORITO);
    field::u32_le(descriptor, BOOT_CATALOG).map(u64::from).filter(|_| is_el_torito)
}

/// All descriptors up to the terminator, which is among them, or to a block that is none. `read` reads a block.
pub(super) fn read_all(mut read: impl FnMut(u64) -> Result<Vec<u8>, Error>) -> Result<Vec<Vec<u8>>, Error> {
    let mut descriptors = Vec::new();
    for number in 0..DESCRIPTORS_MAX {
        let block = read(FIRST_DESCRIPTOR + number)?;
        if !is_descriptor(&block) {
            break;
        }
        let is_last = block.first() == Some(&TERMINATOR);
        descriptors.push(block);
        if is_last {
            break;
        }
    }
    Ok(descriptors)
}

/// What the descriptors of a volume say.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) volume_id: String,
    pub(super) volume_set_id: String,
    pub(super) space_size: u64,
    pub(super) created: Option<SystemTime>,
    pub(super) root: Extent,
    /// Where the first byte of the El Torito boot catalog is.
    pub(super) boot_catalog: Option<u64>,
}

impl Descriptors {
    pub(super) fn read<R: ReadAt + ?Sized>(source: &Source<'_, R>) -> Result<Self, Error> {
        if source.size() < (FIRST_DESCRIPTOR + 1) * BLOCK {
            return Err(Error::NotIso9660);
        }
        let descriptors = read_all(|block| {
            let extent = Extent { offset: block * BLOCK, len: BLOCK };
            source.read(format_args!("volume descriptor {}", block - FIRST_DESCRIPTOR), extent, BLOCK)
        })?;
        let primary = descriptors.iter().find(|descriptor| descriptor.first() == Some(&PRIMARY));
        let primary = Self::parse_primary(primary.ok_or(Error::NotIso9660)?)?;
        let boot_catalog = descriptors.iter().find_map(|descriptor| boot_catalog(descriptor));
        Ok(Self { boot_catalog: boot_catalog.map(|block| block * BLOCK), ..primary })
    }

    fn parse_primary(block: &[u8]) -> Result<Self, Error> {
        let malformed =
            |problem| Error::Malformed { what: "the primary volume descriptor".to_owned(), problem };
        let cut_short = || malformed("it is too short");
        if field::u16_le(block, 128).map(u64::from) != Some(BLOCK) {
            return Err(malformed("its block size is not 2048"));
        }
        let root = block.get(156..190).and_then(Record::parse);
        Ok(Self {
            volume_id: field::text(block, 40, 32).ok_or_else(cut_short)?,
            volume_set_id: field::text(block, 190, 128).ok_or_else(cut_short)?,
            space_size: u64::from(field::u32_le(block, 80).ok_or_else(cut_short)?) * BLOCK,
            created: block.get(813..830).and_then(date::parse),
            root: root.ok_or_else(|| malformed("its root directory record is broken"))?.extent(),
            boot_catalog: None,
        })
    }
}
