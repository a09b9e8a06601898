//! What may be believed of a download that an earlier attempt or process left unfinished.
//!
//! ```text
//! staging/<name>.part         the bytes, locked while a process has them
//! staging/<name>.part.json    the journal: the validator they came with, and how many of them are on stable storage
//! ```
//!
//! A byte is believed only if the journal covers it, and the journal never runs ahead of the bytes:
//!
//! - It names a new validator, with no byte covered, before the first byte under that validator is written. So no crash
//!   can join the bytes of two versions.
//! - It covers bytes only after they were synced. What lies behind them is cut off on reopening: after a power loss that
//!   may be zeros, which nothing would notice in an image of which no digest is known.
//! - Without a journal, with a damaged one, or with one that covers more than there is, nothing is believed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::index;
use crate::staging_file::{self, StagingFile};
use crate::store::{self, Inner};

/// So many bytes at most are lost with a crash. Each time they are synced, the download pauses.
const SYNC_STEP: u64 = 64 << 20;

/// Longer than any entity tag in use.
const VALIDATOR_BYTES_MAX: usize = 1024;

const BYTES: &str = "part";
const JOURNAL: &str = "part.json";

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    validator: String,
    synced: u64,
}

/// The journal of a download and what it says.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
    validator: Option<String>,
    synced: u64,
}

impl Part {
    /// Opens or begins the download of this name, cut to the bytes that can be believed. `None` while another process,
    /// or another part of this one, is at it.
    pub(crate) fn open(store: &Inner, name: &str) -> Result<Option<(StagingFile, Self)>, Error> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        let valid = name.len() <= 128
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(known);
        if !valid {
            return Err(Error::InvalidName { name: name.chars().take(128).collect() });
        }
        let directory = store.staging_dir();
        let Some(mut file) = StagingFile::open(&directory.join(format!("{name}.{BYTES}")))? else {
            return Ok(None);
        };
        let path = directory.join(format!("{name}.{JOURNAL}"));
        let there = file.file().metadata().map_err(Error::io("read", file.path()))?.len();
        let journal = index::read::<Journal>(&path)?.filter(|journal| (1..=there).contains(&journal.synced));
        let part = match journal {
            Some(Journal { validator, synced }) => Self { path, validator: Some(validator), synced },
            None => Self { path, validator: None, synced: 0 },
        };
        file.truncate(part.synced)?;
        Ok(Some((file, part)))
    }

    /// The validator that the bytes came with, if they can be continued at all.
    pub(crate) fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    /// How many bytes are on stable storage.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// Forgets every byte, durably; only then may bytes with another validator be written.
    pub(crate) fn restart(&mut self, store: &Inner, validator: Option<&str>) -> Result<(), Error> {
        let usable = |validator: &&str| (1..=VALIDATOR_BYTES_MAX).contains(&validator.len());
        self.synced = 0;
        self.validator = validator.filter(usable).map(str::to_owned);
        match &self.validator {
            Some(validator) => self.write(store, validator),
            None => self.forget(store),
        }
    }

    /// Whether enough was written for the journal to say so.
    pub(crate) fn is_due(&self, written: u64) -> bool {
        self.validator.is_some() && written.saturating_sub(self.synced) >= SYNC_STEP
    }

    /// Notes that every byte so far is there, after it was made sure of.
    pub(crate) fn cover(&mut self, store: &Inner, file: &StagingFile, written: u64) -> Result<(), Error> {
        let Some(validator) = self.validator.clone() else { return Ok(()) };
        file.file().sync_data().map_err(Error::io("sync", file.path()))?;
        self.synced = written;
        self.write(store, &validator)
    }

    /// Removes the journal.
    pub(crate) fn forget(&mut self, store: &Inner) -> Result<(), Error> {
        self.validator = None;
        staging_file::remove(&self.path)?;
        staging_file::sync_directory(&store.staging_dir())
    }

    fn write(&self, store: &Inner, validator: &str) -> Result<(), Error> {
        let journal = Journal { validator: validator.to_owned(), synced: self.synced };
        index::write(store, &self.path, &journal)
    }
}

/// Removes what crashes left in the staging directory and nobody can go on with. What a living process holds stays.
pub(crate) fn remove_abandoned(store: &Inner) -> Result<(), Error> {
    for path in store.list(&store.staging_dir())? {
        if let Some(bytes) = bytes_of_journal(&path) {
            if !bytes.exists() {
                staging_file::remove(&path)?;
            }
        } else if store::is_numbered(&path) || (is_part(&path) && !path.with_extension(JOURNAL).exists()) {
            staging_file::remove_if_abandoned(&path)?;
        }
    }
    Ok(())
}

/// Removes the downloads that are none of `wanted` and that no living process is at.
pub(crate) fn remove_unwanted(store: &Inner, wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
    for path in store.list(&store.staging_dir())? {
        let name = path.file_stem().and_then(|name| name.to_str());
        if is_part(&path)
            && name.is_some_and(|name| !wanted(name))
            && staging_file::remove_if_abandoned(&path)?
        {
            staging_file::remove(&path.with_extension(JOURNAL))?;
        }
    }
    Ok(())
}

fn is_part(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == BYTES)
}

fn bytes_of_journal(path: &Path) -> Option<PathBuf> {
    let bytes = path.with_extension("");
    (path.extension()? == "json" && is_part(&bytes)).then_some(bytes)
}
