//! The content of files: data blocks, each compressed for itself, and fragments, which are blocks that several files
//! have their last bytes in.

use super::Squashfs;
use super::decompress::decompress;
use super::field::Fields;
use super::inode::{File, Fragment};
use super::metadata::{MetadataReader, Reference};
use crate::ReadAt;
use crate::rootfs::RootfsError;

const WHAT: &str = "a file";
const FRAGMENT: &str = "a fragment";
/// In the size of a block; the lower bits are how many bytes it has in the image.
const NOT_COMPRESSED: u32 = 1 << 24;
/// How many fragments one metadata block of their table describes.
const FRAGMENTS_PER_BLOCK: u32 = 512;

/// Reads all of a file, which may have `max` bytes.
pub(super) fn read<R: ReadAt + ?Sized>(
    squashfs: &Squashfs<'_, R>,
    mut file: File<'_, R>,
    max: u64,
) -> Result<Vec<u8>, RootfsError> {
    let too_large = || RootfsError::TooLarge { what: WHAT.to_owned(), len: file.len, max };
    if file.len > max {
        return Err(too_large());
    }
    let len = usize::try_from(file.len).map_err(|_| too_large())?;
    let block_size = squashfs.superblock.block_size as usize;
    let tail = if file.fragment.is_some() { len % block_size } else { 0 };

    // Grows with what is really there, not with what the inode promises.
    let mut content = Vec::new();
    let mut at = file.start;
    while content.len() < len - tail {
        let expected = block_size.min(len - content.len());
        let size = u32::from_le_bytes(file.block_sizes.read_array()?);
        if size == 0 {
            content.resize(content.len() + expected, 0);
            continue;
        }
        let block = read_block(squashfs, WHAT, at, size)?;
        if block.len() != expected {
            return Err(RootfsError::malformed(WHAT, "a block of it has a wrong size"));
        }
        content.extend_from_slice(&block);
        // Proven to lie within the image.
        at += u64::from(size & !NOT_COMPRESSED);
    }
    if let Some(fragment) = file.fragment.filter(|_| tail > 0) {
        let block = read_fragment(squashfs, &fragment)?;
        let bytes = block.get(fragment.offset as usize..).and_then(|rest| rest.get(..tail));
        let bytes = bytes.ok_or_else(|| RootfsError::malformed(WHAT, "its end is not in the fragment"))?;
        content.extend_from_slice(bytes);
    }
    Ok(content)
}

/// Reads a block of data. `size` is as the image has it.
fn read_block<R: ReadAt + ?Sized>(
    squashfs: &Squashfs<'_, R>,
    what: &'static str,
    at: u64,
    size: u32,
) -> Result<Vec<u8>, RootfsError> {
    let superblock = &squashfs.superblock;
    let stored = size & !NOT_COMPRESSED;
    if stored > superblock.block_size {
        return Err(RootfsError::malformed(what, "a block of it is larger than blocks are"));
    }
    let block = squashfs.image.read(what, at, stored.into())?;
    if size & NOT_COMPRESSED != 0 {
        return Ok(block);
    }
    let block_size = superblock.block_size;
    decompress(superblock.compression, &block, block_size as usize, block_size)
        .map_err(|source| RootfsError::from_io(what, source))
}

fn read_fragment<R: ReadAt + ?Sized>(
    squashfs: &Squashfs<'_, R>,
    fragment: &Fragment,
) -> Result<Vec<u8>, RootfsError> {
    let superblock = &squashfs.superblock;
    let malformed = |problem| RootfsError::malformed(FRAGMENT, problem);
    if fragment.index >= superblock.fragment_count {
        return Err(malformed("it is beyond the end of their table"));
    }
    let (block, within) = (fragment.index / FRAGMENTS_PER_BLOCK, fragment.index % FRAGMENTS_PER_BLOCK);
    let place = superblock.fragments.checked_add(u64::from(block) * 8);
    let place = place.ok_or_else(|| malformed("the location of their table is impossible"))?;
    let table_block = Fields::new(&squashfs.image.read(FRAGMENT, place, 8)?).u64();

    // 512 × 16 bytes fill a metadata block, so an entry is always in the block that its index says.
    let position = u16::try_from(within * 16).unwrap_or(u16::MAX);
    let reference = Reference::in_block(position);
    let entry = MetadataReader::new(squashfs, FRAGMENT, table_block, reference)?.read_array::<16>()?;
    let mut fields = Fields::new(&entry);
    let (at, size) = (fields.u64(), fields.u32());
    read_block(squashfs, FRAGMENT, at, size)
}
