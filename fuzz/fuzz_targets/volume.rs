//! A volume of arbitrary bytes: errors are fine, panics are bugs.

#![no_main]

mod sparse;

use libfuzzer_sys::fuzz_target;
use live_iso::Volume;
use sparse::Sparse;

const SYSTEM_AREA: u64 = 16 * 2048;
/// Boot images must be there, far behind the head of a real ISO.
const SIZE: u64 = 64 << 20;

fuzz_target!(|bytes: &[u8]| {
    // Of the first 32 KiB little is looked at, so the fuzzer need not find its way past them.
    let iso = Sparse { size: SIZE, parts: vec![(SYSTEM_AREA, bytes)] };

    if let Ok(volume) = Volume::read(&iso) {
        for file in volume.files() {
            assert!(volume.find(file.path()).is_some());
            let _ = file.extent();
        }
        for entry in volume.boot_catalog().iter().flat_map(|catalog| catalog.entries()) {
            assert!(entry.loaded().end().is_some_and(|end| end <= SIZE));
        }
    }
});
