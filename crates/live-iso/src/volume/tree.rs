//! The walk over the directory tree.

use std::collections::HashSet;

use super::record::{Record, Records};
use super::{File, iso_name, rock_ridge, susp};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt};

/// A live ISO has some 30 entries; appliance ISOs carry a registry of some ten thousands.
const ENTRIES_MAX: u64 = 500_000;
const DIRECTORIES_MAX: u64 = 200_000;
const DEPTH_MAX: u64 = 64;
const DIRECTORY_BYTES_MAX: u64 = 128 << 20;
const PATH_BYTES_MAX: u64 = 128 << 20;

const LAST_EXTENT_MISSING: &str = "a file in it lacks its last extent";

#[derive(Debug)]
pub(super) struct Tree {
    /// Sorted by path.
    pub(super) files: Vec<File>,
    /// Whether the paths are Rock Ridge names.
    pub(super) rock_ridge: bool,
}

impl Tree {
    pub(super) fn read<R: ReadAt + ?Sized>(source: &Source<'_, R>, root: Extent) -> Result<Self, Error> {
        let mut walk = Walk::new(source, root);
        while let Some(directory) = walk.pending.pop() {
            walk.enter(&directory)?;
        }
        walk.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self { files: walk.files, rock_ridge: walk.rock_ridge })
    }
}

/// What a volume may make us spend.
pub(super) struct Budget {
    entries: u64,
    directories: u64,
    directory_bytes: u64,
    path_bytes: u64,
}

impl Budget {
    fn new() -> Self {
        Self {
            entries: ENTRIES_MAX,
            directories: DIRECTORIES_MAX,
            directory_bytes: DIRECTORY_BYTES_MAX,
            path_bytes: PATH_BYTES_MAX,
        }
    }

    pub(super) fn spend_directory_bytes(&mut self, len: u64) -> Result<(), Error> {
        spend(&mut self.directory_bytes, len, "bytes of directories", DIRECTORY_BYTES_MAX)
    }

    fn spend_directory(&mut self) -> Result<(), Error> {
        spend(&mut self.directories, 1, "directories", DIRECTORIES_MAX)
    }

    fn spend_entry(&mut self, path: &str) -> Result<(), Error> {
        spend(&mut self.entries, 1, "files and directories", ENTRIES_MAX)?;
        spend(&mut self.path_bytes, path.len() as u64, "bytes of paths", PATH_BYTES_MAX)
    }
}

fn spend(left: &mut u64, cost: u64, what: &'static str, max: u64) -> Result<(), Error> {
    *left = left.checked_sub(cost).ok_or(Error::TooMany { what, max })?;
    Ok(())
}

/// A directory still to be read.
struct Directory {
    path: String,
    extent: Extent,
    depth: u64,
}

impl Directory {
    fn what(&self) -> String {
        format!("directory {:?}", format!("/{}", self.path))
    }

    fn malformed(&self, problem: &'static str) -> Error {
        Error::Malformed { what: self.what(), problem }
    }

    fn child(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }
}

struct Walk<'a, R: ?Sized> {
    source: &'a Source<'a, R>,
    budget: Budget,
    pending: Vec<Directory>,
    entered: HashSet<u64>,
    files: Vec<File>,
    rock_ridge: bool,
    /// What the root directory says of every system use area.
    system_use_skipped: usize,
}

impl<'a, R: ReadAt + ?Sized> Walk<'a, R> {
    fn new(source: &'a Source<'a, R>, root: Extent) -> Self {
        Self {
            source,
            budget: Budget::new(),
            pending: vec![Directory { path: String::new(), extent: root, depth: 0 }],
            entered: HashSet::new(),
            files: Vec::new(),
            rock_ridge: false,
            system_use_skipped: 0,
        }
    }

    fn enter(&mut self, directory: &Directory) -> Result<(), Error> {
        if !self.entered.insert(directory.extent.offset) {
            return Err(Error::DirectoryLoop { path: directory.path.clone() });
        }
        if directory.depth > DEPTH_MAX {
            return Err(Error::TooMany { what: "levels of directories", max: DEPTH_MAX });
        }
        self.budget.spend_directory()?;
        self.budget.spend_directory_bytes(directory.extent.len)?;
        let bytes = self.source.read(directory.what(), directory.extent, DIRECTORY_BYTES_MAX)?;

        let mut unfinished: Option<Unfinished> = None;
        for record in Records::new(&bytes) {
            let record = record.ok_or_else(|| directory.malformed("it has a broken record"))?;
            if record.is_current() && directory.depth == 0 {
                self.system_use_skipped = susp::bytes_skipped(record.system_use);
            }
            if record.is_current() || record.is_parent() {
                continue;
            }
            let file = if let Some(file) = unfinished.take() {
                file.continued(&record).ok_or_else(|| directory.malformed(LAST_EXTENT_MISSING))?
            } else {
                let path = directory.child(&self.name(directory, &record)?);
                self.budget.spend_entry(&path)?;
                if record.is_directory() {
                    self.pending.push(Directory {
                        path,
                        extent: record.extent(),
                        depth: directory.depth + 1,
                    });
                    continue;
                }
                Unfinished::new(path, &record)
            };
            if record.has_more_extents() {
                unfinished = Some(file);
            } else {
                self.files.push(file.file);
            }
        }
        if unfinished.is_some() { Err(directory.malformed(LAST_EXTENT_MISSING)) } else { Ok(()) }
    }

    fn name(&mut self, directory: &Directory, record: &Record<'_>) -> Result<String, Error> {
        let system_use = record.system_use.get(self.system_use_skipped..).unwrap_or_default();
        let rock_ridge = rock_ridge::name(self.source, system_use, &mut self.budget)?;
        self.rock_ridge |= rock_ridge.is_some();
        let name = rock_ridge.unwrap_or_else(|| iso_name::without_version(record.identifier));
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
            return Err(directory.malformed("it has an entry with an impossible name"));
        }
        Ok(name)
    }
}

/// A file some of whose extents may still follow. Each has its own record.
struct Unfinished<'a> {
    identifier: &'a [u8],
    file: File,
}

impl<'a> Unfinished<'a> {
    fn new(path: String, record: &Record<'a>) -> Self {
        let extent = (!record.is_interleaved()).then(|| record.extent());
        Self { identifier: record.identifier, file: File { path, len: record.extent().len, extent } }
    }

    /// The file with one more extent, if `record` is about the same file.
    fn continued(mut self, record: &Record<'_>) -> Option<Self> {
        if self.identifier != record.identifier {
            return None;
        }
        let next = record.extent();
        let adjoins = |so_far: &Extent| !record.is_interleaved() && so_far.end() == Some(next.offset);
        self.file.len = self.file.len.saturating_add(next.len);
        self.file.extent = self
            .file
            .extent
            .filter(adjoins)
            .map(|so_far| Extent { offset: so_far.offset, len: self.file.len });
        Some(self)
    }
}
