//! The compressions of squashfs blocks. What a block becomes is bounded before it is unpacked, and so is the memory that
//! unpacking takes.

use std::io::{self, Read};

use flate2::bufread::ZlibDecoder;
use lzma_rust2::XzReader;

use crate::rootfs::RootfsCompression;

/// What xz needs besides a dictionary, which mksquashfs makes no larger than a data block.
const XZ_MEMORY_KIB: u32 = 1024;

/// Whether [`decompress`] can do anything with it.
pub(super) fn can_decompress(compression: RootfsCompression) -> bool {
    use RootfsCompression as Compression;
    matches!(compression, Compression::Gzip | Compression::Xz | Compression::Lz4 | Compression::Zstd)
}

/// Unpacks one block, which may become `max` bytes.
pub(super) fn decompress(
    compression: RootfsCompression,
    block: &[u8],
    max: usize,
    data_block_size: u32,
) -> io::Result<Vec<u8>> {
    match compression {
        RootfsCompression::Gzip => read_to_end(ZlibDecoder::new(block), max),
        RootfsCompression::Xz => {
            let memory = data_block_size / 1024 + XZ_MEMORY_KIB;
            read_to_end(XzReader::new_mem_limit(block, false, memory), max)
        }
        RootfsCompression::Lz4 => {
            let mut unpacked = vec![0; max];
            let len = lz4_flex::block::decompress_into(block, &mut unpacked).map_err(invalid)?;
            unpacked.truncate(len);
            Ok(unpacked)
        }
        // Straight into a buffer of that size, so that no window is allocated.
        RootfsCompression::Zstd => zstd::bulk::decompress(block, max).map_err(invalid),
        RootfsCompression::Lzma | RootfsCompression::Lzo | RootfsCompression::Deflate => {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

fn read_to_end(reader: impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(max);
    reader.take(max as u64 + 1).read_to_end(&mut unpacked).map_err(invalid)?;
    if unpacked.len() > max { Err(invalid("it unpacks to more than a block")) } else { Ok(unpacked) }
}

/// What comes from a slice fails only for what is in it.
fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
