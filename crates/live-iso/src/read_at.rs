//! Positioned reads: the only thing this crate asks of an ISO, wherever it is kept.

use std::fmt;
use std::fs::File;
use std::io;

use bytes::Bytes;

use crate::{Error, Extent};

/// Something that is read by position, so that many readers can share it.
pub trait ReadAt {
    /// Fills `buf` with the bytes at `offset`, or fails with [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(start..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }
}

impl ReadAt for Bytes {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_ref().read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.as_ref().size()
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

/// An ISO and its size. No buffer is made for bytes that lie beyond its end or are more than the reader named.
pub(crate) struct Source<'a, R: ?Sized> {
    iso: &'a R,
    size: u64,
}

impl<'a, R: ReadAt + ?Sized> Source<'a, R> {
    pub(crate) fn new(iso: &'a R) -> Result<Self, Error> {
        let size =
            iso.size().map_err(|source| Error::Read { what: "the size of the ISO".to_owned(), source })?;
        Ok(Self { iso, size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Fails unless all of `extent`, which is called `what`, is there.
    pub(crate) fn require(&self, what: impl fmt::Display, extent: Extent) -> Result<(), Error> {
        match extent.end() {
            Some(end) if end <= self.size => Ok(()),
            end => Err(Error::Truncated {
                what: what.to_string(),
                end: end.unwrap_or(u64::MAX),
                size: self.size,
            }),
        }
    }

    /// Reads `extent`, which is called `what` and may have `max` bytes.
    pub(crate) fn read(&self, what: impl fmt::Display, extent: Extent, max: u64) -> Result<Vec<u8>, Error> {
        self.require(&what, extent)?;
        let too_large = || Error::TooLarge { what: what.to_string(), len: extent.len, max };
        if extent.len > max {
            return Err(too_large());
        }
        let mut bytes = vec![0; usize::try_from(extent.len).map_err(|_| too_large())?];
        self.iso
            .read_exact_at(&mut bytes, extent.offset)
            .map_err(|source| Error::Read { what: what.to_string(), source })?;
        Ok(bytes)
    }
}
