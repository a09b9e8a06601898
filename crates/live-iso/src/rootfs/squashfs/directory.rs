//! Directories: runs of up to 256 entries whose inodes are in one metadata block.

use super::field::Fields;
use super::inode::Directory;
use super::metadata::{MetadataReader, Reference};
use super::{Node, Squashfs};
use crate::ReadAt;
use crate::rootfs::RootfsError;
use crate::rootfs::deployment::{DIRECTORY_BYTES_MAX, Kind};

const WHAT: &str = "a directory";
const RUN_HEADER_LEN: u32 = 12;
const ENTRY_HEADER_LEN: u32 = 8;
const RUN_ENTRIES_MAX: u32 = 256;
const NAME_LEN_MAX: usize = 256;

pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) node: Node,
}

/// Calls `visit` for every entry until it returns something.
pub(super) fn entries<R: ReadAt + ?Sized, T>(
    squashfs: &Squashfs<'_, R>,
    directory: &Directory,
    mut visit: impl FnMut(Entry<'_>) -> Option<Result<T, RootfsError>>,
) -> Result<Option<T>, RootfsError> {
    let mut left = directory.listing_len;
    if u64::from(left) > DIRECTORY_BYTES_MAX {
        let (what, len) = (WHAT.to_owned(), left.into());
        return Err(RootfsError::TooLarge { what, len, max: DIRECTORY_BYTES_MAX });
    }
    // An empty directory has no place.
    if left == 0 {
        return Ok(None);
    }
    let malformed = |problem| RootfsError::malformed(WHAT, problem);
    let spend = |left: &mut u32, len| {
        *left = left.checked_sub(len).ok_or_else(|| malformed("its last entry is cut short"))?;
        Ok(())
    };
    let mut metadata =
        MetadataReader::new(squashfs, WHAT, squashfs.superblock.directories, directory.listing)?;
    while left > 0 {
        spend(&mut left, RUN_HEADER_LEN)?;
        let header = metadata.read_array::<{ RUN_HEADER_LEN as usize }>()?;
        let mut fields = Fields::new(&header);
        let (others, inode_block) = (fields.u32(), fields.u32());
        if others >= RUN_ENTRIES_MAX {
            return Err(malformed("it has more than 256 entries in a row"));
        }
        for _ in 0..=others {
            let header = metadata.read_array::<{ ENTRY_HEADER_LEN as usize }>()?;
            let mut fields = Fields::new(&header);
            let inode_position = fields.u16();
            fields.skip(2);
            let kind = match fields.u16() {
                1 => Kind::Directory,
                2 => Kind::File,
                _ => Kind::Other,
            };
            let name_len = u32::from(fields.u16()) + 1;
            spend(&mut left, ENTRY_HEADER_LEN)?;
            spend(&mut left, name_len)?;
            let mut name = [0; NAME_LEN_MAX];
            let name = name.get_mut(..name_len as usize).ok_or_else(|| malformed("a name is too long"))?;
            metadata.read_exact(name)?;
            let node = Node { reference: Reference::at(inode_block, inode_position), kind };
            if let Some(found) = visit(Entry { name, node }) {
                return found.map(Some);
            }
        }
    }
    Ok(None)
}
