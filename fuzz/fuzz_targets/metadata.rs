//! The files in an ISO that describe its embed areas, of arbitrary content in a sound ISO.

#![no_main]

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../crates/live-iso/tests/synthetic/iso.rs"]
mod iso;
mod laid_out;

use libfuzzer_sys::fuzz_target;

use iso::Iso;

// The first byte says which file it is. The last is searched for a marker, as nothing describes the area in it.
fuzz_target!(|input: &[u8]| {
    let Some((file, content)) = input.split_first() else { return };
    let iso = match file % 5 {
        0 => Iso::coreos().file("coreos/kargs.json", content),
        1 => Iso::coreos().file("coreos/igninfo.json", content),
        2 => Iso::coreos().file("coreos/features.json", content),
        3 => Iso::coreos_s390x().file("coreos/kargs.json", content),
        _ => Iso::coreos()
            .without("coreos/kargs.json")
            .without("isolinux/isolinux.cfg")
            .file("EFI/redhat/grub.cfg", content),
    };
    laid_out::check(&iso.build().bytes);
});
