//! ISO 9660 (levels 1 to 3) with Rock Ridge names: what the volume says of itself, and where its files are.
//!
//! References: ECMA-119, SUSP 1.12, RRIP 1.12, and what genisoimage and xorriso really write. The whole tree is read
//! once; afterwards nothing touches the ISO. Joliet, which repeats the same extents under other names, is not read.
//! Directories that Rock Ridge relocated for their depth appear where they were moved to.
//!
//! The bytes may come from anybody:
//! - lengths and locations are checked, in `u64`, before anything is read or allocated;
//! - the number of entries, of directories, of directory bytes and of path bytes is bounded, and so is the depth;
//! - a directory that is reached twice is an error, so the walk ends;
//! - a chain of Rock Ridge continuations is bounded, and counts as directory bytes.

mod date;
mod descriptor;
mod el_torito;
mod field;
mod head;
mod iso_name;
mod partition_tables;
mod record;
mod rock_ridge;
mod susp;
mod tree;

use std::time::SystemTime;

use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

use descriptor::Descriptors;
pub(crate) use head::{Edits, Head, NewFile, Rewritten};
use tree::Tree;

pub use el_torito::{BootCatalog, BootEntry, BootPlatform};
pub use partition_tables::PartitionTables;

/// The unit of all locations and of directories.
const BLOCK: u64 = 2048;

/// An ISO 9660 volume.
#[derive(Debug)]
pub struct Volume {
    descriptors: Descriptors,
    boot_catalog: Option<BootCatalog>,
    partition_tables: PartitionTables,
    tree: Tree,
}

impl Volume {
    /// Reads the volume descriptors and the whole directory tree.
    pub fn read<R: ReadAt + ?Sized>(iso: &R) -> Result<Self, Error> {
        Self::read_from(&Source::new(iso)?)
    }

    pub(crate) fn read_from<R: ReadAt + ?Sized>(source: &Source<'_, R>) -> Result<Self, Error> {
        let descriptors = Descriptors::read(source)?;
        let boot_catalog = descriptors.boot_catalog.map(|offset| BootCatalog::read(source, offset));
        Ok(Self {
            boot_catalog: boot_catalog.transpose()?,
            partition_tables: PartitionTables::read(source)?,
            tree: Tree::read(source, descriptors.root)?,
            descriptors,
        })
    }

    /// The name that boot loaders and the running system find the volume by, at most 32 bytes.
    pub fn volume_id(&self) -> &str {
        &self.descriptors.volume_id
    }

    /// The name of the set the volume belongs to; on a CoreOS ISO the uncut volume id.
    pub fn volume_set_id(&self) -> &str {
        &self.descriptors.volume_set_id
    }

    /// The size of the volume in bytes. Isohybrid padding and whatever else follows it is not counted.
    pub fn space_size(&self) -> u64 {
        self.descriptors.space_size
    }

    /// When the volume was made, if it says so.
    pub fn created(&self) -> Option<SystemTime> {
        self.descriptors.created
    }

    /// Whether there is an El Torito boot catalog.
    pub fn has_boot_catalog(&self) -> bool {
        self.boot_catalog.is_some()
    }

    /// The El Torito boot catalog, if there is one.
    pub fn boot_catalog(&self) -> Option<&BootCatalog> {
        self.boot_catalog.as_ref()
    }

    /// Which partition tables are in front of the volume.
    pub fn partition_tables(&self) -> PartitionTables {
        self.partition_tables
    }

    /// The file at `path`, which may begin with a slash.
    ///
    /// Where the volume has no Rock Ridge names, `path` matches the name that genisoimage and xorriso would cut it to:
    /// `coreos/kargs.json` finds `COREOS/KARGS.JSO;1`.
    pub fn find(&self, path: &str) -> Option<&File> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if self.tree.rock_ridge {
            let files = &self.tree.files;
            let first = files.partition_point(|file| file.path.as_str() < path);
            files.get(first).filter(|file| file.path == path)
        } else {
            self.tree.files.iter().find(|file| iso_name::matches(&file.path, path))
        }
    }

    /// All files, sorted by path. Symbolic links are among them, as empty files.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &File> {
        self.tree.files.iter()
    }
}

/// A file of the volume.
#[derive(Debug)]
pub struct File {
    path: String,
    len: u64,
    /// None when the file is scattered.
    extent: Option<Extent>,
}

impl File {
    /// The path from the root of the volume, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Where the file is, not yet proven to lie within the ISO. Extents that follow one another are one.
    pub fn extent(&self) -> Result<Extent, Error> {
        self.extent.ok_or_else(|| Error::Scattered { path: self.path.clone() })
    }
}
