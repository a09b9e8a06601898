//! Metadata blocks: a header of two bytes, then up to 8 KiB, compressed or not. Structures run across them.

use super::Squashfs;
use super::decompress::decompress;
use crate::ReadAt;
use crate::rootfs::RootfsError;

const BLOCK_LEN_MAX: usize = 8 << 10;
/// In the header of a block; the other bits are how many bytes follow.
const NOT_COMPRESSED: u16 = 1 << 15;

/// A place in a table: where a block begins, from where the table does, and a position in the unpacked block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    block: u64,
    position: u16,
}

impl Reference {
    /// As inodes are referred to: 48 and 16 bits.
    pub(super) fn new(packed: u64) -> Self {
        let [position_low, position_high, ..] = packed.to_le_bytes();
        Self { block: packed >> 16, position: u16::from_le_bytes([position_low, position_high]) }
    }

    pub(super) fn at(block: u32, position: u16) -> Self {
        Self { block: block.into(), position }
    }

    /// In the block that the table begins with.
    pub(super) fn in_block(position: u16) -> Self {
        Self { block: 0, position }
    }
}

/// Reads a table on from some place.
pub(super) struct MetadataReader<'f, R: ?Sized> {
    squashfs: &'f Squashfs<'f, R>,
    what: &'static str,
    next_block: u64,
    block: Vec<u8>,
    position: usize,
}

impl<'f, R: ReadAt + ?Sized> MetadataReader<'f, R> {
    /// Reads `what`, which is at `reference` in `table`.
    pub(super) fn new(
        squashfs: &'f Squashfs<'f, R>,
        what: &'static str,
        table: u64,
        reference: Reference,
    ) -> Result<Self, RootfsError> {
        let next_block = table.checked_add(reference.block);
        let next_block =
            next_block.ok_or_else(|| RootfsError::malformed(what, "its location is impossible"))?;
        let mut reader = Self { squashfs, what, next_block, block: Vec::new(), position: 0 };
        reader.read_block()?;
        reader.position = reference.position.into();
        Ok(reader)
    }

    pub(super) fn read_array<const N: usize>(&mut self) -> Result<[u8; N], RootfsError> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), RootfsError> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let block = self.block.get(self.position..).unwrap_or_default();
            let len = rest.len().min(block.len());
            if let (Some(rest), Some(block)) = (rest.get_mut(..len), block.get(..len)) {
                rest.copy_from_slice(block);
            }
            filled += len;
            self.position += len;
            if self.position >= self.block.len() && filled < buf.len() {
                self.read_block()?;
            }
        }
        Ok(())
    }

    fn read_block(&mut self) -> Result<(), RootfsError> {
        let image = self.squashfs.image;
        let malformed = |problem| RootfsError::malformed(self.what, problem);
        let header = image.read(self.what, self.next_block, 2)?;
        let header = header.first_chunk().copied().map_or(0, u16::from_le_bytes);
        let len = header & !NOT_COMPRESSED;
        if usize::from(len) > BLOCK_LEN_MAX {
            return Err(malformed("it is in a metadata block of more than 8 KiB"));
        }
        let block = image.read(self.what, self.next_block + 2, len.into())?;
        let superblock = &self.squashfs.superblock;
        self.block = if header & NOT_COMPRESSED == 0 {
            decompress(superblock.compression, &block, BLOCK_LEN_MAX, superblock.block_size)
                .map_err(|source| RootfsError::from_io(self.what, source))?
        } else {
            block
        };
        // So that reading on comes to an end.
        if self.block.is_empty() {
            return Err(malformed("it is in an empty metadata block"));
        }
        self.position = 0;
        self.next_block += 2 + u64::from(len);
        Ok(())
    }
}
