//! The network configuration of hosts, an archive made elsewhere and not looked into.

use std::fmt;

use bytes::Bytes;

/// An archive that the kernel unpacks into its initramfs beside the Ignition config: the static network configuration
/// of the hosts, made elsewhere.
///
/// Network configurations may hold secrets, so [`fmt::Debug`] shows only the size.
#[derive(Clone, PartialEq, Eq)]
pub struct Ramdisk(Bytes);

impl Ramdisk {
    /// Takes the archive as it is, in any format that the kernel understands.
    pub fn new(archive: Bytes) -> Self {
        Self(archive)
    }

    /// The archive's size in bytes.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The archive.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Ramdisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ramdisk({} bytes)", self.0.len())
    }
}
