//! What the kernel makes of an initramfs: a sequence of newc cpio archives, plain or compressed, with zeros between.
//!
//! Reference: `init/initramfs.c` of Linux. Of its formats gzip, xz and zstd are read, the only ones that anything
//! writes into a live ISO. The bytes may come from anybody: all that is unpacked together, and the memory that a
//! decompressor may take for itself, is bounded.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;

use crate::{Error, cpio};

type Files = BTreeMap<String, Bytes>;

/// How much all archives together may unpack to. Real Ignition configs have a few hundred KiB.
pub(crate) const UNPACKED_BYTES_MAX: usize = 32 << 20;

/// How far back a decompressor may refer, as a power of two. As far as Linux allows.
const WINDOW_LOG_MAX: u32 = 27;
/// The same with some room for what xz needs besides.
const XZ_MEMORY_KIB_MAX: u32 = (1 << (WINDOW_LOG_MAX - 10)) + 1024;

/// A regular file in an initramfs.
///
/// It may hold secrets, so [`fmt::Debug`] shows only its name and size.
#[derive(Clone, PartialEq, Eq)]
pub struct EmbeddedFile {
    /// The path, as the archive spells it.
    pub name: String,
    /// What is in the file.
    pub content: Bytes,
}

impl EmbeddedFile {
    /// The size of the content in bytes.
    pub fn size(&self) -> u64 {
        self.content.len() as u64
    }
}

impl fmt::Debug for EmbeddedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedFile({:?}, {} bytes)", self.name, self.content.len())
    }
}

/// The regular files in an initramfs, sorted by name. Of several files with one name the last counts.
pub fn unpack(initramfs: &[u8]) -> Result<Vec<EmbeddedFile>, Error> {
    let mut files = Files::new();
    let mut left = UNPACKED_BYTES_MAX;
    let mut position = 0;
    while let Some(start) = next_member(initramfs, position) {
        let member = initramfs.get(start..).unwrap_or_default();
        let len = if cpio::begins(member) {
            if !start.is_multiple_of(4) {
                let problem = "it is a plain cpio archive and not at a multiple of 4";
                return Err(Error::Archive { offset: start, problem });
            }
            read_archive(member, start, &mut files)?
        } else {
            let (archives, compressed_len) = decompress(member, start, left)?;
            left -= archives.len();
            read_archives(&archives, &mut files)?;
            compressed_len
        };
        position = start + len;
    }
    Ok(files.into_iter().map(|(name, content)| EmbeddedFile { name, content }).collect())
}

/// Where the zeros at `position` end, unless nothing follows them.
fn next_member(bytes: &[u8], position: usize) -> Option<usize> {
    let zeros = bytes.get(position..)?.iter().position(|byte| *byte != 0)?;
    Some(position + zeros)
}

/// Reads what a compressed member unpacked to: archives, which are never compressed again.
fn read_archives(archives: &[u8], files: &mut Files) -> Result<(), Error> {
    let mut position = 0;
    while let Some(start) = next_member(archives, position) {
        position = start + read_archive(archives.get(start..).unwrap_or_default(), start, files)?;
    }
    Ok(())
}

/// Reads the archive at the start of `bytes` and says how long it is.
fn read_archive(bytes: &[u8], offset: usize, files: &mut Files) -> Result<usize, Error> {
    let mut archive = cpio::Reader::new(bytes);
    loop {
        let offset = offset + archive.position();
        let entry = archive.next().map_err(|problem| Error::Archive { offset, problem })?;
        let Some(entry) = entry else { return Ok(archive.position()) };
        if entry.is_regular_file {
            let name = String::from_utf8_lossy(entry.name).into_owned();
            let content = bytes.get(entry.content).unwrap_or_default();
            files.insert(name, Bytes::copy_from_slice(content));
        }
    }
}

/// Unpacks the compressed member at the start of `bytes`, and says how long it was.
fn decompress(bytes: &[u8], offset: usize, left: usize) -> Result<(Vec<u8>, usize), Error> {
    let mut rest = bytes;
    let (format, unpacked) = match bytes {
        [0x1f, 0x8b, ..] => ("gzip", read_to_end(GzDecoder::new(&mut rest), left)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            ("xz", read_to_end(XzReader::new_mem_limit(&mut rest, false, XZ_MEMORY_KIB_MAX), left))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", zstd(&mut rest).and_then(|zstd| read_to_end(zstd, left))),
        _ => {
            let problem = "it is neither a cpio archive nor one in gzip, xz or zstd";
            return Err(Error::Archive { offset, problem });
        }
    };
    let unpacked = unpacked.map_err(|source| Error::Unpack { format, offset, source })?;
    if unpacked.len() > left {
        return Err(Error::TooMany {
            what: "bytes in its embedded archives",
            max: UNPACKED_BYTES_MAX as u64,
        });
    }
    Ok((unpacked, bytes.len() - rest.len()))
}

fn zstd(bytes: impl BufRead) -> io::Result<impl Read> {
    let mut decoder = zstd::Decoder::with_buffer(bytes)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Reads up to `max` bytes and, if there are more, one of them.
fn read_to_end(reader: impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
