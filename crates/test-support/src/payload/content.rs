use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use coreos_names::Sha256;
use sha2::Digest as _;
use tempfile::TempPath;

/// Bytes of known digest, in memory or, if they are many, in a file.
#[derive(Clone, Debug)]
pub struct Content {
    sha256: Sha256,
    size: u64,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Memory(Bytes),
    /// Somebody else's, who must keep it as long as this value lives.
    File(PathBuf),
    /// Removed with the last clone of this value.
    Temporary(Arc<TempPath>),
}

impl Content {
    /// These bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let sha256 = Sha256::new(sha2::Sha256::digest(&bytes));
        Self { sha256, size: bytes.len() as u64, place: Place::Memory(bytes) }
    }

    /// The bytes of this file, which is read once for its digest and not kept in memory.
    pub fn from_file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut hashing = Hashing::new(io::sink());
        let size = io::copy(&mut File::open(&path)?, &mut hashing)?;
        Ok(Self { sha256: hashing.finish().1, size, place: Place::File(path) })
    }

    /// The bytes of a temporary file, already known.
    pub(crate) fn temporary(path: TempPath, size: u64, sha256: Sha256) -> Self {
        Self { sha256, size, place: Place::Temporary(Arc::new(path)) }
    }

    /// The digest of the bytes.
    pub const fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// The digest as registries write it, `sha256:…`.
    pub fn digest(&self) -> String {
        format!("sha256:{}", self.sha256)
    }

    /// How many bytes there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The bytes, to be read once.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self.path() {
            Ok(path) => Box::new(BufReader::new(File::open(path)?)),
            Err(bytes) => Box::new(Cursor::new(bytes.clone())),
        })
    }

    /// All bytes in memory.
    pub fn bytes(&self) -> io::Result<Bytes> {
        self.path().map_or_else(|bytes| Ok(bytes.clone()), |path| fs::read(path).map(Bytes::from))
    }

    /// Puts the bytes into a file, as a link where that is possible: an ISO has a gigabyte.
    pub(crate) fn write_to(&self, target: &Path) -> io::Result<()> {
        match self.path() {
            Ok(_) if target.exists() => Ok(()),
            Ok(path) => fs::hard_link(path, target).or_else(|_| fs::copy(path, target).map(drop)),
            Err(bytes) => fs::write(target, bytes),
        }
    }

    /// The file the bytes are in, or else the bytes.
    fn path(&self) -> Result<&Path, &Bytes> {
        match &self.place {
            Place::Memory(bytes) => Err(bytes),
            Place::File(path) => Ok(path),
            Place::Temporary(path) => Ok(path),
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_bytes(bytes)
    }
}

/// Hashes what passes through it.
pub(crate) struct Hashing<W> {
    inner: W,
    hasher: sha2::Sha256,
    size: u64,
}

impl<W> Hashing<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), size: 0 }
    }

    /// What it passed on to, the digest and the number of the bytes.
    pub(crate) fn finish(self) -> (W, Sha256, u64) {
        (self.inner, Sha256::new(self.hasher.finalize()), self.size)
    }
}

impl<W: io::Write> io::Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..length]);
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
