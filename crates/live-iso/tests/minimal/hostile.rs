//! Real heads with some bytes falsified: what a layout can do without, and a minimal image cannot.

use std::fs::File;
use std::io;

use live_iso::{Customization, Extent, Layout, PlanError, ReadAt, Segment};
use proptest::prelude::*;

use crate::judges::{URL, fixture};

const BLOCK: u64 = 2048;

/// A fixture with other bytes at some places.
struct Falsified {
    iso: File,
    lies: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Falsified {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.iso.read_exact_at(buf, offset)?;
        for (start, lie) in &self.lies {
            for (at, byte) in (*start..).zip(lie) {
                let place = at.checked_sub(offset).and_then(|at| buf.get_mut(usize::try_from(at).unwrap()));
                if let Some(place) = place {
                    *place = *byte;
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.iso.size()
    }
}

impl Falsified {
    fn new(name: &str) -> Self {
        Self { iso: File::open(fixture(name)).unwrap(), lies: Vec::new() }
    }

    fn put(mut self, at: u64, bytes: &[u8]) -> Self {
        self.lies.push((at, bytes.to_vec()));
        self
    }

    fn u32_at(&self, at: u64) -> u64 {
        let mut bytes = [0; 4];
        self.read_exact_at(&mut bytes, at).unwrap();
        u32::from_le_bytes(bytes).into()
    }

    /// The descriptor of this type.
    fn descriptor(&self, kind: u8) -> u64 {
        let is_it = |block: &u64| {
            let mut first = [0];
            self.read_exact_at(&mut first, block * BLOCK).unwrap();
            first == [kind]
        };
        (16..24).find(is_it).unwrap() * BLOCK
    }

    fn reason(&self) -> String {
        let layout = Layout::read(self).unwrap();
        assert!(layout.plan(live_iso::Artifact::FullIso, &Customization::default()).is_ok());
        match layout.minimal(&URL.parse().unwrap(), None) {
            Err(PlanError::NoMinimalIso { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }
}

const JOLIET: u8 = 2;
const FAR: &[u8] = &0x7fff_ffff_u32.to_le_bytes();

#[test]
fn a_false_head_makes_no_image() {
    let iso = Falsified::new("x86_64");
    let joliet = iso.descriptor(JOLIET);
    let joliet_root = iso.u32_at(joliet + 158) * BLOCK;
    let first_record_after_parent = 68;
    let lies: [(u64, &[u8], &str); 11] = [
        (joliet + 158, FAR, "a directory ends at byte"),
        (joliet + 166, FAR, "bytes of directories and path tables"),
        (joliet + 132, FAR, "bytes of directories and path tables"),
        (joliet + 140, FAR, "a path table ends at byte"),
        (joliet + 80, FAR, "the volume has two sizes"),
        (joliet_root, &[0], "it does not tell its parent"),
        (joliet_root, &[40], "it does not tell its parent"),
        (joliet_root + 33, b"x", "it does not begin with itself"),
        (joliet_root + first_record_after_parent + 1, &[1], "extended attributes"),
        (512 + 72, &62_u64.to_le_bytes(), "the GPT is malformed: it lies beyond the system area"),
        (512 + 80, &[0xff, 0xff], "the GPT is malformed: it lies beyond the system area"),
    ];
    for (at, lie, expected) in lies {
        let reason = Falsified::new("x86_64").put(at, lie).reason();
        assert!(reason.contains(expected), "{at}: {reason}");
    }
}

#[test]
fn a_joliet_directory_in_itself_is_refused() {
    let iso = Falsified::new("x86_64");
    let joliet_root = iso.u32_at(iso.descriptor(JOLIET) + 158);
    // The first directory in the root, which is its third record.
    let place = joliet_root * BLOCK + 2 * 34 + 2;
    let root = u32::try_from(joliet_root).unwrap().to_le_bytes();
    let reason = Falsified::new("x86_64").put(place, &root).reason();
    assert!(reason.contains("is a loop"), "{reason}");
}

#[test]
fn joliet_names_of_other_places_are_refused() {
    let iso = Falsified::new("x86_64");
    let layout = Layout::read(&iso).unwrap();
    // A Joliet record of the kernel that is moved into the root file system.
    let kernel = u32::try_from(layout.kernel().offset / BLOCK).unwrap().to_le_bytes();
    let Extent { offset, .. } = layout.rootfs();
    let inside = u32::try_from(offset / BLOCK + 1).unwrap().to_le_bytes();
    let mut blocks = vec![0; 64 * usize::try_from(BLOCK).unwrap()];
    iso.read_exact_at(&mut blocks, 0).unwrap();
    let records: Vec<_> = (16 * BLOCK..blocks.len() as u64 - 4)
        .filter(|at| blocks[usize::try_from(*at).unwrap()..].starts_with(&kernel))
        .collect();
    let last = *records.last().unwrap();
    let reason = Falsified::new("x86_64").put(last, &inside).reason();
    assert!(reason.contains("shares blocks with a file that has to go"), "{reason}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_false_byte_makes_it_panic_or_read_elsewhere(
        name in prop::sample::select(vec!["x86_64", "aarch64", "s390x", "ppc64le", "4.9"]),
        lies in prop::collection::vec((0..50 * BLOCK, any::<u8>()), 1..8),
        table in prop::collection::vec((432..1300_u64, any::<u8>()), 0..4),
    ) {
        let mut iso = Falsified::new(name);
        for (at, byte) in lies.into_iter().chain(table) {
            iso = iso.put(at, &[byte]);
        }
        if let Ok(layout) = Layout::read(&iso)
            && let Ok(minimal) = layout.minimal(&URL.parse().unwrap(), None)
        {
            let plan = minimal.plan(&Customization::default()).unwrap();
            prop_assert_eq!(plan.len(), minimal.size());
            for segment in plan.segments() {
                if let Segment::Base(extent) = segment {
                    prop_assert!(extent.end().unwrap() <= layout.size());
                }
            }
        }
    }
}
