//! An image layer as a sequence of files.
//!
//! Tar headers are read raw: long-name and PAX members are skipped like any other, because the files this crate looks
//! for have short plain names, and a hostile extension header could otherwise ask for any amount of memory. Nothing is
//! ever written under a name that a layer gives.

use std::io::{self, BufReader, Cursor, Read};
use std::ops::ControlFlow;

use flate2::bufread::MultiGzDecoder;

/// More than any layer that carries an ISO inflates to; a smaller file can still be a bomb.
const MAX_INFLATED: u64 = 64 << 30;

/// Large reads keep the number of calls into the decompressor low.
const BUFFER: usize = 256 * 1024;

/// Shows every regular file of a layer to `visit`, as name (without a leading `/` or `./`), size and contents, until it
/// breaks.
pub(crate) fn for_each_file<E: From<io::Error>>(
    layer: impl Read,
    mut visit: impl FnMut(&str, u64, &mut dyn Read) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(inflate(layer)?.take(MAX_INFLATED));
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path_bytes();
        let Ok(path) = std::str::from_utf8(&path) else { continue };
        let name = path.trim_start_matches("./").trim_start_matches('/').to_owned();
        let size = entry.header().entry_size()?;
        if visit(&name, size, &mut File { bytes: &mut entry, remaining: size })?.is_break() {
            break;
        }
    }
    Ok(())
}

/// The contents of a file. Unlike the tar crate's, they never end early without an error.
struct File<R> {
    bytes: R,
    remaining: u64,
}

impl<R: Read> Read for File<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        if count == 0 && self.remaining > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within a file"));
        }
        self.remaining = self.remaining.saturating_sub(count as u64);
        Ok(count)
    }
}

/// Undoes a layer's compression. Its first bytes decide which one; media types are known to lie.
fn inflate<'a>(mut layer: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::with_capacity(4);
    layer.by_ref().take(4).read_to_end(&mut magic)?;
    let compression = Compression::of(&magic);
    let layer = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(layer));
    Ok(match compression {
        Compression::Gzip => Box::new(MultiGzDecoder::new(layer)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(layer)?),
        Compression::None => Box::new(layer),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zstd,
    None,
}

impl Compression {
    fn of(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Zstd,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // Set by hand: the crate refuses the names that a hostile archive has.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn files(layer: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        for_each_file(layer, |name, size, content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes)?;
            assert_eq!(bytes.len() as u64, size);
            files.push((name.to_owned(), bytes));
            Ok::<_, io::Error>(ControlFlow::Continue(()))
        })?;
        Ok(files)
    }

    #[test]
    fn files_are_found_under_every_compression() {
        let plain = tar(&[("./coreos/a", b"one"), ("/coreos/b", b"two"), ("../c", b"")]);
        let expected: Vec<(String, Vec<u8>)> = vec![
            ("coreos/a".into(), b"one".into()),
            ("coreos/b".into(), b"two".into()),
            ("../c".into(), b"".into()),
        ];
        let mut gzip = Vec::new();
        // Two members, as parallel compressors write.
        for half in [&plain[..700], &plain[700..]] {
            let mut encoder = flate2::write::GzEncoder::new(&mut gzip, flate2::Compression::fast());
            encoder.write_all(half).unwrap();
            encoder.finish().unwrap();
        }
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for layer in [plain, gzip, zstd] {
            assert_eq!(files(&layer).unwrap(), expected);
        }
    }

    #[test]
    fn a_layer_that_ends_early_is_an_error() {
        let whole = tar(&[("a", &[7; 5000])]);
        assert!(files(&whole[..2048]).is_err());
    }

    #[test]
    fn a_header_that_claims_a_huge_name_costs_nothing() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(u64::MAX >> 2);
        header.set_cksum();
        assert!(files(header.as_bytes()).is_err());
    }
}
