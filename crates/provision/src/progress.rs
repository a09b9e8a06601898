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

#[cfg(test)]
mod tests {
    use coreos_names::{Arch, ImageKind};
    use image_store::{DesiredImage, Expected, ImageKey, ImageStore, Limits};
    use tempfile::TempDir;
    use test_support::fixtures::live_iso;

    use super::*;

    struct Hall {
        data: TempDir,
        catalog: Arc<Catalog>,
        entry: EntryId,
        iso: Vec<u8>,
    }

    impl Hall {
        fn new() -> Self {
            let catalog = Arc::new(Catalog::default());
            let entry = catalog.add(DesiredImage {
                openshift_version: "4.18".parse().unwrap(),
                release_version: None,
                arch: Some(Arch::X86_64),
                kind: ImageKind::Full,
            });
            let iso = std::fs::read(live_iso(Arch::X86_64)).unwrap();
            Self { data: TempDir::new().unwrap(), catalog, entry, iso }
        }

        fn store(&self) -> ImageStore {
            ImageStore::open(self.data.path(), Limits { max_bytes: Some(self.size() + STEP) }).unwrap()
        }

        fn size(&self) -> u64 {
            self.iso.len() as u64
        }

        fn progress(&self, staging: Staging) -> Progress {
            Progress::new(staging, Arc::clone(&self.catalog), Arc::new([self.entry]))
        }

        /// What the catalog shows, and how many bytes were counted.
        fn shown(&self) -> ((u64, Option<u64>), u64) {
            let ImageState::Fetching { received, total } = self.catalog.report().remove(0).state else {
                panic!("it is being fetched")
            };
            ((received, total), self.catalog.statistics().fetched_bytes())
        }

        /// What is there has to be the ISO and nothing else.
        fn publish(&self, progress: Progress) {
            let sha256 = image_store::sha256(&*self.iso).unwrap();
            let key = ImageKey {
                os_build: "418.94.1-0".parse().unwrap(),
                arch: Arch::X86_64,
                kind: ImageKind::Full,
            };
            let file = self.data.path().join(key.file_name());
            let sealed = progress.into_staging().seal(Expected::Release(sha256)).unwrap();
            assert_eq!(sealed.publish(key).unwrap().sha256(), sha256);
            assert!(std::fs::read(file).unwrap() == self.iso);
        }
    }

    #[test]
    fn an_iso_that_comes_from_another_place_after_all_is_taken_from_its_beginning() {
        let hall = Hall::new();
        let mut progress = hall.progress(hall.store().stage().unwrap());
        assert_eq!(hall.shown(), ((0, None), 0));
        let in_vain = 3 * STEP + 1;
        IsoSink::begin(&mut progress, in_vain).unwrap();
        for _ in 0..3 * STEP / 1024 {
            progress.write_all(&[b'x'; 1024]).unwrap();
        }
        progress.write_all(b"x").unwrap();
        assert_eq!(hall.shown(), ((3 * STEP, Some(in_vain)), in_vain));
        IsoSink::begin(&mut progress, hall.size()).unwrap();
        assert_eq!(hall.shown(), ((0, Some(hall.size())), in_vain));
        // Also where the first had nothing to give.
        IsoSink::begin(&mut progress, hall.size()).unwrap();
        let (head, tail) = hall.iso.split_at(usize::try_from(STEP).unwrap());
        progress.write_all(head).unwrap();
        assert_eq!(hall.shown(), ((STEP, Some(hall.size())), in_vain + STEP));
        progress.write_all(tail).unwrap();
        assert_eq!(hall.shown(), ((hall.size(), Some(hall.size())), in_vain + hall.size()));
        hall.publish(progress);
    }

    #[test]
    fn a_download_that_starts_over_is_another_file() {
        let hall = Hall::new();
        let mut progress = hall.progress(hall.store().stage_download("x").unwrap());
        Sink::restart(&mut progress, Some("\"v1\"")).unwrap();
        Sink::begin(&mut progress, Some(2 * STEP)).unwrap();
        Sink::write(&mut progress, &vec![b'x'; usize::try_from(STEP).unwrap()]).unwrap();
        assert_eq!(hall.shown(), ((STEP, Some(2 * STEP)), STEP));
        // It goes on at the byte.
        Sink::begin(&mut progress, Some(2 * STEP)).unwrap();
        assert_eq!((hall.shown(), Sink::written(&progress)), (((STEP, Some(2 * STEP)), STEP), STEP));
        Sink::write(&mut progress, b"x").unwrap();
        // It cannot go on.
        Sink::restart(&mut progress, None).unwrap();
        Sink::begin(&mut progress, None).unwrap();
        assert_eq!((hall.shown(), progress.validator()), (((0, None), STEP + 1), None));
        Sink::write(&mut progress, &hall.iso).unwrap();
        assert_eq!(hall.shown(), ((hall.size(), None), STEP + 1 + hall.size()));
        hall.publish(progress);
    }

    #[test]
    fn the_room_for_what_came_in_vain_is_free_again() {
        let hall = Hall::new();
        let store = hall.store();
        let mut progress = hall.progress(store.stage().unwrap());
        for _ in 0..3 {
            IsoSink::begin(&mut progress, hall.size() + STEP).unwrap();
            progress.write_all(&hall.iso).unwrap();
        }
        assert!(IsoSink::begin(&mut progress, hall.size() + STEP + 1).is_err());
        assert_eq!(hall.shown().0, (hall.size(), Some(hall.size() + STEP)), "it ends there");
        IsoSink::begin(&mut progress, hall.size()).unwrap();
        progress.write_all(&hall.iso).unwrap();
        hall.publish(progress);
    }
}
