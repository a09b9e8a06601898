//! The RELEASE_IMAGES setting, and the last layer of a release image.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    release_payload::fuzzing::manifests(bytes);
    if let Ok(json) = std::str::from_utf8(bytes) {
        let _ = release_payload::release_images::parse(json);
    }
});
