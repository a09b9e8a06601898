//! The size of an ISO, its head, some blocks behind that, and zeros everywhere else: errors are fine, panics are
//! bugs, and so is a minimal image that reaches beyond the ISO, or of which a part is not that part of the whole.

#![no_main]

mod sparse;

use libfuzzer_sys::fuzz_target;
use live_iso::{Artifact, Customization, IgnitionArchive, KernelArguments, Layout, Plan, Ramdisk, Segment};
use sparse::Sparse;

/// How long the head is. Before it the input has the size of the ISO, behind it blocks, each after its number.
/// `fuzz/seeds` writes the same.
const HEAD: usize = 96 << 10;
const BLOCK: usize = 2048;
/// A volume has no more than 8 TiB.
const SIZE_MAX: u64 = 1 << 44;
const NMSTATE_LEN: u64 = 70_001;
/// How far around the borders of segments a plan is looked at.
const AROUND: u64 = 100;

fn iso(input: &[u8]) -> Option<Sparse<'_>> {
    let (size, input) = input.split_first_chunk()?;
    let (head, rest) = input.split_at(input.len().min(HEAD));
    let blocks = rest.chunks(4 + BLOCK).filter_map(|chunk| {
        let (number, bytes) = chunk.split_first_chunk()?;
        Some((u64::from(u32::from_le_bytes(*number)) * BLOCK as u64, bytes))
    });
    let size = u64::from_le_bytes(*size).min(SIZE_MAX);
    Some(Sparse { size, parts: blocks.chain([(0, head)]).collect() })
}

fuzz_target!(|input: &[u8]| {
    let Some(iso) = iso(input) else { return };
    let Ok(layout) = Layout::read(&iso) else { return };
    let _ = live_iso::embedded(&iso, &layout);
    if let Ok(plan) = layout.plan(Artifact::FullIso, &Customization::default()) {
        check(&plan, &iso);
    }
    let url = "http://images.example.com/rootfs?a=1&b=2".parse().expect("a sound URL");
    for nmstate_len in [None, Some(NMSTATE_LEN)] {
        let Ok(minimal) = layout.minimal(&url, nmstate_len) else { continue };
        let plain = minimal.plan(&Customization::default()).expect("nothing that could not fit");
        assert_eq!(plain.len(), minimal.size());
        check(&plain, &iso);
        let arguments = KernelArguments::new(["quiet".to_owned()]).expect("printable arguments");
        let customization = Customization {
            ignition: layout.ignition_area().map(|_| IgnitionArchive::new(b"{}").expect("a small config")),
            kernel_arguments: layout.kernel_argument_areas().map(|_| arguments),
            ramdisk: Some(Ramdisk::new(b"network".to_vec().into())),
            ..Customization::default()
        };
        if let Ok(plan) = minimal.plan(&customization) {
            assert_eq!(plan.len(), minimal.size());
            check(&plan, &iso);
        }
    }
});

fn check(plan: &Plan, iso: &Sparse<'_>) {
    let mut offset = 0;
    for segment in plan.segments() {
        assert!(!segment.is_empty());
        let (extent, size) = match segment {
            Segment::Base(extent) => (Some(extent), iso.size),
            Segment::Nmstate(extent) => (Some(extent), NMSTATE_LEN),
            Segment::Bytes(_) | Segment::Zeros(_) => (None, 0),
        };
        assert!(extent.is_none_or(|extent| extent.end().is_some_and(|end| end <= size)), "{segment:?}");
        let (from, to) = (offset.max(AROUND) - AROUND, offset + AROUND);
        let whole = bytes(&plan.slice(from..to), iso);
        assert_eq!(whole.len() as u64, to.min(plan.len()) - from);
        let parts = [bytes(&plan.slice(from..offset), iso), bytes(&plan.slice(offset..to), iso)];
        assert!(parts.concat() == whole, "around {offset}");
        offset += segment.len();
    }
    assert_eq!(offset, plan.len());
}

fn bytes(plan: &Plan, iso: &Sparse<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    plan.write_to(iso, &vec![0; NMSTATE_LEN as usize], &mut bytes).expect("all of it is there");
    bytes
}
