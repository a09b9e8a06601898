//! Room for downloads: what is free, what running downloads were promised, and how much the admin allows.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::error::Error;
use crate::index::ImageRecord;
use crate::store::Inner;

/// How much the store may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the files of this service may take together: images it published, downloads on their way and nmstate
    /// archives. What was in the data directory before is not counted, because nothing here can make it less.
    pub max_bytes: Option<u64>,
}

/// Free space set aside for one download, so that several running at once do not count on the same bytes.
#[derive(Debug)]
pub(crate) struct Promise {
    remaining: u64,
    store: Arc<Inner>,
}

impl Promise {
    pub(crate) fn none(store: Arc<Inner>) -> Self {
        Self { remaining: 0, store }
    }

    /// Bytes that were promised and have not been written yet.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Exchanges the promise for one of `size` bytes, or says that there are not so many.
    pub(crate) fn renew(&mut self, size: u64) -> Result<(), Error> {
        self.keep(self.remaining);
        let mut promised = self.store.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let path = &self.store.data_dir;
        let available = self.store.free_bytes()?.saturating_sub(*promised);
        if size > available {
            return Err(Error::NoSpace { path: path.clone(), needed: size, available });
        }
        if let Some(limit) = self.store.limits.max_bytes {
            let taken = self.store.own_bytes()?.saturating_add(*promised);
            if size > limit.saturating_sub(taken) {
                return Err(Error::OverLimit { path: path.clone(), needed: size, taken, limit });
            }
        }
        *promised += size;
        self.remaining = size;
        Ok(())
    }

    /// Counts `written` bytes as delivered: they are no longer free space.
    pub(crate) fn keep(&mut self, written: u64) {
        let kept = written.min(self.remaining);
        self.remaining -= kept;
        *self.store.promised.lock().unwrap_or_else(PoisonError::into_inner) -= kept;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(self.remaining);
    }
}

impl Inner {
    fn free_bytes(&self) -> Result<u64, Error> {
        rustix::fs::statvfs(&self.data_dir)
            .map(|file_system| file_system.f_bavail.saturating_mul(file_system.f_frsize))
            .map_err(|errno| Error::io("read the free space of", &self.data_dir)(errno.into()))
    }

    /// What the files of this service take, those of other processes on the same volume included.
    fn own_bytes(&self) -> Result<u64, Error> {
        let mut paths: Vec<PathBuf> = ImageRecord::all(self)?
            .iter()
            .filter(|record| record.is_published)
            .map(|record| record.path(self))
            .collect();
        for directory in [self.staging_dir(), self.nmstate_dir()] {
            let files = self.list(&directory)?.into_iter();
            paths.extend(files.filter(|path| path.extension().is_none_or(|extension| extension != "json")));
        }
        // A file that is gone by now takes no space.
        let sizes = paths.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len());
        Ok(sizes.fold(0, u64::saturating_add))
    }
}
