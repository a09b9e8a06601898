//! Partition tables in front of the volume, which firmware needs that boots the ISO as a disk.

use super::field;
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

const SECTOR: usize = 512;

const MBR_PARTITIONS: [usize; 4] = [446, 462, 478, 494];
const MBR_SIGNATURE: &[u8] = &[0x55, 0xaa];
/// Where in a partition its count of sectors is.
const COUNT: usize = 12;
const GPT_SIGNATURE: &[u8] = b"EFI PART";

/// Which partition tables an ISO has, so that it boots from a USB stick too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionTables {
    /// A master boot record with a partition: isohybrid's, or the one that tells POWER firmware where to look.
    pub mbr: bool,
    /// A GUID partition table.
    pub gpt: bool,
}

impl PartitionTables {
    pub(super) fn read<R: ReadAt + ?Sized>(source: &Source<'_, R>) -> Result<Self, Error> {
        let len = 2 * SECTOR as u64;
        Ok(Self::parse(&source.read("the partition tables", Extent { offset: 0, len }, len)?))
    }

    fn parse(sectors: &[u8]) -> Self {
        Self { mbr: mbr_partitions(sectors).next().is_some(), gpt: has_gpt(sectors) }
    }
}

/// Where the partitions of the MBR are that are in use.
pub(super) fn mbr_partitions(system_area: &[u8]) -> impl Iterator<Item = usize> {
    let has_mbr = system_area.get(..SECTOR).is_some_and(|mbr| mbr.ends_with(MBR_SIGNATURE));
    // A type of zero is no sign of an unused entry: isohybrid's has it.
    let is_used = move |at: &usize| has_mbr && field::u32_le(system_area, at + COUNT) > Some(0);
    MBR_PARTITIONS.into_iter().filter(is_used)
}

/// Whether there is a GUID partition table.
pub(super) fn has_gpt(system_area: &[u8]) -> bool {
    system_area.get(SECTOR..).is_some_and(|gpt| gpt.starts_with(GPT_SIGNATURE))
}

#[cfg(test)]
mod tests {
    use super::PartitionTables;

    fn parse(changes: &[(usize, &[u8])]) -> (bool, bool) {
        let mut sectors = vec![0; 1024];
        for (at, bytes) in changes {
            sectors[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        let tables = PartitionTables::parse(&sectors);
        (tables.mbr, tables.gpt)
    }

    #[test]
    fn tables_are_told_by_their_signatures() {
        let signature: (usize, &[u8]) = (510, &[0x55, 0xaa]);
        let isohybrid: (usize, &[u8]) = (446, &[0x80, 0, 1, 0, 0, 63, 32, 255, 0, 0, 0, 0, 0, 0x60, 0x22, 0]);
        let chrp: (usize, &[u8]) = (494, &[0x80, 0, 2, 0, 0x96, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(parse(&[]), (false, false));
        assert_eq!(parse(&[signature]), (false, false));
        assert_eq!(parse(&[isohybrid]), (false, false));
        assert_eq!(parse(&[signature, isohybrid]), (true, false));
        assert_eq!(parse(&[signature, chrp]), (true, false));
        assert_eq!(parse(&[signature, isohybrid, (512, b"EFI PART")]), (true, true));
        assert_eq!(parse(&[(512, b"EFI PART")]), (false, true));
    }
}
