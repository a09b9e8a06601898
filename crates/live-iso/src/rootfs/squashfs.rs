//! squashfs 4.0, as much of it as it takes to read a file.
//!
//! ```text
//! superblock | data blocks | inodes | directories | fragment table | ...
//! ```
//!
//! Everything but data is in metadata blocks of up to 8 KiB, each compressed for itself. Reference: the documentation
//! of the format by AgentD (dr-emann/squashfs), `fs/squashfs` of Linux, and what mksquashfs writes.

mod data;
mod decompress;
mod directory;
mod field;
mod inode;
mod metadata;
mod superblock;

use super::deployment::{Kind, Named, Tree, too_many_directories};
use super::image::Image;
use super::{RootfsError, RootfsFileSystem, RootfsInfo};
use crate::ReadAt;

use directory::{Entry, entries};
use inode::Inode;
use metadata::Reference;
use superblock::Superblock;

pub(super) use superblock::begins;

/// A squashfs that files can be read from.
pub(super) struct Squashfs<'a, R: ?Sized> {
    image: &'a Image<'a, R>,
    superblock: Superblock,
}

impl<'a, R: ReadAt + ?Sized> Squashfs<'a, R> {
    pub(super) fn open(image: &'a Image<'a, R>) -> Result<Self, RootfsError> {
        Ok(Self { image, superblock: Superblock::read(image)? })
    }

    /// Calls `visit` for the entries of a directory until it returns something.
    fn visit<T>(
        &self,
        node: &Node,
        visit: impl FnMut(Entry<'_>) -> Option<Result<T, RootfsError>>,
    ) -> Result<Option<T>, RootfsError> {
        match Inode::read(self, node.reference)? {
            Inode::Directory(directory) => entries(self, &directory, visit),
            Inode::File(_) | Inode::Other => {
                Err(RootfsError::malformed("an inode", "it is no directory, but the entry for it says so"))
            }
        }
    }
}

/// An entry of a directory, or the root.
#[derive(Clone, Copy)]
pub(super) struct Node {
    reference: Reference,
    kind: Kind,
}

impl<R: ReadAt + ?Sized> Tree for Squashfs<'_, R> {
    type Node = Node;

    fn root(&self) -> Result<Node, RootfsError> {
        Ok(Node { reference: self.superblock.root, kind: Kind::Directory })
    }

    fn find(&self, directory: &Node, name: &str) -> Result<Option<Node>, RootfsError> {
        self.visit(directory, |entry| (entry.name == name.as_bytes()).then_some(Ok(entry.node)))
    }

    fn directories(&self, directory: &Node, max: usize) -> Result<Vec<Named<Node>>, RootfsError> {
        let mut directories = Vec::new();
        let end: Option<()> = self.visit(directory, |entry| {
            if entry.node.kind != Kind::Directory {
                return None;
            }
            if directories.len() == max {
                return Some(Err(too_many_directories(max)));
            }
            directories.push((entry.name.to_vec(), entry.node));
            None
        })?;
        debug_assert!(end.is_none(), "only errors end the visit");
        Ok(directories)
    }

    fn kind(&self, node: &Node) -> Kind {
        node.kind
    }

    fn read(&self, file: &Node, max: u64) -> Result<Vec<u8>, RootfsError> {
        match Inode::read(self, file.reference)? {
            Inode::File(file) => data::read(self, *file, max),
            Inode::Directory(_) | Inode::Other => {
                Err(RootfsError::malformed("an inode", "it is no file, but the entry for it says so"))
            }
        }
    }
}

/// What the superblock says, also that of a squashfs which cannot be read here.
pub(super) fn info<R: ReadAt + ?Sized>(image: &Image<'_, R>) -> Result<RootfsInfo, RootfsError> {
    let compressions = vec![superblock::compression(image)?];
    Ok(RootfsInfo { file_system: RootfsFileSystem::Squashfs, compressions })
}
