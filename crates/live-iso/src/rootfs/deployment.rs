//! Where the files of the OS are in a root file system: in an OSTree deployment, whose name is not known beforehand.
//!
//! `ostree/deploy/<OS name>/deploy/<commit>.<serial>` is a directory; a file `<commit>.<serial>.origin` is beside it.

use super::RootfsError;

const DEPLOY: [&str; 2] = ["ostree", "deploy"];
const DEPLOYMENTS: [&str; 1] = ["deploy"];
const USR_BIN: [&str; 2] = ["usr", "bin"];
const NMSTATECTL: &str = "nmstatectl";

/// Real ones have some 15 MB.
const NMSTATECTL_BYTES_MAX: u64 = 64 << 20;
/// A live ISO has one OS, and one deployment of it.
const DEPLOYMENTS_MAX: usize = 16;
/// The largest directory on the way, `usr/bin`, has some 50 KB.
pub(super) const DIRECTORY_BYTES_MAX: u64 = 4 << 20;

/// What is asked of a file system. Symbolic links are entries like others.
pub(super) trait Tree {
    /// A file or directory.
    type Node;

    fn root(&self) -> Result<Self::Node, RootfsError>;

    /// The entry of a directory that is called `name`.
    fn find(&self, directory: &Self::Node, name: &str) -> Result<Option<Self::Node>, RootfsError>;

    /// Up to `max` directories in a directory, or an error if there are more, with their names.
    fn directories(&self, directory: &Self::Node, max: usize) -> Result<Vec<Named<Self::Node>>, RootfsError>;

    fn kind(&self, node: &Self::Node) -> Kind;

    /// The content of a file, which may have `max` bytes.
    fn read(&self, file: &Self::Node, max: u64) -> Result<Vec<u8>, RootfsError>;
}

pub(super) type Named<Node> = (Vec<u8>, Node);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Other,
}

/// The content of `usr/bin/nmstatectl` in the first deployment that has it, by OS name and then by commit.
pub(super) fn nmstatectl<T: Tree>(tree: &T) -> Result<Vec<u8>, RootfsError> {
    let missing = |directory: &[&str]| RootfsError::Missing { path: directory.join("/") };
    let Some(systems) = descend(tree, tree.root()?, &DEPLOY)? else { return Err(missing(&DEPLOY)) };
    let mut left = DEPLOYMENTS_MAX;
    for system in sorted_directories(tree, &systems, DEPLOYMENTS_MAX)? {
        let Some(deployments) = descend(tree, system, &DEPLOYMENTS)? else { continue };
        let deployments = sorted_directories(tree, &deployments, left)?;
        left -= deployments.len();
        for deployment in deployments {
            let Some(programs) = descend(tree, deployment, &USR_BIN)? else { continue };
            let Some(program) = tree.find(&programs, NMSTATECTL)? else { continue };
            if tree.kind(&program) != Kind::File {
                let path = [&USR_BIN[..], &[NMSTATECTL]].concat().join("/");
                return Err(RootfsError::WrongKind { path, expected: "regular file" });
            }
            return tree.read(&program, NMSTATECTL_BYTES_MAX);
        }
    }
    Err(missing(&[&USR_BIN[..], &[NMSTATECTL]].concat()))
}

/// The directory at `path` below `directory`, unless it or one above it does not exist.
fn descend<T: Tree>(tree: &T, mut directory: T::Node, path: &[&str]) -> Result<Option<T::Node>, RootfsError> {
    for (index, name) in path.iter().enumerate() {
        let Some(next) = tree.find(&directory, name)? else { return Ok(None) };
        if tree.kind(&next) != Kind::Directory {
            let path = path.iter().take(index + 1).copied().collect::<Vec<_>>().join("/");
            return Err(RootfsError::WrongKind { path, expected: "directory" });
        }
        directory = next;
    }
    Ok(Some(directory))
}

fn sorted_directories<T: Tree>(
    tree: &T,
    directory: &T::Node,
    max: usize,
) -> Result<Vec<T::Node>, RootfsError> {
    let mut directories = tree.directories(directory, max)?;
    directories.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(directories.into_iter().map(|(_, node)| node).collect())
}

pub(super) fn too_many_directories(max: usize) -> RootfsError {
    RootfsError::TooMany { what: "systems and deployments", max }
}
