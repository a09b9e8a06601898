//! A layer with ISOs in it: its compression, the tar archive, and what beside an ISO says its digest.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| release_payload::fuzzing::layer(bytes));
