//! An EROFS of arbitrary bytes as root file system: errors are fine, panics are bugs, and so is what takes long.
//!
//! The magic is put right. The first KiB, which nothing looks at, is not the fuzzer's.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut image = vec![0; 1024];
    image.extend_from_slice(bytes);
    if let Some(magic) = image.get_mut(1024..1028) {
        magic.copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
    }
    if let Some(program) = live_iso::fuzzing::file_system(&image) {
        assert!(program.len() <= 64 << 20);
    }
});
