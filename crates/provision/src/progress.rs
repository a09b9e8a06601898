//! The receiving end of an extraction: a staging file, and the catalog that shows how far it is.

use std::io::{self, Write};
use std::sync::Arc;

use image_store::{Catalog, EntryId, ImageState, Staging};
use release_payload::IsoSink;

/// How many bytes arrive between two looks at the progress.
const STEP: u64 = 4 << 20;

/// Writes into a staging file and shows the progress in the catalog.
pub(crate) struct Progress {
    staging: Staging,
    catalog: Arc<Catalog>,
    entry: EntryId,
    total: Option<u64>,
    shown: u64,
}

impl Progress {
    pub(crate) fn new(staging: Staging, catalog: Arc<Catalog>, entry: EntryId) -> Self {
        let progress = Self { staging, catalog, entry, total: None, shown: 0 };
        progress.show();
        progress
    }

    pub(crate) fn into_staging(self) -> Staging {
        self.staging
    }

    fn show(&self) {
        let state = ImageState::Fetching { received: self.staging.written(), total: self.total };
        self.catalog.set_state(self.entry, state);
    }
}

impl IsoSink for Progress {
    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.staging.reserve(size).map_err(io::Error::other)?;
        self.total = Some(size);
        self.show();
        Ok(())
    }
}

impl Write for Progress {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.staging.write(buffer)?;
        if self.staging.written() - self.shown >= STEP {
            self.shown = self.staging.written();
            self.show();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.staging.flush()
    }
}
