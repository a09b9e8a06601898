//! The CoreOS live ISO format: where things are in it, and how a customised image is planned.
//!
//! An ISO is read once, through positioned reads, into a [`Layout`]. From then on every artifact of it is a [`Plan`]: a
//! sequence of segments that are either bytes of the ISO or bytes made here, of which any range can be had. Nothing in
//! this crate waits, logs, or knows of networks and clocks; and nothing trusts the bytes it reads.
//!
//! ```
//! use live_iso::{Artifact, Customization, Error, IgnitionArchive, Layout, Plan, ReadAt};
//!
//! fn discovery_iso<R: ReadAt>(iso: &R) -> Result<Plan, Box<dyn std::error::Error>> {
//!     let layout = Layout::read(iso)?;
//!     let ignition = IgnitionArchive::new(br#"{"ignition":{"version":"3.4.0"}}"#)?;
//!     let customization = Customization { ignition: Some(ignition), ..Customization::default() };
//!     Ok(layout.plan(Artifact::FullIso, &customization)?)
//! }
//!
//! let refused = discovery_iso(&b"no ISO".to_vec()).unwrap_err();
//! assert!(matches!(refused.downcast_ref(), Some(Error::NotIso9660)));
//! ```

mod cpio;
mod customization;
mod embed_headers;
mod embedded;
mod error;
mod extent;
mod gzip;
mod ignition;
mod initramfs;
mod initrd;
mod kargs;
mod layout;
mod minimal;
mod nmstate;
mod plan;
mod ramdisk;
mod read_at;
mod rootfs;
mod volume;

pub use customization::{Artifact, Customization};
pub use embedded::{Embedded, EmbeddedKernelArguments, embedded};
pub use error::{Error, PlanError};
pub use extent::Extent;
pub use ignition::IgnitionArchive;
pub use initramfs::{EmbeddedFile, unpack};
pub use kargs::KernelArguments;
pub use layout::{
    Distribution, Features, Generation, IgnitionArea, IgnitionAreaSource, KernelArgumentArea,
    KernelArgumentAreaSource, KernelArgumentAreas, Layout,
};
pub use minimal::{MinimalIso, RootfsUrl};
pub use nmstate::{NMSTATE_ARCHIVE_VERSION, nmstate_archive};
pub use plan::{Plan, Segment};
pub use ramdisk::Ramdisk;
pub use read_at::ReadAt;
pub use rootfs::{RootfsCompression, RootfsError, RootfsFileSystem, RootfsInfo, nmstatectl, rootfs_info};
pub use volume::{BootCatalog, BootEntry, BootPlatform, File, PartitionTables, Volume};

/// The parsers of foreign bytes that nothing public reaches directly, for fuzzing. Not part of the crate's promise.
#[doc(hidden)]
pub mod fuzzing {
    use crate::Extent;

    /// Looks for `nmstatectl` in a `rootfs.img`.
    pub fn rootfs(rootfs: &[u8]) -> Option<Vec<u8>> {
        crate::rootfs::nmstatectl_in(rootfs, Extent { offset: 0, len: rootfs.len() as u64 }).ok()
    }

    /// Looks for `nmstatectl` in a file system, as it would be in a `rootfs.img`.
    pub fn file_system(image: &[u8]) -> Option<Vec<u8>> {
        let mut rootfs = crate::cpio::Writer::default();
        rootfs.file("root.squashfs", 0o644, image).ok()?;
        self::rootfs(&rootfs.finish())
    }
}
