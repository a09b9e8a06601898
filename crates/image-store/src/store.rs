//! The data directory.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::error::Error;
use crate::find::Hashed;
use crate::image::{Lease, Leased};
use crate::index::{self, ResolvedRelease};
use crate::key::ImageKey;
use crate::part::{self, Part};
use crate::proof::Expected;
use crate::space::Limits;
use crate::staging::Staging;
use crate::staging_file::{self, StagingFile};

/// The images of one data directory. Cheap to clone. All its work is blocking file I/O.
#[derive(Clone, Debug)]
pub struct ImageStore(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) data_dir: PathBuf,
    pub(crate) limits: Limits,
    /// Distinguishes the staging files of this process from those of others on the same volume.
    instance: String,
    next_staging_number: AtomicU64,
    /// Bytes that running downloads were promised and have not written yet.
    pub(crate) promised: Mutex<u64>,
    pub(crate) hashed: Hashed,
    pub(crate) leased: Leased,
}

/// The right to change files and records together. A second one would wait for the first, also in the same thread.
#[derive(Debug)]
pub(crate) struct IndexLock(#[expect(dead_code, reason = "closing the file gives the lock up")] File);

impl ImageStore {
    /// Opens a data directory, makes ours inside it, and removes what an earlier process left that nobody can go on with.
    ///
    /// The data directory itself must be there: made here, it would hide that a volume was not mounted.
    pub fn open(data_dir: &Path, limits: Limits) -> Result<Self, Error> {
        std::fs::read_dir(data_dir).map_err(Error::io("open", data_dir))?;
        let inner = Inner {
            data_dir: data_dir.to_owned(),
            limits,
            instance: Uuid::new_v4().simple().to_string(),
            next_staging_number: AtomicU64::new(0),
            promised: Mutex::new(0),
            hashed: Hashed::default(),
            leased: Leased::default(),
        };
        for directory in [inner.staging_dir(), inner.images_dir(), inner.releases_dir(), inner.nmstate_dir()]
        {
            std::fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        }
        part::remove_abandoned(&inner)?;
        Ok(Self(Arc::new(inner)))
    }

    /// The image of this name, if a file that is as expected is there: one that was published, or one that was there
    /// before, as after an upgrade from the predecessor (see the crate's documentation).
    ///
    /// A file that was touched since it was proven is hashed; one of ours that is damaged counts as absent, and so does
    /// one of ours where the admin now states another digest, and any other file that is not the image: publishing moves that
    /// aside. Where a release has proven another one it is an error, [`Error::Conflict`].
    pub fn find(&self, key: &ImageKey, expected: Expected) -> Result<Option<Lease>, Error> {
        self.0.find(key, expected, None)
    }

    /// The same, but only what the index knows and nobody has touched since: no file is read whole.
    pub fn find_known(&self, key: &ImageKey, expected: Expected) -> Result<Option<Lease>, Error> {
        if self.0.is_recorded(key)? { self.find(key, expected) } else { Ok(None) }
    }

    /// A new place for the bytes of an image.
    pub fn stage(&self) -> Result<Staging, Error> {
        self.0.stage()
    }

    /// A place for the bytes of one source, which may be partly there from an earlier attempt or process: see
    /// [`Staging::written`] and [`Staging::validator`]. They are read once, to hash them.
    ///
    /// `name` stands for the source. It is made of letters, digits, `.`, `-`, `_` and `+`, begins with a letter or digit,
    /// and is no longer than 128. While another process is at the same download, this is a place of its own as
    /// [`ImageStore::stage`] gives it.
    pub fn stage_download(&self, name: &str) -> Result<Staging, Error> {
        match Part::open(&self.0, name)? {
            Some((file, part)) => Staging::resume(file, part, Arc::clone(&self.0)),
            None => self.0.stage(),
        }
    }

    /// What `pullspec` was resolved to the last time, by this or an earlier process.
    pub fn resolved_release(&self, pullspec: &str) -> Result<Option<ResolvedRelease>, Error> {
        ResolvedRelease::read(&self.0, pullspec)
    }

    /// Remembers what a release image was resolved to.
    pub fn record_release(&self, release: &ResolvedRelease) -> Result<(), Error> {
        release.write(&self.0)
    }

    /// Remembers what a feed asked for, in place of what it asked for before. Nobody but us may read it: URLs may hold
    /// tokens.
    pub fn remember_feed<T: Serialize>(&self, feed: &T) -> Result<(), Error> {
        let path = self.0.feed_path();
        let mut file = self.0.staging_file("json")?;
        let permissions = Permissions::from_mode(0o600);
        file.file().set_permissions(permissions).map_err(Error::io("write", &path))?;
        serde_json::to_writer_pretty(&mut file, feed)
            .map_err(|error| Error::io("write", &path)(error.into()))?;
        file.rename(&path)?;
        Ok(())
    }

    /// What was remembered last, by this or an earlier process. What is damaged, or of another kind, counts as forgotten.
    pub fn remembered_feed<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        index::read(&self.0.feed_path())
    }

    /// Forgets it.
    pub fn forget_feed(&self) -> Result<(), Error> {
        staging_file::remove(&self.0.feed_path())
    }
}

impl Inner {
    fn own_dir(&self) -> PathBuf {
        self.data_dir.join(".coreos-image-service/v1")
    }

    pub(crate) fn staging_dir(&self) -> PathBuf {
        self.own_dir().join("staging")
    }

    pub(crate) fn images_dir(&self) -> PathBuf {
        self.own_dir().join("images")
    }

    pub(crate) fn releases_dir(&self) -> PathBuf {
        self.own_dir().join("releases")
    }

    pub(crate) fn nmstate_dir(&self) -> PathBuf {
        self.own_dir().join("nmstate")
    }

    fn feed_path(&self) -> PathBuf {
        self.own_dir().join("feed.json")
    }

    pub(crate) fn image_path(&self, key: &ImageKey) -> PathBuf {
        self.data_dir.join(key.file_name())
    }

    /// The files in a directory, sorted.
    #[expect(clippy::unused_self, reason = "a directory of this store")]
    pub(crate) fn list(&self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(Error::io("list", directory))? {
            let path = entry.map_err(Error::io("list", directory))?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Held while a file and its record change together, so that a second process on the same volume never removes
    /// what the first has just published. Given up when the file is closed.
    pub(crate) fn lock_index(&self) -> Result<IndexLock, Error> {
        let path = self.own_dir().join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io("create", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(IndexLock(file))
    }

    pub(crate) fn staging_file(&self, extension: &str) -> Result<StagingFile, Error> {
        StagingFile::create(&self.staging_dir(), || {
            let number = self.next_staging_number.fetch_add(1, Ordering::Relaxed);
            format!("{}-{number}.{extension}", self.instance)
        })
    }

    fn stage(self: &Arc<Self>) -> Result<Staging, Error> {
        Ok(Staging::new(self.staging_file("iso")?, Arc::clone(self)))
    }
}

/// Whether a file in the staging directory has a name that [`Inner::staging_file`] gives, in this process or another.
pub(crate) fn is_numbered(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
    name.is_some_and(|(instance, number)| Uuid::try_parse(instance).is_ok() && number.parse::<u64>().is_ok())
}
