//! What a layer is packed with. Its first bytes decide; media types are known to lie.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

/// Large reads keep the number of calls into the decompressor low.
const BUFFER: usize = 256 * 1024;

/// Unpacks a layer, and refuses to give more than `limit` bytes: a small file can be a bomb.
///
/// What a decoder sets aside depends on its format alone: 32 KiB for gzip, for zstd the window of a frame, which
/// libzstd refuses beyond 128 MiB and touches only as data comes.
pub(super) fn inflate<'a>(mut layer: impl Read + 'a, limit: u64) -> io::Result<Inflated<'a>> {
    let mut magic = Vec::with_capacity(Compression::MAGIC);
    layer.by_ref().take(Compression::MAGIC as u64).read_to_end(&mut magic)?;
    let compression = Compression::of(&magic);
    let layer = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(layer));
    let unsupported = |name| {
        let text = format!("it is packed with {name}; only gzip, zstd and unpacked layers are read");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    };
    let bytes: Box<dyn Read + 'a> = match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(layer)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(layer)?),
        Compression::None => Box::new(layer),
        Compression::Bzip2 => return unsupported("bzip2"),
        Compression::Xz => return unsupported("xz"),
    };
    Ok(Inflated { bytes, limit, remaining: limit })
}

/// The bytes of the archive.
pub(super) struct Inflated<'a> {
    bytes: Box<dyn Read + 'a>,
    limit: u64,
    remaining: u64,
}

impl Read for Inflated<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.remaining = self.remaining.checked_sub(count as u64).ok_or_else(|| {
            let text = format!("it unpacks to more than {} bytes", self.limit);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(count)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    None,
}

impl Compression {
    /// As many bytes as the longest magic has.
    const MAGIC: usize = 10;

    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or a skippable one: parallel compressors put one in front of each that counts.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            // Short enough to begin a file's name; the digits of pi after it are not.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::None,
        }
    }
}
