//! An Ignition config as the archive that the live system's initramfs unpacks: `config.ign` in a cpio in gzip.

use std::fmt;
use std::io::Write as _;

use bytes::Bytes;

use crate::PlanError;
use crate::cpio::Writer;
use crate::gzip;
use crate::initramfs::UNPACKED_BYTES_MAX;

/// Where Ignition looks for its config in the initramfs.
const CONFIG: &str = "config.ign";

/// An Ignition config as an archive that the kernel unpacks into its initramfs.
///
/// It is gzip (with no time and no name in its header) of a newc cpio of `config.ign`, padded with zeros to a multiple
/// of four bytes. The same config always gives the same bytes. Configs hold secrets, so [`fmt::Debug`] shows only the
/// size.
#[derive(Clone, PartialEq, Eq)]
pub struct IgnitionArchive(Bytes);

impl IgnitionArchive {
    /// Packs a config. Without one, when `config` is empty, the archive is empty.
    pub fn new(config: &[u8]) -> Result<Self, PlanError> {
        let too_large = || PlanError::IgnitionConfigTooLarge { len: config.len(), max: UNPACKED_BYTES_MAX };
        if config.len() > UNPACKED_BYTES_MAX {
            return Err(too_large());
        }
        let mut archive = Writer::default();
        if !config.is_empty() {
            archive.file(CONFIG, 0o644, config).map_err(|_| too_large())?;
        }
        Ok(Self(compress(&archive.finish())))
    }

    /// The archive's size.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Never: an archive without files still has an end.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The archive.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for IgnitionArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IgnitionArchive({} bytes)", self.0.len())
    }
}

fn compress(archive: &[u8]) -> Bytes {
    let mut gzip = gzip::encoder(Vec::new());
    let compressed = gzip.write_all(archive).and_then(|()| gzip.finish());
    let mut compressed = compressed.expect("writing to memory cannot fail");
    compressed.resize(compressed.len().next_multiple_of(4), 0);
    compressed.into()
}

#[cfg(test)]
mod tests {
    use super::IgnitionArchive;
    use crate::PlanError;
    use crate::initramfs::{UNPACKED_BYTES_MAX, unpack};

    #[test]
    fn the_archive_holds_the_config() {
        for config in [&b"{}"[..], b"x", &vec![0; 100_000]] {
            let archive = IgnitionArchive::new(config).unwrap();
            assert_eq!(archive.len() % 4, 0);
            let files = unpack(archive.as_bytes()).unwrap();
            assert_eq!(files.len(), 1);
            assert_eq!(files[0].name, "config.ign");
            assert_eq!(files[0].content, config);
        }
    }

    #[test]
    fn without_a_config_the_archive_is_empty() {
        let archive = IgnitionArchive::new(b"").unwrap();
        assert!(!archive.is_empty());
        assert_eq!(unpack(archive.as_bytes()).unwrap(), []);
    }

    #[test]
    fn nothing_but_the_config_makes_a_difference() {
        let archive = || IgnitionArchive::new(b"config").unwrap();
        assert_eq!(archive(), archive());
        let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        assert_eq!(archive().as_bytes()[..10], header);
    }

    #[test]
    fn a_config_larger_than_an_initramfs_is_refused() {
        let len = UNPACKED_BYTES_MAX + 1;
        let refused = IgnitionArchive::new(&vec![0; len]);
        assert_eq!(refused, Err(PlanError::IgnitionConfigTooLarge { len, max: UNPACKED_BYTES_MAX }));
    }

    #[test]
    fn debug_output_discloses_nothing() {
        let archive = IgnitionArchive::new(b"secret").unwrap();
        assert_eq!(format!("{archive:?}"), format!("IgnitionArchive({} bytes)", archive.len()));
    }
}
