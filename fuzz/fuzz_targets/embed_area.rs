//! An embed area of arbitrary bytes: errors are fine, panics are bugs, and so is more than 32 MiB of content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use live_iso::unpack;

fuzz_target!(|area: &[u8]| {
    if let Ok(files) = unpack(area) {
        let total: usize = files.iter().map(|file| file.content.len()).sum();
        assert!(total <= (32 << 20) + area.len());
    }
});
