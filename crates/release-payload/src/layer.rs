//! An image layer as a sequence of members.
//!
//! Headers are read by hand on top of the `tar` crate's, whose own walk takes the sizes in them for granted and holds
//! extended headers of any size in memory. Where readers of tar differ, Go's archive/tar decides, by which container
//! engines unpack. Nothing is ever written under a name that a layer gives.

mod compression;
mod extensions;

use std::io::{self, Read};
use std::ops::ControlFlow;

use self::compression::{Inflated, inflate};
use self::extensions::{Extensions, MAX_EXTENSION, PaxRecords, invalid};

/// More than any layer that carries an ISO inflates to.
pub(crate) const MAX_INFLATED: u64 = 64 << 30;

const BLOCK: usize = 512;

/// What is read at once of contents that nobody wants.
const SCRATCH: usize = 128 * 1024;

/// One member of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The name without `/` or `./` at its front or a `/` at its end. Never empty, and no part of it is `..`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// How many bytes the contents have, as the header states it.
    pub(crate) size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// Another name for what is elsewhere: a hard link's target is a member of the same archive.
    HardLink(String),
    Symlink(String),
    /// Pieces of a file, without the holes between them.
    SparseFile,
    Other,
}

/// Shows every member of a layer and its contents to `visit`, until it breaks. More than `limit` bytes of archive are an
/// error.
///
/// Members whose names no file system tree can have (not UTF-8, or with a `..`) are left out.
pub(crate) fn for_each_member<E: From<io::Error>>(
    layer: impl Read,
    limit: u64,
    mut visit: impl FnMut(&Member, &mut dyn Read) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    let mut archive = Archive { bytes: inflate(layer, limit)?, scratch: vec![0; SCRATCH] };
    while let Some((member, size)) = archive.next()? {
        let mut contents = Contents { bytes: &mut archive.bytes, remaining: size };
        if let Some(member) = member
            && visit(&member, &mut contents)?.is_break()
        {
            break;
        }
        let rest = contents.remaining;
        archive.skip(rest, "the archive ends within a file")?;
        archive.skip_padding(size)?;
    }
    Ok(())
}

struct Archive<'a> {
    bytes: Inflated<'a>,
    scratch: Vec<u8>,
}

impl Archive<'_> {
    /// The next member, unless its name is of no use, and the size of its contents. `None` at the end.
    fn next(&mut self) -> io::Result<Option<(Option<Member>, u64)>> {
        let mut extensions = Extensions::default();
        while let Some(header) = self.header()? {
            match header.entry_type().as_byte() {
                b'L' => extensions.long_name = Some(until_nul(self.extension(&header)?)),
                b'K' => extensions.long_link = Some(until_nul(self.extension(&header)?)),
                b'x' => extensions.pax = PaxRecords::parse(&self.extension(&header)?)?,
                // Records for all members to come, which nothing that unpacks layers heeds.
                b'g' => {
                    let size = header.entry_size()?;
                    self.skip(size, "the archive ends within a global header")?;
                    self.skip_padding(size)?;
                }
                _ => return self.member(&header, extensions).map(Some),
            }
        }
        Ok(None)
    }

    fn member(&mut self, header: &tar::Header, extensions: Extensions) -> io::Result<(Option<Member>, u64)> {
        let Extensions { long_name, long_link, pax } = extensions;
        let raw_name = long_name.or(pax.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = long_link
            .or(pax.link)
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .map(|link| String::from_utf8_lossy(&link).into_owned())
            .unwrap_or_default();
        // Links and the like have no contents, whatever they say.
        let stated = || pax.size.map_or_else(|| header.entry_size(), Ok);
        let (kind, size) = match header.entry_type().as_byte() {
            b'1' => (Kind::HardLink(link), 0),
            b'2' => (Kind::Symlink(link), 0),
            b'3' | b'4' | b'6' => (Kind::Other, 0),
            b'5' => (Kind::Directory, 0),
            // As it was before there were directories in archives.
            0 | b'0' if raw_name.ends_with(b"/") => (Kind::Directory, 0),
            b'S' => {
                self.skip_sparse_map(header)?;
                (Kind::SparseFile, stated()?)
            }
            0 | b'0' | b'7' if pax.is_sparse => (Kind::SparseFile, stated()?),
            0 | b'0' | b'7' => (Kind::File, stated()?),
            _ => (Kind::Other, stated()?),
        };
        let member = normalised(&raw_name).map(|name| Member { name, kind, size });
        Ok((member, size))
    }

    /// The next header. `None` at the end of the archive, which a block of zeros says, or the end of all bytes.
    fn header(&mut self) -> io::Result<Option<tar::Header>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.bytes.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ends("the archive ends within a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = tar::Header::from_byte_slice(&block).clone();
        if header.cksum().ok() == Some(checksum(&block)) {
            Ok(Some(header))
        } else {
            Err(invalid("it is not a tar archive, or a header in it is damaged"))
        }
    }

    /// The contents of a member that only says something of the next one.
    fn extension(&mut self, header: &tar::Header) -> io::Result<Vec<u8>> {
        let size = header.entry_size()?;
        if size > MAX_EXTENSION {
            let text =
                format!("an extended header claims to have {size} bytes; at most {MAX_EXTENSION} are read");
            return Err(invalid(&text));
        }
        let mut bytes = Vec::new();
        Contents { bytes: &mut self.bytes, remaining: size }.read_to_end(&mut bytes)?;
        self.skip_padding(size)?;
        Ok(bytes)
    }

    /// The list of pieces goes on in further blocks, each of which says whether there is another.
    fn skip_sparse_map(&mut self, header: &tar::Header) -> io::Result<()> {
        const GOES_ON_IN_HEADER: usize = 482;
        const GOES_ON_IN_BLOCK: usize = 504;
        let mut goes_on = header.as_bytes()[GOES_ON_IN_HEADER] != 0;
        while goes_on {
            let mut block = [0; BLOCK];
            Contents { bytes: &mut self.bytes, remaining: BLOCK as u64 }.read_exact(&mut block)?;
            goes_on = block[GOES_ON_IN_BLOCK] != 0;
        }
        Ok(())
    }

    fn skip_padding(&mut self, size: u64) -> io::Result<()> {
        let block = BLOCK as u64;
        self.skip((block - size % block) % block, "the archive ends within the padding of a file")
    }

    fn skip(&mut self, mut count: u64, what_if_it_ends: &str) -> io::Result<()> {
        while count > 0 {
            let wanted = usize::try_from(count).unwrap_or(SCRATCH).min(SCRATCH);
            match self.bytes.read(&mut self.scratch[..wanted]) {
                Ok(0) => return Err(ends(what_if_it_ends)),
                Ok(read) => count -= read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The contents of a member. They never end early without an error.
struct Contents<'a, R> {
    bytes: &'a mut R,
    remaining: u64,
}

impl<R: Read> Read for Contents<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.remaining).map_or(buffer.len(), |most| most.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let count = self.bytes.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(ends("the archive ends within a file"));
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

fn ends(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

/// The sum of a header's bytes, those of the sum itself taken for spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    const FIELD: std::ops::Range<usize> = 148..156;
    let sum = |bytes: &[u8]| bytes.iter().copied().map(u32::from).sum::<u32>();
    sum(&block[..FIELD.start]) + 8 * u32::from(b' ') + sum(&block[FIELD.end..])
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|&byte| byte == 0) {
        name.truncate(end);
    }
    name
}

/// The name as a path below the root; `None` if it is none.
fn normalised(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('\0'))?;
    let parts: Vec<_> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests;
