//! A volume of arbitrary bytes: errors are fine, panics are bugs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use live_iso::Volume;

fuzz_target!(|bytes: &[u8]| {
    // Of the first 32 KiB little is looked at, so the fuzzer need not find its way past them.
    let mut iso = vec![0; 16 * 2048];
    iso.extend_from_slice(bytes);

    if let Ok(volume) = Volume::read(&iso) {
        for file in volume.files() {
            assert!(volume.find(file.path()).is_some());
            let _ = file.extent();
        }
        for entry in volume.boot_catalog().iter().flat_map(|catalog| catalog.entries()) {
            assert!(entry.loaded().end().is_some_and(|end| end <= iso.len() as u64));
        }
    }
});
