//! The newc form of cpio, which is what the kernel unpacks an initramfs from.
//!
//! ```text
//! "070701"                                                            6
//! inode mode uid gid links mtime size                       7 × 8 hex digits
//! device major, minor; special device major, minor          4 × 8
//! name size, checksum                                       2 × 8
//! name, NUL, padding to 4; content, padding to 4
//! ```
//!
//! A file called `TRAILER!!!` ends the archive. Reference: `buffer-format.rst` and `init/initramfs.c` of Linux.

use std::ops::Range;

/// Of newc, and of its variant with checksums, which are not checked.
const MAGICS: [&[u8]; 2] = [b"070701", b"070702"];
const HEADER_LEN: usize = 110;
const TRAILER: &str = "TRAILER!!!";
/// `PATH_MAX` of Linux.
const NAME_MAX: usize = 4096;

const TYPE_MASK: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// Writes archives that depend on nothing but what is put into them: no time, no owner, no inode.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    archive: Vec<u8>,
}

impl Writer {
    /// Adds a regular file. Its directory must exist when the kernel unpacks it.
    pub(crate) fn file(
        &mut self,
        path: &str,
        permissions: u32,
        content: &[u8],
    ) -> Result<(), ContentTooLarge> {
        let size = u32::try_from(content.len()).map_err(|_| ContentTooLarge)?;
        self.entry(path, REGULAR | permissions, size);
        self.archive.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, 0);
        self.archive
    }

    fn entry(&mut self, name: &str, mode: u32, size: u32) {
        let links = 1;
        // Names are ours, and short.
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        self.archive.extend_from_slice(MAGICS[0]);
        for number in [0, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
            self.archive.extend_from_slice(format!("{number:08X}").as_bytes());
        }
        self.archive.extend_from_slice(name.as_bytes());
        self.archive.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        self.archive.resize(self.archive.len().next_multiple_of(4), 0);
    }
}

/// The sizes in a cpio archive have 32 bits.
#[derive(Debug)]
pub(crate) struct ContentTooLarge;

/// Whether a cpio archive begins here.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    MAGICS.iter().any(|magic| bytes.starts_with(magic))
}

/// How many bytes at the start of a member are enough for its [`Header`].
pub(crate) const HEADER_BYTES_MAX: usize = HEADER_LEN + NAME_MAX;

/// What stands before the content of a member. The content itself need not be at hand.
pub(crate) struct Header<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) is_regular_file: bool,
    /// Where the content begins, from where the header does.
    pub(crate) content_start: usize,
    pub(crate) size: u32,
}

impl<'a> Header<'a> {
    /// Reads the header at the start of `bytes`.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        if !begins(bytes) {
            return Err("no cpio header");
        }
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or("the cpio header is cut short")?;
        let number = |index: usize| {
            hex(header, 6 + 8 * index).ok_or("the cpio header holds something else than numbers")
        };
        let (mode, size, name_size) = (number(1)?, number(6)?, number(11)?);

        let name_size = usize::try_from(name_size).ok().filter(|size| (1..=NAME_MAX).contains(size));
        let name_end = HEADER_LEN + name_size.ok_or("a name has an impossible length")?;
        let name = bytes.get(HEADER_LEN..name_end).ok_or("a name is cut short")?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let is_regular_file = mode & TYPE_MASK == REGULAR;
        Ok(Self { name, is_regular_file, content_start: name_end.next_multiple_of(4), size })
    }
}

/// Reads one archive at the start of `bytes`.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// A member of an archive.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) is_regular_file: bool,
    /// Where the content is in the bytes that hold the archive.
    pub(crate) content: Range<usize>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Where the next entry begins or, after the last, where the archive ends.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next entry; None is the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'a>>, &'static str> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let header = Header::read(rest)?;
        let size = usize::try_from(header.size).map_err(|_| "a file is larger than memory")?;
        let start = header.content_start;
        let end = start.checked_add(size).filter(|end| *end <= rest.len()).ok_or("a file is cut short")?;

        let content = self.position + start..self.position + end;
        // The padding of the very last file may be missing.
        self.position = content.end.next_multiple_of(4).min(self.bytes.len());
        if header.name == TRAILER.as_bytes() {
            return Ok(None);
        }
        Ok(Some(Entry { name: header.name, is_regular_file: header.is_regular_file, content }))
    }
}

fn hex(header: &[u8; HEADER_LEN], at: usize) -> Option<u32> {
    header.get(at..at + 8)?.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::{HEADER_LEN, Reader, Writer};

    fn archive() -> Vec<u8> {
        let mut writer = Writer::default();
        writer.file("config.ign", 0o644, b"{}").unwrap();
        writer.file("usr/lib/ignition/base.d/x", 0o600, b"12345").unwrap();
        writer.finish()
    }

    #[test]
    fn the_header_is_what_the_predecessor_writes() {
        let archive = archive();
        let header = std::str::from_utf8(&archive[..HEADER_LEN]).unwrap();
        let expected = "070701 00000000 000081A4 00000000 00000000 00000001 00000000 00000002 \
                        00000000 00000000 00000000 00000000 0000000B 00000000";
        assert_eq!(header, expected.replace(' ', ""));
        assert_eq!(archive[HEADER_LEN..][..18], *b"config.ign\0\0\0\0{}\0\0");
        assert!(archive.ends_with(b"TRAILER!!!\0\0\0\0"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let archive = archive();
        let mut reader = Reader::new(&archive);
        let mut files = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            assert!(entry.is_regular_file);
            files.push((entry.name, &archive[entry.content]));
        }
        assert_eq!(files, [(&b"config.ign"[..], &b"{}"[..]), (b"usr/lib/ignition/base.d/x", b"12345")]);
        assert_eq!(reader.position(), archive.len());
    }

    #[test]
    fn names_may_be_padded_with_nuls() {
        let mut archive = archive();
        archive[HEADER_LEN - 16..HEADER_LEN - 8].copy_from_slice(b"0000000e");
        assert_eq!(Reader::new(&archive).next().unwrap().unwrap().name, b"config.ign");
    }

    #[test]
    fn an_archive_cut_anywhere_is_an_error() {
        let archive = archive();
        // Nothing needs the padding of the trailer.
        for len in 0..archive.len() - 3 {
            let mut reader = Reader::new(&archive[..len]);
            let outcome = std::iter::from_fn(|| reader.next().transpose()).find_map(Result::err);
            assert!(outcome.is_some(), "cut to {len} bytes");
        }
    }

    #[test]
    fn impossible_headers_are_errors() {
        for (at, bytes) in
            [(0, &b"070707"[..]), (14, b"000081ag"), (54, b"ffffffff"), (94, b"00000000"), (94, b"00001001")]
        {
            let mut archive = archive();
            archive[at..at + bytes.len()].copy_from_slice(bytes);
            assert!(Reader::new(&archive).next().is_err(), "{at}");
        }
    }
}
