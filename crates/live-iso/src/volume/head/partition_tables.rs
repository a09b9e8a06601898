//! The partition tables that isohybrid and xorriso put into the system area, so that an image boots from a disk too.
//!
//! ```text
//!    0  code; isohybrid's has the sector of the BIOS boot image at 432 (8), GRUB's the fifth sector of it
//!  446  four partitions, 16 each: active, start as CHS (3), type, last as CHS (3), start (4), count (4)
//!  510  55 aa
//!  512  GPT header: EFI PART, revision, size (4), at 16 CRC (4), at 24 its own sector, the other header's, first and
//!       last usable sector (8 each), at 72 sector of the partitions (8), at 80 their count, size and CRC (4 each)
//! 1024  GPT partitions: at 32 first and last sector (8 each)
//! ```
//!
//! grub2-mkrescue, which writes the images for ppc64le, adds an Apple partition map: ER and its block size (2, big-endian)
//! at 0, and PM at each block that follows. It leads to an HFS+ file system that has some of the files under places of
//! its own. These would be wrong in another image, so the map goes, and nothing leads there any more; POWER firmware looks
//! for `/ppc/bootinfo.txt` in the ISO 9660 tree.
//!
//! Where a table has no partition, or an unused one, there is nothing to do. Everything else in the area is kept.

use super::super::{BLOCK, field, partition_tables};
use super::relocation::{Relocation, SECTOR};
use super::{malformed, put};
use crate::Error;

const BOOT_IMAGE_SECTOR: usize = 432;
/// Which sectors of a boot image the code may load first: isohybrid's and GRUB's.
const FIRST_LOADED: [u64; 2] = [0, 4];

const GPT: usize = 512;
const GPT_HEADER_MIN: usize = 92;
/// Where in its header, or in a partition, a GPT has a number.
const GPT_CRC: usize = 16;
const GPT_OWN_SECTOR: usize = 24;
const GPT_OTHER_SECTOR: usize = 32;
const GPT_LAST_USABLE: usize = 48;
const GPT_PARTITIONS_SECTOR: usize = 72;
const GPT_PARTITIONS_COUNT: usize = 80;
const GPT_PARTITION_SIZE: usize = 84;
const GPT_PARTITIONS_CRC: usize = 88;
const GPT_PARTITION_MIN: usize = 128;
const GPT_FIRST: usize = 32;
const GPT_LAST: usize = 40;

const APPLE_ENTRY: usize = 512;

/// What isohybrid pads images to: a cylinder of 64 heads and 32 sectors.
const CYLINDER: u64 = 64 * 32 * SECTOR;

/// A system area, and where its GPT is.
pub(super) struct SystemArea {
    area: Vec<u8>,
    gpt: Option<Gpt>,
}

/// Where a GPT is.
struct Gpt {
    header: usize,
    partitions: usize,
    partition: usize,
    count: usize,
}

/// The copy of a GPT that is at the end of an image.
pub(super) struct Backup {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

impl SystemArea {
    /// Finds the tables in a whole system area.
    pub(super) fn find(area: Vec<u8>) -> Result<Self, Error> {
        let gpt = if partition_tables::has_gpt(&area) {
            Some(Gpt::find(&area).ok_or_else(|| malformed("the GPT", "it lies beyond the system area"))?)
        } else {
            None
        };
        Ok(Self { area, gpt })
    }

    /// The sectors that partitions begin with, be they of the MBR or of the GPT.
    pub(super) fn starts(&self) -> impl Iterator<Item = u64> {
        let mbr = partition_tables::mbr_partitions(&self.area)
            .filter_map(|at| field::u32_le(&self.area, at + 8))
            .map(u64::from);
        let gpt = self.gpt.iter().flat_map(|gpt| gpt.used_partitions(&self.area));
        mbr.chain(gpt.filter_map(|at| field::u64_le(&self.area, at + GPT_FIRST)))
    }

    /// The size of a new image of which `new_space` bytes are the volume; the old one had `old_size` and `old_space`.
    pub(super) fn size(&self, old_size: u64, old_space: u64, new_space: u64) -> u64 {
        let padding = old_size.saturating_sub(old_space);
        if partition_tables::mbr_partitions(&self.area).next().is_none() || !old_size.is_multiple_of(CYLINDER)
        {
            return new_space + padding;
        }
        // The last cylinder must have room for a GPT, or isohybrid adds another one.
        let needed = self.gpt.as_ref().map_or(0, Gpt::backup_len);
        (new_space + needed).next_multiple_of(CYLINDER)
    }

    /// The area for the new image, and what comes to its end. `boot_image` is the block of what a BIOS boots.
    pub(super) fn relocated(
        mut self,
        relocation: &Relocation,
        boot_image: Option<u64>,
    ) -> Result<(Vec<u8>, Option<Backup>), Error> {
        let sector = |block, loaded| block * (BLOCK / SECTOR) + loaded;
        let told = field::u64_le(&self.area, BOOT_IMAGE_SECTOR);
        if let Some(old) = boot_image
            && let Some(loaded) = FIRST_LOADED.into_iter().find(|loaded| told == Some(sector(old, *loaded)))
            && let Some(new) = relocation.block(old)
        {
            put(&mut self.area, BOOT_IMAGE_SECTOR, &sector(new, loaded).to_le_bytes())?;
        }
        for at in partition_tables::mbr_partitions(&self.area).collect::<Vec<_>>() {
            self.relocate_mbr_partition(at, relocation)
                .ok_or_else(|| malformed("the MBR", "a partition lies beyond the image"))?;
        }
        self.drop_apple_partition_map();
        let Some(gpt) = self.gpt.take() else { return Ok((self.area, None)) };
        let backup = gpt
            .relocate(&mut self.area, relocation)
            .ok_or_else(|| malformed("the GPT", "a partition or its copy lies beyond the image"))?;
        Ok((self.area, Some(backup)))
    }

    fn drop_apple_partition_map(&mut self) {
        let Some([b'E', b'R', block @ ..]) = self.area.first_chunk::<4>() else { return };
        let block = usize::from(u16::from_be_bytes(*block));
        for entry in
            self.area.chunks_mut(block.max(APPLE_ENTRY)).skip(1).take_while(|entry| entry.starts_with(b"PM"))
        {
            entry.iter_mut().take(APPLE_ENTRY).for_each(|byte| *byte = 0);
        }
    }

    fn relocate_mbr_partition(&mut self, at: usize, relocation: &Relocation) -> Option<()> {
        let partition = self.area.get_mut(at..at + 16)?;
        let old_start = u64::from(field::u32_le(partition, 8)?);
        let old_end = old_start + u64::from(field::u32_le(partition, 12)?);
        let start = relocation.sector(old_start)?;
        let end = relocation.sector_after(old_end)?;
        let chs = |old: &[u8], old_sector, sector| {
            Some(cylinder_head_sector(old.first_chunk().copied()?, old_sector, sector))
        };
        let first = chs(partition.get(1..4)?, old_start, start)?;
        let last = chs(partition.get(5..8)?, old_end - 1, end.saturating_sub(1))?;
        let numbers = [u32::try_from(start).ok()?, u32::try_from(end.checked_sub(start)?).ok()?];
        let [start, count] = numbers.map(u32::to_le_bytes);
        let put_all = [(1, &first[..]), (5, &last), (8, &start), (12, &count)];
        put_all.into_iter().try_for_each(|(at, bytes)| put(partition, at, bytes).ok())
    }
}

impl Gpt {
    fn find(area: &[u8]) -> Option<Self> {
        let header = area.get(GPT..)?;
        let number = |at| usize::try_from(field::u32_le(header, at)?).ok();
        let partitions = usize::try_from(field::u64_le(header, GPT_PARTITIONS_SECTOR)?).ok()?;
        let gpt = Self {
            header: number(12).filter(|len| (GPT_HEADER_MIN..=GPT).contains(len))?,
            partitions: partitions.checked_mul(GPT)?,
            count: number(GPT_PARTITIONS_COUNT)?,
            partition: number(GPT_PARTITION_SIZE).filter(|size| *size >= GPT_PARTITION_MIN)?,
        };
        let end = gpt.count.checked_mul(gpt.partition)?.checked_add(gpt.partitions)?;
        (gpt.partitions >= 2 * GPT && end <= area.len()).then_some(gpt)
    }

    /// Where the partitions are that are in use.
    fn used_partitions(&self, area: &[u8]) -> Vec<usize> {
        let all = (0..self.count).map(|number| self.partitions + number * self.partition);
        let is_used =
            |at: &usize| area.get(*at..at + 16).is_some_and(|kind| kind.iter().any(|byte| *byte != 0));
        all.filter(is_used).collect()
    }

    fn partitions_len(&self) -> u64 {
        (self.count as u64 * self.partition as u64).next_multiple_of(SECTOR)
    }

    fn backup_len(&self) -> u64 {
        self.partitions_len() + SECTOR
    }

    fn relocate(&self, area: &mut [u8], relocation: &Relocation) -> Option<Backup> {
        for at in self.used_partitions(area) {
            let partition = area.get_mut(at..at + self.partition)?;
            let first = relocation.sector(field::u64_le(partition, GPT_FIRST)?)?;
            let end = relocation.sector_after(field::u64_le(partition, GPT_LAST)?.checked_add(1)?)?;
            partition.get_mut(GPT_FIRST..GPT_LAST)?.copy_from_slice(&first.to_le_bytes());
            let last = end.checked_sub(1)?;
            partition.get_mut(GPT_LAST..GPT_LAST + 8)?.copy_from_slice(&last.to_le_bytes());
        }
        let partitions_end = self.partitions + self.count * self.partition;
        let partitions = area.get(self.partitions..partitions_end)?.to_vec();

        let header = area.get_mut(GPT..GPT + self.header)?;
        let own = field::u64_le(header, GPT_OWN_SECTOR)?;
        let other = relocation.at_same_distance_from_end(field::u64_le(header, GPT_OTHER_SECTOR)?)?;
        let last_usable = relocation.at_same_distance_from_end(field::u64_le(header, GPT_LAST_USABLE)?)?;
        let numbers = [(GPT_OTHER_SECTOR, other), (GPT_LAST_USABLE, last_usable)];
        for (at, number) in numbers {
            header.get_mut(at..at + 8)?.copy_from_slice(&number.to_le_bytes());
        }
        header.get_mut(GPT_PARTITIONS_CRC..GPT_HEADER_MIN)?.copy_from_slice(&crc(&partitions).to_le_bytes());
        let mut copy = header.to_vec();
        seal(header)?;

        let first = other.checked_sub(self.partitions_len() / SECTOR)?;
        for (at, number) in [(GPT_OWN_SECTOR, other), (GPT_OTHER_SECTOR, own), (GPT_PARTITIONS_SECTOR, first)]
        {
            copy.get_mut(at..at + 8)?.copy_from_slice(&number.to_le_bytes());
        }
        seal(&mut copy)?;
        let mut bytes = partitions;
        bytes.resize(usize::try_from(self.partitions_len()).ok()?, 0);
        bytes.extend(copy);
        bytes.resize(usize::try_from(self.backup_len()).ok()?, 0);
        Some(Backup { offset: first.checked_mul(SECTOR)?, bytes })
    }
}

/// Puts the header's own checksum into it.
fn seal(header: &mut [u8]) -> Option<()> {
    header.get_mut(GPT_CRC..GPT_CRC + 4)?.fill(0);
    let crc = crc(header);
    header.get_mut(GPT_CRC..GPT_CRC + 4)?.copy_from_slice(&crc.to_le_bytes());
    Some(())
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A sector in the old way, counted with the disk geometry that makes `old` of `old_sector`.
fn cylinder_head_sector(old: [u8; 3], old_sector: u64, sector: u64) -> [u8; 3] {
    if old_sector == sector {
        return old;
    }
    let geometries = [(64, 32), (255, 63), (128, 63), (128, 32), (16, 63)];
    let geometry = geometries.iter().find(|geometry| chs(**geometry, old_sector) == old);
    let beyond = [0xfe, 0xff, 0xff];
    geometry.map_or(beyond, |geometry| chs(*geometry, sector))
}

/// A sector in a disk of so many heads and sectors per track. What lies behind the last cylinder is put into it.
fn chs((heads, sectors): (u64, u64), sector: u64) -> [u8; 3] {
    let cylinder = (sector / sectors / heads).min(1023);
    let low = |number: u64| u8::try_from(number & 0xff).unwrap_or(0);
    let (head, sector) = (sector / sectors % heads, sector % sectors + 1);
    [low(head), low(sector | cylinder >> 8 << 6), low(cylinder)]
}

#[cfg(test)]
mod tests {
    use super::{chs, cylinder_head_sector};

    /// As isohybrid writes them.
    #[test]
    fn the_last_sector_of_an_isohybrid_image() {
        assert_eq!(chs((64, 32), 27 * 2048 - 1), [0x3f, 0x20, 0x1a]);
        assert_eq!(chs((64, 32), 1100 * 2048 - 1), [0x3f, 0xe0, 0xff]);
        assert_eq!(
            cylinder_head_sector([0x3f, 0xe0, 0xff], 1100 * 2048 - 1, 100 * 2048 - 1),
            [0x3f, 0x20, 0x63]
        );
    }

    #[test]
    fn other_geometries_are_kept_or_given_up() {
        let sector = 5000;
        assert_eq!(cylinder_head_sector(chs((255, 63), sector), sector, 6000), chs((255, 63), 6000));
        assert_eq!(cylinder_head_sector([0xfe, 0xff, 0xff], sector, 6000), [0xfe, 0xff, 0xff]);
        assert_eq!(cylinder_head_sector([1, 2, 3], sector, 6000), [0xfe, 0xff, 0xff]);
        assert_eq!(cylinder_head_sector([1, 2, 3], sector, sector), [1, 2, 3]);
    }
}
