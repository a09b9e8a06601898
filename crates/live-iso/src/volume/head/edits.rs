//! What a new head shall have other than the old one.

use bytes::Bytes;

use super::super::{iso_name, susp};
use super::directory::{Directory, Entry, Names};
use super::{both_endian, malformed, put};
use crate::{Error, Extent, Segment};

const MORE_EXTENTS: u8 = 0x80;
const FLAGS: usize = 25;
const RECORD_MAX: usize = 254;
/// How a POSIX entry has the number of links, and since Rock Ridge 1.12 a number that tells files apart.
const LINKS: usize = 12;
const SERIAL_NUMBER: usize = 36;

/// How to make another image of a volume. Files are named by where they are, so a change shows under all their names.
#[derive(Default)]
pub(crate) struct Edits {
    /// Files that go. There must be one.
    pub(crate) removed: Vec<Extent>,
    /// Files that come to the place of the first one removed, into the directory named `directory`.
    pub(crate) added: Vec<NewFile>,
    /// A directory in the root.
    pub(crate) directory: &'static str,
    /// The file in that directory whose dates and ownership new files get.
    pub(crate) sibling: Option<Extent>,
    /// Files that get other content.
    pub(crate) replaced: Vec<(Extent, Bytes)>,
    /// Bytes of files that stay, written over. They begin at these offsets of the ISO.
    pub(crate) patched: Vec<(u64, Bytes)>,
}

/// A file that was not there before.
pub(crate) struct NewFile {
    pub(crate) name: &'static str,
    pub(crate) content: Segment,
}

/// An entry of a new directory.
#[derive(Clone)]
pub(super) struct NewEntry {
    pub(super) entry: Entry,
    /// Which of the added files it is.
    pub(super) added: Option<usize>,
}

/// A directory as it will be, but that its entries still lead to where they led.
pub(super) struct NewDirectory {
    pub(super) entries: Vec<NewEntry>,
    /// Whether any entry went or came.
    pub(super) is_changed: bool,
}

impl Edits {
    /// What becomes of a directory.
    pub(super) fn new_directory(
        &self,
        directory: &Directory,
        all: &[Directory],
    ) -> Result<NewDirectory, Error> {
        let mut entries = Vec::with_capacity(directory.entries.len() + self.added.len());
        for entry in &directory.entries {
            if !self.removes(entry)? {
                entries.push(NewEntry { entry: entry.clone(), added: None });
            }
        }
        let mut is_changed = entries.len() < directory.entries.len();
        if directory.is_in_root(self.directory, all) {
            is_changed |= !self.added.is_empty();
            for (number, file) in self.added.iter().enumerate() {
                let entry = self.new_entry(directory.names, file.name, number, &entries)?;
                let follows = |other: &NewEntry| other.entry.identifier() > entry.identifier();
                let itself_and_parent = 2;
                let at = entries.iter().skip(itself_and_parent).position(follows);
                let at = at.map_or(entries.len(), |at| at + itself_and_parent);
                entries.insert(at, NewEntry { entry, added: Some(number) });
            }
        }
        Ok(NewDirectory { entries, is_changed })
    }

    fn removes(&self, entry: &Entry) -> Result<bool, Error> {
        if entry.is_directory || entry.extent.len == 0 {
            return Ok(false);
        }
        let Some(removed) = self.removed.iter().find(|removed| removed.overlaps(entry.extent)) else {
            return Ok(false);
        };
        if removed.offset <= entry.extent.offset && entry.extent.end() <= removed.end() {
            Ok(true)
        } else {
            Err(malformed(entry.name(), "it shares blocks with a file that has to go"))
        }
    }

    fn new_entry(
        &self,
        names: Names,
        name: &str,
        number: usize,
        entries: &[NewEntry],
    ) -> Result<Entry, Error> {
        let malformed = |problem| malformed(format!("directory {:?}", self.directory), problem);
        let is_file = |entry: &&NewEntry| !entry.entry.is_directory && entry.added.is_none();
        let sibling = entries
            .iter()
            .filter(is_file)
            .find(|entry| Some(entry.entry.extent) == self.sibling)
            .or_else(|| entries.iter().find(is_file))
            .ok_or_else(|| malformed("it has no file"))?;
        let sibling = &sibling.entry;
        let version: Vec<u8> =
            if sibling.identifier().ends_with(&names.encode(";1")) { names.encode(";1") } else { Vec::new() };
        let is_taken = |identifier: &[u8]| {
            entries.iter().any(|entry| entry.entry.identifier().eq_ignore_ascii_case(identifier))
        };
        let with_version = |name: &str| [names.encode(name), version.clone()].concat();
        let identifier = match names {
            Names::Level1 => iso_name::candidates(name)
                .map(|candidate| with_version(&candidate))
                .find(|identifier| !is_taken(identifier)),
            Names::Joliet | Names::Plain => Some(with_version(name)).filter(|name| !is_taken(name)),
        };
        let identifier = identifier.ok_or_else(|| malformed("it has a file of a new file's name"))?;

        let mut bytes = sibling.bytes.get(..33).unwrap_or_default().to_vec();
        put(&mut bytes, 32, &[u8::try_from(identifier.len()).unwrap_or(u8::MAX)])?;
        if let Some(flags) = bytes.get_mut(FLAGS) {
            *flags &= !MORE_EXTENTS;
        }
        bytes.extend(&identifier);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes.extend(system_use(sibling, name, number));
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        if bytes.len() > RECORD_MAX {
            return Err(malformed("a new file's record is too long"));
        }
        let len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        put(&mut bytes, 0, &[len, 0])?;
        let nowhere = Extent { offset: 0, len: 0 };
        Ok(Entry { bytes, is_directory: false, block: 0, blocks: 0, extent: nowhere, locations: Vec::new() })
    }
}

/// Rock Ridge entries like those of `sibling`, but for a file of this name. None if it has none.
fn system_use(sibling: &Entry, name: &str, number: usize) -> Vec<u8> {
    let mut system_use = Vec::new();
    let mut named = false;
    for (_, entry) in susp::Entries::new(sibling.system_use()) {
        match entry {
            [b'N', b'M', ..] if !named => {
                system_use.extend(posix_name(name));
                named = true;
            }
            [b'P', b'X', ..] => {
                let mut entry = entry.to_vec();
                // These can only fail on an entry that has no such field.
                let _ = put(&mut entry, LINKS, &both_endian(1));
                // Far from the numbers that xorriso counts up from 1.
                let serial_number = u32::MAX - u32::try_from(number).unwrap_or(0);
                let _ = put(&mut entry, SERIAL_NUMBER, &both_endian(serial_number));
                system_use.extend(entry);
            }
            [b'R', b'R', ..] | [b'T', b'F', ..] => system_use.extend(entry),
            _ => {}
        }
    }
    if !named && !system_use.is_empty() {
        system_use.extend(posix_name(name));
    }
    system_use
}

fn posix_name(name: &str) -> Vec<u8> {
    let mut entry = vec![b'N', b'M', u8::try_from(5 + name.len()).unwrap_or(u8::MAX), 1, 0];
    entry.extend(name.as_bytes());
    entry
}
