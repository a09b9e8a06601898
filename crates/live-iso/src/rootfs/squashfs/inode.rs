//! Inodes of directories and files; the others are of no use here. A file's list of block sizes follows its inode.

use super::Squashfs;
use super::field::Fields;
use super::metadata::{MetadataReader, Reference};
use crate::ReadAt;
use crate::rootfs::RootfsError;

const WHAT: &str = "an inode";
/// Stands for the index of a fragment where there is none.
const NO_FRAGMENT: u32 = u32::MAX;

/// An inode. Each type comes in a basic and an extended form.
pub(super) enum Inode<'f, R: ?Sized> {
    Directory(Directory),
    File(Box<File<'f, R>>),
    Other,
}

pub(super) struct Directory {
    /// Where its listing begins in the table of directories.
    pub(super) listing: Reference,
    pub(super) listing_len: u32,
}

pub(super) struct File<'f, R: ?Sized> {
    /// Where its first block lies in the image.
    pub(super) start: u64,
    pub(super) len: u64,
    /// Where its last bytes are, if not in a block of their own.
    pub(super) fragment: Option<Fragment>,
    /// Stands at the sizes of the blocks.
    pub(super) block_sizes: MetadataReader<'f, R>,
}

pub(super) struct Fragment {
    pub(super) index: u32,
    pub(super) offset: u32,
}

impl Fragment {
    fn new(index: u32, offset: u32) -> Option<Self> {
        (index != NO_FRAGMENT).then_some(Self { index, offset })
    }
}

impl<'f, R: ReadAt + ?Sized> Inode<'f, R> {
    pub(super) fn read(squashfs: &'f Squashfs<'f, R>, reference: Reference) -> Result<Self, RootfsError> {
        let mut metadata = MetadataReader::new(squashfs, WHAT, squashfs.superblock.inodes, reference)?;
        let header = metadata.read_array::<16>()?;
        match Fields::new(&header).u16() {
            1 => Self::directory(&metadata.read_array::<16>()?),
            2 => Ok(Self::file(&metadata.read_array::<16>()?, metadata)),
            8 => Self::extended_directory(&metadata.read_array::<24>()?),
            9 => Ok(Self::extended_file(&metadata.read_array::<40>()?, metadata)),
            // Symbolic links, devices, pipes and sockets.
            3..=7 | 10..=14 => Ok(Self::Other),
            _ => Err(RootfsError::malformed(WHAT, "it is of no known type")),
        }
    }

    fn directory(inode: &[u8; 16]) -> Result<Self, RootfsError> {
        let mut fields = Fields::new(inode);
        let block = fields.u32();
        fields.skip(4);
        let (len, position) = (fields.u16(), fields.u16());
        Directory::new(Reference::at(block, position), len.into()).map(Self::Directory)
    }

    fn extended_directory(inode: &[u8; 24]) -> Result<Self, RootfsError> {
        let mut fields = Fields::new(inode);
        fields.skip(4);
        let (len, block) = (fields.u32(), fields.u32());
        // The parent and the size of an index, which only helps with large directories.
        fields.skip(6);
        Directory::new(Reference::at(block, fields.u16()), len).map(Self::Directory)
    }

    fn file(inode: &[u8; 16], block_sizes: MetadataReader<'f, R>) -> Self {
        let mut fields = Fields::new(inode);
        let start = fields.u32().into();
        let fragment = Fragment::new(fields.u32(), fields.u32());
        Self::File(Box::new(File { start, len: fields.u32().into(), fragment, block_sizes }))
    }

    fn extended_file(inode: &[u8; 40], block_sizes: MetadataReader<'f, R>) -> Self {
        let mut fields = Fields::new(inode);
        let (start, len) = (fields.u64(), fields.u64());
        // How much of it is sparse, and the number of links.
        fields.skip(12);
        let fragment = Fragment::new(fields.u32(), fields.u32());
        Self::File(Box::new(File { start, len, fragment, block_sizes }))
    }
}

impl Directory {
    /// Three bytes for `.` and `..`, which are not in the listing, are counted.
    fn new(listing: Reference, len: u32) -> Result<Self, RootfsError> {
        let listing_len = len.checked_sub(3);
        let listing_len =
            listing_len.ok_or_else(|| RootfsError::malformed(WHAT, "its directory is too small"))?;
        Ok(Self { listing, listing_len })
    }
}
