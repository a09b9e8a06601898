//! The receiving end of an extraction or a download: a staging file, and the catalog that shows how far it is.

use std::io::{self, Write};
use std::sync::Arc;

use image_store::{Catalog, EntryId, ImageState, Staging};
use release_payload::IsoSink;

use crate::origin::Sink;

/// How many bytes arrive between two looks at the progress.
const STEP: u64 = 4 << 20;

/// Writes into a staging file and shows the progress in the catalog.
pub(crate) struct Progress {
    staging: Staging,
    catalog: Arc<Catalog>,
    entries: Arc<[EntryId]>,
    total: Option<u64>,
    shown: u64,
}

impl Progress {
    pub(crate) fn new(staging: Staging, catalog: Arc<Catalog>, entries: Arc<[EntryId]>) -> Self {
        let progress = Self { staging, catalog, entries, total: None, shown: 0 };
        progress.show();
        progress
    }

    pub(crate) fn into_staging(self) -> Staging {
        self.staging
    }

    fn show(&self) {
        let state = ImageState::Fetching { received: self.staging.written(), total: self.total };
        for &entry in &*self.entries {
            self.catalog.set_state(entry, state.clone());
        }
    }
}

impl IsoSink for Progress {
    fn begin(&mut self, size: u64) -> io::Result<()> {
        if self.staging.written() > 0 {
            Sink::restart(self, None)?;
        }
        self.staging.reserve(size).map_err(io::Error::other)?;
        self.total = Some(size);
        self.show();
        Ok(())
    }
}

impl Write for Progress {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.staging.write(buffer)?;
        self.catalog.statistics().count_fetched_bytes(count as u64);
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

impl Sink for Progress {
    fn written(&self) -> u64 {
        self.staging.written()
    }

    fn validator(&self) -> Option<&str> {
        self.staging.validator()
    }

    fn restart(&mut self, validator: Option<&str>) -> io::Result<()> {
        self.shown = 0;
        self.staging.restart(validator).map_err(io::Error::other)
    }

    fn begin(&mut self, total: Option<u64>) -> io::Result<()> {
        // Without a total the staging file asks for room step by step.
        if let Some(total) = total {
            self.staging.reserve(total).map_err(io::Error::other)?;
        }
        self.total = total;
        self.shown = self.staging.written();
        self.show();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
}
