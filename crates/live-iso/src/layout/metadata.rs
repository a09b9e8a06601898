//! The JSON files in `coreos/` that describe embed areas, as they are serialised.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::read_at::Source;
use crate::{Error, ReadAt, Volume};

/// Real files have a few hundred bytes.
const METADATA_BYTES_MAX: u64 = 64 << 10;

pub(super) const IGNINFO: &str = "coreos/igninfo.json";
pub(super) const KARGS: &str = "coreos/kargs.json";

/// `coreos/igninfo.json`
#[derive(Debug, Deserialize)]
pub(super) struct IgnInfo {
    pub(super) file: String,
    pub(super) offset: Option<u64>,
    pub(super) length: Option<u64>,
}

/// `coreos/kargs.json`
#[derive(Debug, Deserialize)]
pub(super) struct Kargs {
    pub(super) default: String,
    pub(super) files: Vec<KargsFile>,
    pub(super) size: u64,
}

/// An element of `files` in `coreos/kargs.json`.
#[derive(Debug, Deserialize)]
pub(super) struct KargsFile {
    pub(super) path: String,
    pub(super) offset: u64,
    /// One character. The appliance builder writes none where an older file had no such key.
    pub(super) pad: Option<String>,
    /// Likewise.
    pub(super) end: Option<String>,
}

/// Reads one of the files. None is an ISO from before the file was invented.
pub(super) fn read<T: DeserializeOwned, R: ReadAt + ?Sized>(
    source: &Source<'_, R>,
    volume: &Volume,
    path: &'static str,
) -> Result<Option<T>, Error> {
    let Some(file) = volume.find(path) else { return Ok(None) };
    let json = source.read(path, file.extent()?, METADATA_BYTES_MAX)?;
    serde_json::from_slice(&json).map(Some).map_err(|source| Error::Json { path, source })
}
