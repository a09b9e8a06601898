//! A squashfs of arbitrary bytes as root file system: errors are fine, panics are bugs, and so is what takes long.
//!
//! The superblock is put right, so that the fuzzer need not find the magic and the version.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut image = bytes.to_vec();
    if image.len() < 96 {
        return;
    }
    image[..4].copy_from_slice(b"hsqs");
    image[28..32].copy_from_slice(&[4, 0, 0, 0]);
    if let Some(program) = live_iso::fuzzing::file_system(&image) {
        assert!(program.len() <= 64 << 20);
    }
});
