//! What can be told of a root file system from its superblock alone.

use std::fmt;

/// What the superblock of a root file system says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsInfo {
    pub(super) file_system: RootfsFileSystem,
    pub(super) compressions: Vec<RootfsCompression>,
}

impl RootfsInfo {
    /// Which file system it is.
    pub fn file_system(&self) -> RootfsFileSystem {
        self.file_system
    }

    /// How its files may be compressed. EROFS can use several at once; none is one whose files are plain.
    pub fn compressions(&self) -> &[RootfsCompression] {
        &self.compressions
    }
}

/// As in `erofs (lzma, deflate)`.
impl fmt::Display for RootfsInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file_system)?;
        for (index, compression) in self.compressions.iter().enumerate() {
            write!(f, "{}{compression}", if index == 0 { " (" } else { ", " })?;
        }
        if self.compressions.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

/// The file systems that a live ISO may have its root in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootfsFileSystem {
    /// Of all versions until 2025, and of most today.
    Squashfs,
    /// Of Fedora CoreOS since 42.
    Erofs,
}

impl fmt::Display for RootfsFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        })
    }
}

/// The compressions that squashfs and EROFS know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootfsCompression {
    /// In squashfs, where it really is zlib.
    Gzip,
    /// In EROFS, as `MicroLZMA`. The form that squashfs has is not read here.
    Lzma,
    /// In squashfs. Not read here.
    Lzo,
    /// In squashfs.
    Xz,
    /// In both.
    Lz4,
    /// In both.
    Zstd,
    /// In EROFS.
    Deflate,
}

impl fmt::Display for RootfsCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Lzo => "lzo",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{RootfsCompression, RootfsFileSystem, RootfsInfo};

    #[test]
    fn an_info_reads_like_a_label() {
        let label = |file_system, compressions: &[RootfsCompression]| {
            RootfsInfo { file_system, compressions: compressions.to_vec() }.to_string()
        };
        assert_eq!(label(RootfsFileSystem::Squashfs, &[RootfsCompression::Zstd]), "squashfs (zstd)");
        assert_eq!(label(RootfsFileSystem::Erofs, &[]), "erofs");
        let both = [RootfsCompression::Lz4, RootfsCompression::Lzma];
        assert_eq!(label(RootfsFileSystem::Erofs, &both), "erofs (lz4, lzma)");
    }
}
