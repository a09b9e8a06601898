//! The root file system of a live ISO, read where it lies: no copy, no process, no walk over all of it.
//!
//! ```text
//! ISO ─ images/pxeboot/rootfs.img, a newc cpio ─ its first member, a squashfs or an EROFS
//!     ─ /ostree/deploy/<OS name>/deploy/<commit>.<serial>/usr/bin/nmstatectl
//! ```
//!
//! The squashfs reader is ours: the crates for it read every inode there is before they answer, or put no bound on what
//! a decompressor may allocate. EROFS, whose compressed forms are many, is read by `erofs-rs`.
//!
//! The bytes may come from anybody: sizes are checked before anything is allocated, directories and deployments are
//! bounded in size and number, and symbolic links are never followed.

mod deployment;
mod erofs;
mod error;
mod image;
mod info;
mod squashfs;

use crate::{Extent, Layout, ReadAt};

use erofs::Erofs;
use image::Image;
use squashfs::Squashfs;

pub use error::RootfsError;
pub use info::{RootfsCompression, RootfsFileSystem, RootfsInfo};

/// Which file system the root file system of an ISO is, and how it is compressed.
///
/// It can be told of one that [`nmstatectl`] cannot read.
pub fn rootfs_info<R: ReadAt + ?Sized>(iso: &R, layout: &Layout) -> Result<RootfsInfo, RootfsError> {
    let image = Image::open(iso, layout.rootfs())?;
    match image.file_system()? {
        RootfsFileSystem::Squashfs => squashfs::info(&image),
        RootfsFileSystem::Erofs => erofs::info(&image),
    }
}

/// The program `nmstatectl` of the OS on an ISO.
///
/// Of several deployments the first one that has it counts, in the order of OS names and then of commits. OS versions
/// without the program are told by [`RootfsError::is_missing`]. The program may have up to 64 MiB.
pub fn nmstatectl<R: ReadAt + Sync + ?Sized>(iso: &R, layout: &Layout) -> Result<Vec<u8>, RootfsError> {
    nmstatectl_in(iso, layout.rootfs())
}

/// The same for a `rootfs.img` anywhere.
pub(crate) fn nmstatectl_in<R: ReadAt + Sync + ?Sized>(
    bytes: &R,
    rootfs: Extent,
) -> Result<Vec<u8>, RootfsError> {
    let image = Image::open(bytes, rootfs)?;
    match image.file_system()? {
        RootfsFileSystem::Squashfs => deployment::nmstatectl(&Squashfs::open(&image)?),
        RootfsFileSystem::Erofs => deployment::nmstatectl(&Erofs::open(&image)?),
    }
}
