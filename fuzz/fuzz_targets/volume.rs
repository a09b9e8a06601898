//! A volume of arbitrary bytes: errors are fine, panics are bugs, and so is a layout that reaches beyond the end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use live_iso::{Artifact, Customization, IgnitionArchive, KernelArguments, Layout, Volume, embedded};

fuzz_target!(|bytes: &[u8]| {
    // The first 32 KiB are never looked at, so the fuzzer need not find its way past them.
    let mut iso = vec![0; 16 * 2048];
    iso.extend_from_slice(bytes);

    if let Ok(volume) = Volume::read(&iso) {
        for file in volume.files() {
            assert!(volume.find(file.path()).is_some());
            let _ = file.extent();
        }
    }
    if let Ok(layout) = Layout::read(&iso) {
        let size = iso.len() as u64;
        for extent in [layout.kernel(), layout.initrd(), layout.rootfs()] {
            assert!(extent.end().is_some_and(|end| end <= size));
        }
        let customization = Customization {
            ignition: layout.ignition_area().and_then(|_| IgnitionArchive::new(b"{}").ok()),
            kernel_arguments: layout
                .kernel_argument_areas()
                .and_then(|_| KernelArguments::new(["quiet".to_owned()]).ok()),
        };
        if let Ok(plan) = layout.plan(Artifact::FullIso, &customization) {
            assert_eq!(plan.len(), size);
            assert_eq!(plan.segments().map(live_iso::Segment::len).sum::<u64>(), size);
        }
        let _ = embedded(&iso, &layout);
    }
});
