//! Archives: a whole initramfs, and the head of a `rootfs.img`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(files) = live_iso::unpack(bytes) {
        assert!(files.is_sorted_by(|one, other| one.name < other.name));
    }
    live_iso::fuzzing::rootfs(bytes);
});
