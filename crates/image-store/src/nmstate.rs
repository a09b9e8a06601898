//! What minimal ISOs and network boots carry beside the initramfs: `nmstatectl`, taken out of the image once and kept.
//!
//! ```text
//! nmstate/<sha256 of the ISO>-<encoder version>.cpio.gz    the archive
//! nmstate/<sha256 of the ISO>-<encoder version>.json       its SHA-256
//! ```
//!
//! It can always be made again, from the same image to the same bytes, so one that is damaged is not worth a word.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coreos_names::{Sha256, WithCauses};
use live_iso::NMSTATE_ARCHIVE_VERSION;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::error::Error;
use crate::image::Lease;
use crate::index;
use crate::space::Promise;
use crate::staging;
use crate::staging_file;
use crate::store::{ImageStore, Inner};

const ARCHIVE: &str = "cpio.gz";
const RECORD: &str = "json";

/// An archive with `nmstatectl`, as an initramfs takes it.
#[derive(Debug)]
pub struct NmstateArchive {
    pub(crate) file: File,
    len: u64,
    sha256: Sha256,
}

/// Why an image that should have an archive has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NmstateTrouble {
    /// It is being made.
    Preparing,
    /// It could not be made, but may be later.
    Failed {
        /// Why, with all causes; holds no secret.
        reason: String,
    },
    /// It cannot be made of this image.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl NmstateTrouble {
    /// The trouble's name, as shown in `/health`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Failed { .. } => "failed",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Why, if there is more to say than the name does.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Preparing => None,
            Self::Failed { reason } | Self::Unavailable { reason } => Some(reason),
        }
    }
}

impl From<&Error> for NmstateTrouble {
    fn from(error: &Error) -> Self {
        let reason = WithCauses(error).to_string();
        if error.is_retryable() { Self::Failed { reason } } else { Self::Unavailable { reason } }
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    sha256: Sha256,
}

impl NmstateArchive {
    /// Its size in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. It always has some.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The SHA-256 of the archive.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Opens one that was made before, if every byte of it is still right.
    fn open(path: &Path) -> Result<Option<Self>, Error> {
        let Some(Record { sha256 }) = index::read(&path.with_extension("").with_extension(RECORD))? else {
            return Ok(None);
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        let len = file.metadata().map_err(Error::io("read", path))?.len();
        let actual = staging::sha256(&file).map_err(Error::io("read", path))?;
        Ok((actual == sha256).then_some(Self { file, len, sha256 }))
    }
}

impl ImageStore {
    /// Sees to it that the image has its nmstate archive ([`Lease::nmstate`]), for everybody who has leased it.
    ///
    /// The first time, `nmstatectl` is taken out of the image's root file system, which takes about a second; later, and
    /// after a restart, the archive is there. Fails with [`Error::Nmstate`] for images that have none. What is in the way
    /// is told by [`Lease::nmstate_trouble`].
    pub fn prepare_nmstate(&self, lease: &Lease) -> Result<(), Error> {
        if lease.nmstate_trouble().is_none() {
            lease.set_nmstate_trouble(NmstateTrouble::Preparing);
        }
        self.try_nmstate(lease).inspect_err(|error| lease.set_nmstate_trouble(error.into()))
    }

    fn try_nmstate(&self, lease: &Lease) -> Result<(), Error> {
        if !self.0.attach_nmstate(lease)? {
            let path = self.0.nmstate_path(lease.sha256());
            lease.set_nmstate(self.0.make_nmstate(lease, &path)?);
        }
        Ok(())
    }
}

impl Inner {
    fn nmstate_path(&self, iso: Sha256) -> PathBuf {
        self.nmstate_dir().join(format!("{iso}-{NMSTATE_ARCHIVE_VERSION}.{ARCHIVE}"))
    }

    /// Gives an image the archive that was made of it before. Returns whether it has one now.
    pub(crate) fn attach_nmstate(&self, lease: &Lease) -> Result<bool, Error> {
        if lease.nmstate().is_none()
            && let Some(archive) = NmstateArchive::open(&self.nmstate_path(lease.sha256()))?
        {
            lease.set_nmstate(archive);
        }
        Ok(lease.nmstate().is_some())
    }

    fn make_nmstate(self: &Arc<Self>, lease: &Lease, path: &Path) -> Result<NmstateArchive, Error> {
        let program = live_iso::nmstatectl(lease.file(), lease.layout())
            .map_err(|source| Error::Nmstate { key: lease.key().clone(), source })?;
        let archive = live_iso::nmstate_archive(&program);
        let len = archive.len() as u64;
        let mut promise = Promise::none(Arc::clone(self));
        promise.renew(len)?;
        let mut file = self.staging_file("nmstate")?;
        file.write_all(&archive).map_err(Error::io("write", path))?;
        let file = file.rename(path)?;
        let sha256 = Sha256::new(sha2::Sha256::digest(&archive));
        index::write(self, &path.with_extension("").with_extension(RECORD), &Record { sha256 })?;
        Ok(NmstateArchive { file, len, sha256 })
    }

    /// Removes the archives of images other than `kept`, and those that another encoder has made.
    pub(crate) fn remove_unwanted_nmstate(&self, kept: impl Fn(Sha256) -> bool) -> Result<(), Error> {
        for path in self.list(&self.nmstate_dir())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let (stem, _) = name.split_once('.').unwrap_or((name, ""));
            let Some((Ok(iso), version)) = stem.split_once('-').map(|(iso, version)| (iso.parse(), version))
            else {
                continue;
            };
            if !kept(iso) || version != NMSTATE_ARCHIVE_VERSION.to_string() {
                staging_file::remove(&path)?;
            }
        }
        Ok(())
    }
}
