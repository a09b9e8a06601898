//! A live ISO of some era with falsified bytes: errors are fine, panics are bugs, and so is a layout that reaches beyond
//! the end, or a plan that does not keep its promises.

#![no_main]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../crates/live-iso/tests/synthetic/eras.rs"]
mod eras;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../crates/live-iso/tests/synthetic/iso.rs"]
mod iso;
mod laid_out;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static ERAS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| eras::all().iter().map(|era| era.iso.build().bytes).collect());

// The first byte is the era, then every five are an offset and what is to be there: all that is read of an ISO lies
// within its first 256 KiB.
fuzz_target!(|input: &[u8]| {
    let Some((era, changes)) = input.split_first() else { return };
    let mut iso = ERAS[usize::from(*era) % ERAS.len()].clone();
    for change in changes.chunks_exact(5) {
        let at = u32::from_le_bytes([change[0], change[1], change[2] & 3, 0]) as usize;
        if let Some(place) = iso.get_mut(at..at + 2) {
            place.copy_from_slice(&change[3..]);
        }
    }
    laid_out::check(&iso);
});
