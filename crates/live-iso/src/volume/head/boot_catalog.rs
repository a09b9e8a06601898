//! The El Torito boot catalog: what firmware boots from a CD.
//!
//! ```text
//!  0  validation entry: 1, platform, text, checksum, 55 aa
//! 32  default entry: 88, medium, segment, type, 0, count of sectors (2), block of the image (4)
//! 64  section header: 90, or 91 for the last one; platform, count of entries (2)
//! 96  the section's entries, like the default one; extensions begin with 44
//! ```

use super::super::{BLOCK, field};
use super::relocation::{Relocation, SECTOR};
use super::{Reader, malformed, put, u32_block};
use crate::{Error, Extent, ReadAt};

/// Where the boot record has the block of the catalog.
const CATALOG_BLOCK: usize = 71;
const ENTRY: usize = 32;
const IMAGE_BLOCK: usize = 8;

const SECTION: u8 = 0x90;
const LAST_SECTION: u8 = 0x91;
const EXTENSION: u8 = 0x44;

/// Where a boot image may have been told about itself when the ISO was written (`-boot-info-table`): block of the
/// primary descriptor, block of the image, size, checksum.
const BOOT_INFO_TABLE: usize = 8;
const PRIMARY_DESCRIPTOR: u32 = 16;
/// Where GRUB's image for a BIOS has the sector (8) that its own second one has (`--grub2-boot-info`).
const GRUB_BOOT_INFO: u64 = 2548;
/// Counted from the start of the image.
const GRUB_SECTOR: u64 = 5;
const SECTORS: u64 = BLOCK / SECTOR;

pub(super) struct BootCatalog {
    pub(super) block: u64,
    bytes: Vec<u8>,
    images: Vec<Image>,
}

struct Image {
    /// Where the catalog has the block.
    at: usize,
    block: u64,
    has_boot_info_table: bool,
    has_grub_boot_info: bool,
}

impl BootCatalog {
    pub(super) fn read<R: ReadAt + ?Sized>(
        reader: &mut Reader<'_, R>,
        boot_record: &[u8],
    ) -> Result<Self, Error> {
        let malformed = |problem| malformed("the boot catalog", problem);
        let block = field::u32_le(boot_record, CATALOG_BLOCK).ok_or_else(|| malformed("it is nowhere"))?;
        let block = u64::from(block);
        let bytes = reader.blocks("the boot catalog", block, 1)?;
        if bytes.first() != Some(&1) || bytes.get(30..ENTRY) != Some(&[0x55, 0xaa]) {
            return Err(malformed("it does not begin with a validation entry"));
        }
        let mut images = Vec::new();
        for at in image_places(&bytes) {
            let image = field::u32_le(&bytes, at).map_or(0, u64::from);
            if image > 0 {
                let start = reader.blocks("a boot image", image, 1)?;
                let has_boot_info_table = field::u32_le(&start, BOOT_INFO_TABLE) == Some(PRIMARY_DESCRIPTOR)
                    && field::u32_le(&start, BOOT_INFO_TABLE + 4).map(u64::from) == Some(image);
                let has_grub_boot_info = reader.size() >= (image + 2) * BLOCK
                    && reader
                        .bytes("a boot image", Extent { offset: image * BLOCK + GRUB_BOOT_INFO, len: 8 })?
                        == (image * SECTORS + GRUB_SECTOR).to_le_bytes();
                images.push(Image { at, block: image, has_boot_info_table, has_grub_boot_info });
            }
        }
        Ok(Self { block, bytes, images })
    }

    /// The block of the image that a BIOS boots.
    pub(super) fn default_image(&self) -> Option<u64> {
        self.images.first().filter(|image| image.at == ENTRY + IMAGE_BLOCK).map(|image| image.block)
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
            put(&mut bytes, image.at, &block)?;
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
        put(boot_record, CATALOG_BLOCK, &u32_block(block)?.to_le_bytes())
    }
}

/// Where a catalog has the blocks of its images.
fn image_places(catalog: &[u8]) -> Vec<usize> {
    let mut places = vec![ENTRY + IMAGE_BLOCK];
    let mut at = 2 * ENTRY;
    while let Some([kind @ (SECTION | LAST_SECTION), _, count @ ..]) = catalog.get(at..at + 4) {
        let mut left = count.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
        at += ENTRY;
        while left > 0
            && let Some(first) = catalog.get(at)
        {
            if *first != EXTENSION {
                places.push(at + IMAGE_BLOCK);
                left -= 1;
            }
            at += ENTRY;
        }
        if *kind == LAST_SECTION {
            break;
        }
    }
    places.retain(|place| place + 4 <= catalog.len());
    places
}

#[cfg(test)]
mod tests {
    use super::image_places;

    fn catalog(entries: &[&[u8]]) -> Vec<u8> {
        let mut catalog = vec![0; 2048];
        for (entry, place) in entries.iter().zip(catalog.chunks_mut(32)) {
            place[..entry.len()].copy_from_slice(entry);
        }
        catalog
    }

    #[test]
    fn images_are_found_in_every_section() {
        let one = catalog(&[&[1], &[0x88]]);
        assert_eq!(image_places(&one), [40]);
        let uefi = catalog(&[&[1], &[0x88], &[0x91, 0xef, 1, 0], &[0x88]]);
        assert_eq!(image_places(&uefi), [40, 104]);
        let more =
            catalog(&[&[1], &[0x88], &[0x90, 0, 2, 0], &[0x88], &[0x44], &[0], &[0x91, 0xef, 1, 0], &[0x88]]);
        assert_eq!(image_places(&more), [40, 104, 168, 232]);
    }

    #[test]
    fn a_catalog_that_counts_too_much_ends_with_its_block() {
        let places = image_places(&catalog(&[&[1], &[0x88], &[0x90, 0, 255, 255]]));
        assert_eq!(places.len(), 1 + 61);
        assert!(places.iter().all(|place| place + 4 <= 2048));
    }
}
