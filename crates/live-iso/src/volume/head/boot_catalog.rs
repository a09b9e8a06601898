//! The boot catalog as it is stored, and what boot images know of where they are.

use super::super::descriptor::{self, BOOT_CATALOG};
use super::super::{BLOCK, el_torito, field};
use super::relocation::{Relocation, SECTOR};
use super::{Reader, malformed, put, u32_block};
use crate::{Error, Extent, ReadAt};

/// Where a boot image may have been told about itself when the ISO was written (`-boot-info-table`): block of the
/// primary descriptor, block of the image, size, checksum.
const BOOT_INFO_TABLE: usize = 8;
const PRIMARY_DESCRIPTOR: u32 = 16;
/// Where GRUB's image for a BIOS has the sector (8) that its own second one has (`--grub2-boot-info`).
const GRUB_BOOT_INFO: u64 = 2548;
/// Counted from the start of the image.
const GRUB_SECTOR: u64 = 5;
const SECTORS: u64 = BLOCK / SECTOR;

pub(super) struct StoredCatalog {
    pub(super) block: u64,
    bytes: Vec<u8>,
    images: Vec<Image>,
}

struct Image {
    entry: el_torito::Entry,
    block: u64,
    has_boot_info_table: bool,
    has_grub_boot_info: bool,
}

impl StoredCatalog {
    pub(super) fn read<R: ReadAt + ?Sized>(
        reader: &mut Reader<'_, R>,
        boot_record: &[u8],
    ) -> Result<Self, Error> {
        let malformed = |problem| malformed("the boot catalog", problem);
        let block = descriptor::boot_catalog(boot_record).ok_or_else(|| malformed("it is nowhere"))?;
        let bytes = reader.blocks("the boot catalog", block, 1)?;
        let mut images = Vec::new();
        for entry in el_torito::entries(&bytes).map_err(malformed)? {
            let image = u64::from(entry.block);
            if image > 0 {
                let start = reader.blocks("a boot image", image, 1)?;
                let has_boot_info_table = field::u32_le(&start, BOOT_INFO_TABLE) == Some(PRIMARY_DESCRIPTOR)
                    && field::u32_le(&start, BOOT_INFO_TABLE + 4).map(u64::from) == Some(image);
                let has_grub_boot_info = reader.size() >= (image + 2) * BLOCK
                    && reader
                        .bytes("a boot image", Extent { offset: image * BLOCK + GRUB_BOOT_INFO, len: 8 })?
                        == (image * SECTORS + GRUB_SECTOR).to_le_bytes();
                images.push(Image { entry, block: image, has_boot_info_table, has_grub_boot_info });
            }
        }
        Ok(Self { block, bytes, images })
    }

    /// The block of the image that a BIOS boots.
    pub(super) fn default_image(&self) -> Option<u64> {
        self.images.first().filter(|image| image.entry.is_default()).map(|image| image.block)
    }

    /// What has to be written over the ISO's bytes: offsets as they were, and bytes.
    pub(super) fn patches(&self, relocation: &Relocation) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let mut bytes = self.bytes.clone();
        let mut patches = Vec::new();
        for image in &self.images {
            let lost = || malformed("the boot catalog", "a boot image in it lies beyond the volume");
            let block = relocation.block(image.block).ok_or_else(lost)?;
            if image.has_grub_boot_info {
                let sector = (block * SECTORS + GRUB_SECTOR).to_le_bytes();
                patches.push((image.block * BLOCK + GRUB_BOOT_INFO, sector.to_vec()));
            }
            let block = u32_block(block)?.to_le_bytes();
            put(&mut bytes, image.entry.at + el_torito::Entry::BLOCK, &block)?;
            if image.has_boot_info_table {
                patches.push((image.block * BLOCK + BOOT_INFO_TABLE as u64 + 4, block.to_vec()));
            }
        }
        patches.push((self.block * BLOCK, bytes));
        Ok(patches)
    }

    /// The boot record, with the catalog's new place.
    pub(super) fn relocate(&self, boot_record: &mut [u8], relocation: &Relocation) -> Result<(), Error> {
        let lost = || malformed("the boot catalog", "it lies in another structure");
        let block = relocation.kept(self.block..self.block + 1).ok_or_else(lost)?;
        put(boot_record, BOOT_CATALOG, &u32_block(block)?.to_le_bytes())
    }
}
