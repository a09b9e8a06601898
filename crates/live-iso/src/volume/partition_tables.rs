//! Partition tables in front of the volume, which firmware needs that boots the ISO as a disk.

use super::field;
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

const SECTOR: usize = 512;

const MBR_PARTITIONS: usize = 446;
const MBR_SIGNATURE: &[u8] = &[0x55, 0xaa];
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
        let (mbr, gpt) = sectors.split_at_checked(SECTOR).unwrap_or_default();
        let partitions = mbr.get(MBR_PARTITIONS..SECTOR - MBR_SIGNATURE.len()).unwrap_or_default();
        // A type of zero is no sign of an unused entry: isohybrid's has it.
        let has_sectors = |entry| field::u32_le(entry, 12).is_some_and(|sectors| sectors > 0);
        Self {
            mbr: mbr.ends_with(MBR_SIGNATURE) && partitions.chunks_exact(16).any(has_sectors),
            gpt: gpt.starts_with(GPT_SIGNATURE),
        }
    }
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
