//! Images on their way in.

use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use coreos_names::{Sha256, WithCauses};
use live_iso::Layout;
use sha2::Digest;

use crate::error::Error;
use crate::image::Lease;
use crate::index::ImageRecord;
use crate::key::ImageKey;
use crate::part::Part;
use crate::proof::Expected;
use crate::space::Promise;
use crate::staging_file::{self, StagingFile};
use crate::store::Inner;

/// Space is asked for in steps of so many bytes where nobody knows how many will come.
const STEP: u64 = 16 << 20;

/// An image whose bytes are arriving. They are hashed as they are written.
///
/// Dropped, it leaves nothing behind, unless its bytes came with a validator ([`Staging::restart`]): then they are synced
/// and kept for whoever stages a download of that name next. Dropping can therefore block.
#[derive(Debug)]
pub struct Staging {
    file: StagingFile,
    /// What makes it resumable.
    part: Option<Part>,
    hasher: sha2::Sha256,
    written: u64,
    promise: Promise,
    store: Arc<Inner>,
}

impl Staging {
    pub(crate) fn new(file: StagingFile, store: Arc<Inner>) -> Self {
        let promise = Promise::none(Arc::clone(&store));
        Self { file, part: None, hasher: sha2::Sha256::new(), written: 0, promise, store }
    }

    /// Takes over the bytes that `part` vouches for. All of them are read, to hash them.
    pub(crate) fn resume(file: StagingFile, part: Part, store: Arc<Inner>) -> Result<Self, Error> {
        let mut staging = Self::new(file, store);
        let mut bytes = staging.file.file();
        staging.hasher = bytes
            .rewind()
            .and_then(|()| hash(bytes.take(part.synced())))
            .map_err(Error::io("read", staging.file.path()))?;
        staging.written = part.synced();
        staging.part = Some(part);
        Ok(staging)
    }

    /// Makes sure that an image of `size` bytes, of which some may have been written, has room beside everything that
    /// other downloads were promised.
    ///
    /// Where it is not called, or more bytes come, space is made sure of in steps; then writing fails with an
    /// [`io::Error`] around [`Error::NoSpace`] or [`Error::OverLimit`].
    pub fn reserve(&mut self, size: u64) -> Result<(), Error> {
        self.promise.renew(size.saturating_sub(self.written))
    }

    /// Bytes written so far, those of earlier attempts and processes included.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What identifies the version of the source that the bytes came from, if they can be continued.
    pub fn validator(&self) -> Option<&str> {
        self.part.as_ref().and_then(Part::validator)
    }

    /// Forgets every byte, to begin with those of another version of the source.
    ///
    /// `validator` identifies that version: a strong entity tag. With one, and if nobody else is at the same download,
    /// the bytes outlive this value. One that is empty or longer than 1 KiB counts as none.
    pub fn restart(&mut self, validator: Option<&str>) -> Result<(), Error> {
        // Whatever fails from here on, nothing there counts any more, and so nothing is kept.
        self.promise.keep(self.promise.remaining());
        self.hasher = sha2::Sha256::new();
        self.written = 0;
        if let Some(part) = &mut self.part {
            part.restart(&self.store, validator)?;
        }
        self.file.truncate(0)
    }

    /// Proves the image: it must be what is expected, and its layout one that this program understands.
    ///
    /// Bytes that fail are not kept, whatever validator they came with.
    pub fn seal(mut self, expected: Expected) -> Result<Sealed, Error> {
        match self.prove(expected) {
            Ok((sha256, layout)) => {
                self.file.sync()?;
                Ok(Sealed { staging: self, sha256, expected, layout })
            }
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn prove(&self, expected: Expected) -> Result<(Sha256, Layout), Error> {
        let actual = Sha256::new(self.hasher.clone().finalize());
        match expected.sha256() {
            Some(expected) if expected != actual => Err(Error::WrongDigest { expected, actual }),
            _ => Ok((actual, Layout::read(self.file.file()).map_err(Error::Layout)?)),
        }
    }

    /// Sees to it that nothing is kept.
    fn discard(&mut self) {
        if let Some(mut part) = self.part.take() {
            part.forget(&self.store).unwrap_or_else(|error| stays_behind(&error));
        }
    }
}

impl Write for Staging {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let len = buffer.len() as u64;
        if self.promise.remaining() < len {
            self.promise.renew(len.max(STEP)).map_err(io::Error::other)?;
        }
        let count = self.file.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.written += count as u64;
        self.promise.keep(count as u64);
        if let Some(part) = &mut self.part
            && part.is_due(self.written)
        {
            part.cover(&self.store, &self.file, self.written).map_err(io::Error::other)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let Some(part) = &mut self.part else { return };
        if part.validator().is_none() || self.written == 0 {
            self.discard();
            return;
        }
        // Without the newest journal the one before it still tells the truth.
        part.cover(&self.store, &self.file, self.written).unwrap_or_else(|error| stays_behind(&error));
        self.file.keep();
    }
}

fn stays_behind(error: &Error) {
    tracing::warn!(error = %WithCauses(error), "an unfinished download cannot be tidied up");
}

/// An image that is proven, understood and on stable storage, but not yet under its name.
#[derive(Debug)]
pub struct Sealed {
    staging: Staging,
    sha256: Sha256,
    expected: Expected,
    layout: Layout,
}

impl Sealed {
    /// Gives the image its final name and records it in the index. From here on a restart finds it.
    ///
    /// If an image that is as expected was published meanwhile, that one is taken. A file of that name is replaced only
    /// if this service wrote it, and it is damaged or [`Expected::Admin`] names another one; who has leased the old image
    /// keeps it. Another image that a release has proven is an error, [`Error::Conflict`]. Any other file is renamed to
    /// `<name>.unusable-<seconds since 1970>` and never touched again.
    pub fn publish(mut self, key: ImageKey) -> Result<Lease, Error> {
        let published = self.rename(key);
        // What the system refused can succeed the next time, with the same bytes.
        if !matches!(&published, Err(error) if error.is_retryable()) {
            self.staging.discard();
        }
        published
    }

    fn rename(&mut self, key: ImageKey) -> Result<Lease, Error> {
        let store = Arc::clone(&self.staging.store);
        let path = store.image_path(&key);
        let lock = store.lock_index()?;
        if let Some(published) = store.find(&key, self.expected, Some(&lock))? {
            return Ok(published);
        }
        let file = &mut self.staging.file;
        let metadata = file.file().metadata().map_err(Error::io("read", file.path()))?;
        let record = ImageRecord::published(key, self.sha256, self.expected.proof(), &metadata);
        let file = if store.is_ours(&record.key, &path)? {
            // In this order the file that has the name is known as ours at every moment.
            let replaced = path.metadata().map_err(Error::io("read", &path))?;
            record.replacing(&replaced).write(&store)?;
            let file = file.rename(&path)?;
            record.write(&store)?;
            file
        } else {
            staging_file::move_aside(&path)?;
            // A file without a record would never be known as ours again, but a record without a file does no harm.
            record.write(&store)?;
            file.rename_to_new(&path)?.ok_or(Error::Occupied { path })?
        };
        Ok(store.lease(&record, self.layout.clone(), file, &metadata))
    }
}

/// The SHA-256 of everything that can be read.
pub fn sha256(bytes: impl Read) -> io::Result<Sha256> {
    Ok(Sha256::new(hash(bytes)?.finalize()))
}

/// Hashes everything that can be read, and leaves it open for more.
pub(crate) fn hash(mut bytes: impl Read) -> io::Result<sha2::Sha256> {
    const CHUNK: usize = 256 * 1024;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match bytes.read(&mut buffer) {
            Ok(0) => return Ok(hasher),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
