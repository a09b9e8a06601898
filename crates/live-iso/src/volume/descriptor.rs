//! Volume descriptors: one block each, from block 16 to a terminator.

use std::time::SystemTime;

use super::record::Record;
use super::{BLOCK, date, field};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

/// The first 16 blocks, the system area, belong to boot code and partition tables.
pub(super) const FIRST_DESCRIPTOR: u64 = 16;
/// Real volumes have four or five.
pub(super) const DESCRIPTORS_MAX: u64 = 64;

const IDENTIFIER: &[u8] = b"CD001";
const BOOT_RECORD: u8 = 0;
const PRIMARY: u8 = 1;
const TERMINATOR: u8 = 255;
const EL_TORITO: &[u8] = b"EL TORITO SPECIFICATION";
/// Where the boot record says in which block the catalog is.
const BOOT_CATALOG: usize = 71;

pub(super) fn is_descriptor(block: &[u8]) -> bool {
    block.get(1..6) == Some(IDENTIFIER)
}

/// Whether a boot record says where an El Torito boot catalog is.
pub(super) fn is_el_torito(boot_record: &[u8]) -> bool {
    boot_record.get(7..30) == Some(EL_TORITO)
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
        let mut primary = None;
        let mut boot_catalog = None;
        for number in 0..DESCRIPTORS_MAX {
            let extent = Extent { offset: (FIRST_DESCRIPTOR + number) * BLOCK, len: BLOCK };
            if number == 0 && extent.end() > Some(source.size()) {
                return Err(Error::NotIso9660);
            }
            let block = source.read(format_args!("volume descriptor {number}"), extent, BLOCK)?;
            if !is_descriptor(&block) {
                break;
            }
            match block.first().copied() {
                Some(BOOT_RECORD) if boot_catalog.is_none() && is_el_torito(&block) => {
                    boot_catalog = field::u32_le(&block, BOOT_CATALOG).map(|block| u64::from(block) * BLOCK);
                }
                Some(PRIMARY) if primary.is_none() => primary = Some(Self::parse_primary(&block)?),
                Some(TERMINATOR) => break,
                _ => {}
            }
        }
        let primary = primary.ok_or(Error::NotIso9660)?;
        Ok(Self { boot_catalog, ..primary })
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
