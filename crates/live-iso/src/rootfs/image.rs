//! The file system within `rootfs.img`: where it is, which one it is, and reads that stay within it.

use std::io;

use super::{RootfsError, RootfsFileSystem, erofs, squashfs};
use crate::cpio::{self, Header};
use crate::{Extent, ReadAt};

const ROOTFS: &str = "rootfs.img";
/// Enough to tell the file systems apart.
const START_LEN: u64 = 2048;

/// The file system in a `rootfs.img`: its first member. The initramfs mounts that at a fixed offset.
pub(super) struct Image<'a, R: ?Sized> {
    bytes: &'a R,
    extent: Extent,
}

impl<'a, R: ReadAt + ?Sized> Image<'a, R> {
    pub(super) fn open(bytes: &'a R, rootfs: Extent) -> Result<Self, RootfsError> {
        let malformed = |problem| RootfsError::malformed(ROOTFS, problem);
        let mut start =
            vec![0; cpio::HEADER_BYTES_MAX.min(usize::try_from(rootfs.len).unwrap_or(usize::MAX))];
        bytes
            .read_exact_at(&mut start, rootfs.offset)
            .map_err(|source| RootfsError::from_io(ROOTFS, source))?;
        let member = Header::read(&start).map_err(malformed)?;
        if !member.is_regular_file {
            return Err(malformed("its first member is no file"));
        }
        let extent = rootfs.part(member.content_start as u64, member.size.into());
        Ok(Self { bytes, extent: extent.ok_or_else(|| malformed("its first member is cut short"))? })
    }

    pub(super) fn file_system(&self) -> Result<RootfsFileSystem, RootfsError> {
        let start = self.read("the file system", 0, START_LEN.min(self.extent.len))?;
        if squashfs::begins(&start) {
            Ok(RootfsFileSystem::Squashfs)
        } else if erofs::begins(&start) {
            Ok(RootfsFileSystem::Erofs)
        } else {
            Err(RootfsError::Unsupported { what: "a file system other than squashfs and EROFS".to_owned() })
        }
    }

    /// The size of the file system in bytes.
    pub(super) fn len(&self) -> u64 {
        self.extent.len
    }

    /// Fills `buf` with what is at `offset`. Nothing beyond the end is read, though the ISO goes on there.
    pub(super) fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let extent = self.extent.part(offset, buf.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.bytes.read_exact_at(buf, extent.offset)
    }

    /// The `len` bytes at `offset`, which belong to `what`. It is for the caller to see that `len` is bounded.
    pub(super) fn read(&self, what: &str, offset: u64, len: u64) -> Result<Vec<u8>, RootfsError> {
        let cut_short = || RootfsError::malformed(what, "it ends beyond the end of the file system");
        let extent = self.extent.part(offset, len).ok_or_else(cut_short)?;
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| cut_short())?];
        self.bytes
            .read_exact_at(&mut bytes, extent.offset)
            .map_err(|source| RootfsError::from_io(what, source))?;
        Ok(bytes)
    }
}
