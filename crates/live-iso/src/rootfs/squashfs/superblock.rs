//! The first 96 bytes of a squashfs 4.0, the only version that kernels of CoreOS mount.

use super::decompress::can_decompress;
use super::field::Fields;
use super::metadata::Reference;
use crate::ReadAt;
use crate::rootfs::image::Image;
use crate::rootfs::{RootfsCompression, RootfsError};

const MAGIC: &[u8] = b"hsqs";
const LEN: u64 = 96;
const WHAT: &str = "the superblock of the squashfs";
/// What data blocks may have, as a power of two.
const BLOCK_LOG: std::ops::RangeInclusive<u16> = 12..=20;

/// What is needed of the superblock. All locations are offsets into the image, and not yet proven to lie within it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Superblock {
    pub(super) compression: RootfsCompression,
    /// The size of a data block in bytes, at most 1 MiB.
    pub(super) block_size: u32,
    pub(super) root: Reference,
    pub(super) inodes: u64,
    pub(super) directories: u64,
    pub(super) fragments: u64,
    pub(super) fragment_count: u32,
}

/// Whether a squashfs begins here.
pub(in crate::rootfs) fn begins(image: &[u8]) -> bool {
    image.starts_with(MAGIC)
}

/// How the squashfs is compressed.
pub(super) fn compression<R: ReadAt + ?Sized>(
    image: &Image<'_, R>,
) -> Result<RootfsCompression, RootfsError> {
    let superblock = image.read(WHAT, 0, LEN)?;
    let mut fields = Fields::new(&superblock);
    fields.skip(20);
    match fields.u16() {
        1 => Ok(RootfsCompression::Gzip),
        2 => Ok(RootfsCompression::Lzma),
        3 => Ok(RootfsCompression::Lzo),
        4 => Ok(RootfsCompression::Xz),
        5 => Ok(RootfsCompression::Lz4),
        6 => Ok(RootfsCompression::Zstd),
        other => Err(RootfsError::Unsupported { what: format!("squashfs with compression {other}") }),
    }
}

impl Superblock {
    pub(super) fn read<R: ReadAt + ?Sized>(image: &Image<'_, R>) -> Result<Self, RootfsError> {
        let compression = compression(image)?;
        let superblock = image.read(WHAT, 0, LEN)?;
        let mut fields = Fields::new(&superblock);
        // The magic, the number of inodes and a time.
        fields.skip(12);
        let block_size = fields.u32();
        let fragment_count = fields.u32();
        // The compression.
        fields.skip(2);
        let block_log = fields.u16();
        // The flags and the number of owners.
        fields.skip(4);
        let version = (fields.u16(), fields.u16());
        let root = Reference::new(fields.u64());
        let size = fields.u64();
        // The tables of owners and of extended attributes.
        fields.skip(16);
        let (inodes, directories, fragments) = (fields.u64(), fields.u64(), fields.u64());

        if version != (4, 0) {
            let what = format!("squashfs version {}.{}", version.0, version.1);
            return Err(RootfsError::Unsupported { what });
        }
        if !can_decompress(compression) {
            return Err(RootfsError::Unsupported { what: format!("squashfs with {compression}") });
        }
        if !BLOCK_LOG.contains(&block_log) || Some(block_size) != 1_u32.checked_shl(block_log.into()) {
            return Err(RootfsError::malformed(WHAT, "the size of blocks is impossible"));
        }
        if size > image.len() {
            return Err(RootfsError::malformed("the squashfs", "it is cut short"));
        }
        Ok(Self { compression, block_size, root, inodes, directories, fragments, fragment_count })
    }
}
