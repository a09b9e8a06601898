use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;
use live_iso::{
    Artifact, Customization, Error, Extent, IgnitionArchive, KernelArguments, Layout, Plan, PlanError,
    Ramdisk, Segment, embedded,
};
use proptest::prelude::*;

use crate::eras::{self, Era};
use crate::iso::{ARGUMENTS, BLOCK, FILLING, IGNITION_AREA, Image, Iso, noise};

/// The archive that a plan may refer to beside its base.
fn nmstate() -> Vec<u8> {
    noise(3001).into_iter().rev().collect()
}

fn collect(plan: &Plan, base: &[u8]) -> Vec<u8> {
    assert!(plan.segments().all(|segment| !segment.is_empty()));
    let mut bytes = Vec::new();
    plan.write_to(base, &nmstate(), &mut bytes).unwrap();
    assert_eq!(plan.len(), bytes.len() as u64);
    assert_eq!(plan.is_empty(), bytes.is_empty());
    bytes
}

/// What a plan's range must be, given all its bytes.
fn clamp(bytes: &[u8], range: Range<u64>) -> &[u8] {
    let index = |at: u64| usize::try_from(at).unwrap().min(bytes.len());
    bytes.get(index(range.start)..index(range.end)).unwrap_or_default()
}

fn base(len: u64) -> Plan {
    Plan::base(Extent { offset: 0, len })
}

fn customization(ignition: Option<&[u8]>, arguments: Option<&[&str]>) -> Customization {
    Customization {
        ignition: ignition.map(|config| IgnitionArchive::new(config).unwrap()),
        kernel_arguments: arguments
            .map(|arguments| KernelArguments::new(arguments.iter().copied().map(str::to_owned)).unwrap()),
        ..Customization::default()
    }
}

/// The image as the predecessor would write it: arguments from the newline before the run of `#`.
fn naive(image: &Image, customization: &Customization) -> Vec<u8> {
    let mut bytes = image.bytes.clone();
    let mut put = |at: usize, content: &[u8]| bytes[at..at + content.len()].copy_from_slice(content);
    if let Some(archive) = &customization.ignition {
        let at = image.offset("images/ignition.img");
        put(at, &[0; IGNITION_AREA]);
        put(at, archive.as_bytes());
    }
    if let Some(arguments) = &customization.kernel_arguments {
        let line = format!(" {}\n", arguments.as_str());
        for (path, offset) in [("EFI/redhat/grub.cfg", 25), ("isolinux/isolinux.cfg", 15)] {
            put(image.offset(path) + offset + ARGUMENTS.len(), line.as_bytes());
        }
    }
    bytes
}

/// The same for an image of any era: whole areas, from what it was built from.
fn naive_in(era: &Era, image: &Image, customization: &Customization) -> Vec<u8> {
    let mut bytes = image.bytes.clone();
    if let Some((_, path, offset)) = &era.ignition {
        let archives = [
            customization.ignition.as_ref().map(IgnitionArchive::as_bytes),
            customization.ramdisk.as_ref().map(Ramdisk::as_bytes),
        ];
        let content =
            archives.into_iter().flatten().fold(Vec::new(), |content, more| [&content, &more[..]].concat());
        let at = image.offset(path) + offset;
        bytes[at..at + content.len()].copy_from_slice(&content);
    }
    if let (Some(areas), Some(arguments)) = (&era.kernel_arguments, &customization.kernel_arguments) {
        for (path, offset) in &areas.areas {
            let at = image.offset(path) + offset;
            let line = format!("{} {}", areas.text, arguments.as_str());
            bytes[at..at + areas.size].fill(areas.pad);
            bytes[at..at + line.len()].copy_from_slice(line.as_bytes());
            bytes[at + line.len()] = areas.end;
        }
    }
    bytes
}

#[test]
fn a_customised_iso_differs_only_in_its_areas() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    for customization in [
        customization(None, None),
        customization(Some(b"{}"), None),
        customization(Some(b""), Some(&[])),
        customization(None, Some(&["p1", "p2=x"])),
        customization(Some(&noise(3000)), Some(&["quiet"])),
    ] {
        let plan = layout.plan(Artifact::FullIso, &customization).unwrap();
        assert_eq!(plan.len(), layout.size());
        assert!(collect(&plan, &image.bytes) == naive(&image, &customization), "{customization:?}");
    }
}

#[test]
fn an_iso_without_wishes_is_the_base() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    let plan = layout.plan(Artifact::FullIso, &Customization::default()).unwrap();
    assert_eq!(plan, base(layout.size()));
}

#[test]
fn kernel_and_rootfs_are_served_as_they_are() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    for (artifact, content) in [(Artifact::Kernel, noise(3000)), (Artifact::Rootfs, noise(7001))] {
        let plan = layout.plan(artifact, &Customization::default()).unwrap();
        assert_eq!(collect(&plan, &image.bytes), content);
        let customised = layout.plan(artifact, &customization(Some(b"{}"), None));
        assert!(matches!(customised, Err(PlanError::NotCustomizable { .. })));
    }
}

#[test]
fn an_initrd_is_followed_by_what_it_is_customised_with() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    let initrd = |customization: &Customization| {
        collect(&layout.plan(Artifact::Initrd, customization).unwrap(), &image.bytes)
    };
    let pristine = initrd(&Customization::default());
    assert_eq!(pristine.len() as u64, layout.initrd().len.next_multiple_of(4));
    assert_eq!(pristine[..10], image.bytes[image.offset("images/pxeboot/initrd.img")..][..10]);

    let archive = IgnitionArchive::new(b"{}").unwrap();
    let mut customization = Customization { ignition: Some(archive.clone()), ..Customization::default() };
    let mut expected = pristine;
    let mut add = |customization: &Customization, archive: &[u8]| {
        expected.extend(archive);
        expected.resize(expected.len().next_multiple_of(4), 0);
        assert_eq!(initrd(customization), expected);
    };
    add(&customization, archive.as_bytes());
    customization.ramdisk = Some(Ramdisk::new(Bytes::from_static(b"070701")));
    add(&customization, b"070701");
    customization.nmstate_len = Some(nmstate().len() as u64);
    add(&customization, &nmstate());

    customization.kernel_arguments = Some(KernelArguments::default());
    let refused = layout.plan(Artifact::Initrd, &customization);
    assert_eq!(refused, Err(PlanError::NotCustomizable { artifact: "initrd", part: "kernel arguments" }));
}

#[test]
fn only_s390x_has_an_ins_file_and_an_address_for_its_initrd() {
    let plan = |image: &Image, artifact, customization: &Customization| {
        let plan = Layout::read(&image.bytes).unwrap().plan(artifact, customization)?;
        Ok::<_, PlanError>(collect(&plan, &image.bytes))
    };
    let wishes = customization(Some(b"{}"), None);
    let image = Iso::coreos().build();
    for artifact in [Artifact::InsFile, Artifact::InitrdAddrSize] {
        let refused = plan(&image, artifact, &Customization::default());
        assert_eq!(refused, Err(PlanError::NoSuchArtifact { artifact: artifact.name() }));
    }

    let addr_size = [0, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let ins_file = b"* minimal lpar ins file\n";
    let image =
        Iso::coreos().file("generic.ins", ins_file).file("images/initrd.addrsize", &addr_size).build();
    assert_eq!(plan(&image, Artifact::InsFile, &Customization::default()).unwrap(), ins_file);
    let size = plan(&image, Artifact::Initrd, &wishes).unwrap().len() as u64;
    let expected = [&[0, 0, 0, 0, 2, 0, 0, 0][..], &size.to_be_bytes()].concat();
    assert_eq!(plan(&image, Artifact::InitrdAddrSize, &wishes).unwrap(), expected);

    let cut = Iso::coreos().file("images/initrd.addrsize", &addr_size[..15]).build();
    let error = Layout::read(&cut.bytes).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[test]
fn what_was_embedded_before_gives_way() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    let first = customization(Some(&noise(2000)), Some(&["one"]));
    let bytes = collect(&layout.plan(Artifact::FullIso, &first).unwrap(), &image.bytes);

    let layout = Layout::read(&bytes).unwrap();
    assert_eq!(layout.kernel_argument_areas().unwrap().current_arguments(), format!("{ARGUMENTS} one"));
    assert_eq!(layout.kernel_argument_areas().unwrap().default_arguments(), ARGUMENTS);
    let second = customization(Some(b"new"), Some(&["two"]));
    let bytes = collect(&layout.plan(Artifact::FullIso, &second).unwrap(), &bytes);
    let embedded = embedded(&bytes, &layout).unwrap();
    assert_eq!(embedded.files.len(), 1);
    assert_eq!(embedded.files[0].content, "new");
    assert_eq!(embedded.kernel_arguments.unwrap().current, format!("{ARGUMENTS} one two"));
}

#[test]
fn s390x_areas_are_filled_with_nuls() {
    let image = Iso::coreos_s390x().build();
    let layout = Layout::read(&image.bytes).unwrap();
    let customization = customization(Some(b"{}"), Some(&["zfcp.allow_lun_scan=0"]));
    let bytes = collect(&layout.plan(Artifact::FullIso, &customization).unwrap(), &image.bytes);

    let mut area = format!("{ARGUMENTS} zfcp.allow_lun_scan=0").into_bytes();
    area.resize(896, 0);
    let boot = image.offset("images/cdboot.img");
    assert_eq!(bytes[boot + 2000..boot + 2896], area);
    assert_eq!(bytes[..boot + 2000], image.bytes[..boot + 2000]);
    assert_eq!(bytes[boot + 2896..boot + 3900], image.bytes[boot + 2896..boot + 3900]);
    assert_eq!(embedded(&bytes, &layout).unwrap().files[0].content, "{}");
}

#[test]
fn areas_can_be_filled_to_the_last_byte() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    // Of the old newline and the filling, the blank before the arguments and the newline after them take a byte each.
    let room = FILLING + 1 - 2;
    let longest = "x".repeat(room);
    let plan = layout.plan(Artifact::FullIso, &customization(None, Some(&[&longest]))).unwrap();
    let bytes = collect(&plan, &image.bytes);
    let now = embedded(&bytes, &layout).unwrap().kernel_arguments.unwrap().current;
    assert_eq!(now, format!("{ARGUMENTS} {longest}"));

    let longer = customization(None, Some(&[&longest, ""]));
    let refused = layout.plan(Artifact::FullIso, &longer).unwrap_err();
    assert_eq!(refused, PlanError::KernelArgumentsTooLong { len: room + 1, room });
    assert!(refused.is_callers_fault());
    assert_eq!(
        refused.to_string(),
        "the kernel arguments are too long: they have 300 bytes, but this image has room for 299"
    );

    let too_large = customization(Some(&noise(IGNITION_AREA)), None);
    let len = too_large.ignition.as_ref().unwrap().len();
    let refused = layout.plan(Artifact::FullIso, &too_large).unwrap_err();
    assert_eq!(refused, PlanError::IgnitionTooLarge { len, area: IGNITION_AREA as u64 });
}

#[test]
fn a_full_area_takes_no_arguments_but_stays_whole() {
    let full = format!("{ARGUMENTS}{}", "y".repeat(FILLING));
    let iso = Iso::coreos()
        .falsified("EFI/redhat/grub.cfg", format!("timeout=1\nlinux /vmlinuz {full}\n").as_bytes())
        .falsified("isolinux/isolinux.cfg", format!("linux /vmlinuz {full}\n").as_bytes());
    let layout = Layout::read(&iso.build().bytes).unwrap();
    let refused = layout.plan(Artifact::FullIso, &customization(None, Some(&[])));
    assert_eq!(refused, Err(PlanError::KernelArgumentsTooLong { len: 0, room: 0 }));
}

#[test]
fn overlays_stay_within_the_plan_and_apart() {
    let segment = |len| [Segment::Zeros(len)];
    let plan = base(100).overlay(10, segment(10)).unwrap();
    for offset in [1, 10, 15, 19] {
        let refused = plan.clone().overlay(offset, segment(10));
        assert_eq!(refused, Err(PlanError::OverlappingOverlays { offset, len: 10 }));
    }
    for (offset, len) in [(91, 10), (101, 0), (u64::MAX, 1)] {
        let refused = plan.clone().overlay(offset, segment(len));
        assert_eq!(refused, Err(PlanError::OverlayBeyondEnd { offset, len, end: 100 }));
    }
    let endless = [Segment::Zeros(u64::MAX), Segment::Zeros(2)];
    assert!(plan.clone().overlay(0, endless).is_err());
    for offset in [0, 20, 90] {
        assert!(plan.clone().overlay(offset, segment(10)).is_ok(), "{offset}");
    }
    assert_eq!(plan.clone().overlay(20, segment(0)), Ok(plan));
}

#[test]
fn slices_share_what_they_are_taken_from() {
    let inline = Bytes::from_static(b"0123456789");
    let plan = base(30).overlay(10, [Segment::Bytes(inline.clone())]).unwrap();
    let slice: Vec<_> = plan.slice(5..15).into_segments().collect();
    assert_eq!(slice, [Segment::Base(Extent { offset: 5, len: 5 }), Segment::Bytes(inline.slice(..5))]);
    let Some(Segment::Bytes(part)) = slice.last() else { panic!("the last segment is inline") };
    assert_eq!(part.as_ptr(), inline.as_ptr());
}

#[test]
fn a_ramdisk_follows_the_ignition_config_in_its_area() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    let area = layout.ignition_area().unwrap().extent();
    let mut customization = customization(Some(b"{}"), None);
    let archive = customization.ignition.clone().unwrap();
    let room = area.len - archive.len();
    customization.ramdisk = Some(Ramdisk::new(noise(room.try_into().unwrap()).into()));
    let bytes = collect(&layout.plan(Artifact::FullIso, &customization).unwrap(), &image.bytes);
    let embedded = &bytes[image.offset("images/ignition.img")..][..IGNITION_AREA];
    assert_eq!(embedded, [archive.as_bytes(), &noise(room.try_into().unwrap())[..]].concat());

    let len = room + 1;
    customization.ramdisk = Some(Ramdisk::new(noise(len.try_into().unwrap()).into()));
    let refused = layout.plan(Artifact::FullIso, &customization).unwrap_err();
    assert_eq!(refused, PlanError::RamdiskTooLarge { len, room });
    assert!(refused.is_callers_fault());
}

#[test]
fn debug_output_discloses_nothing() {
    let image = Iso::coreos().build();
    let layout = Layout::read(&image.bytes).unwrap();
    let customization = customization(Some(b"hunter2"), Some(&["hunter2"]));
    let plan = layout.plan(Artifact::FullIso, &customization).unwrap();
    let bytes = collect(&plan, &image.bytes);
    let files = embedded(&bytes, &layout).unwrap().files;
    assert!(!format!("{customization:?}{plan:?}{files:?}").contains("hunter2"));
}

/// Overlays that do not touch: how much to skip before each, and what to put there.
fn overlays() -> impl Strategy<Value = Vec<(u64, Vec<Segment>)>> {
    let segment = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Segment::Bytes(bytes.into())),
        (0..40_u64).prop_map(Segment::Zeros),
        (0..2000_u64, 0..40_u64).prop_map(|(offset, len)| Segment::Base(Extent { offset, len })),
        (0..2000_u64, 0..40_u64).prop_map(|(offset, len)| Segment::Nmstate(Extent { offset, len })),
    ];
    prop::collection::vec((0..100_u64, prop::collection::vec(segment, 0..4)), 0..8)
}

static ERAS: LazyLock<Vec<(Era, Image)>> = LazyLock::new(|| {
    let built = |era: Era| {
        let image = era.iso.build();
        (era, image)
    };
    eras::all().into_iter().map(built).collect()
});

proptest! {
    #[test]
    fn a_plan_is_its_base_with_the_overlays_written_over_it(
        overlays in overlays(),
        order in any::<prop::sample::Index>(),
        ranges in prop::collection::vec((0..2200_u64, 0..2200_u64), 1..20),
    ) {
        let image = noise(2048);
        let mut expected = image[24..2024].to_vec();
        let mut placed = Vec::new();
        let mut at = 0;
        for (skipped, segments) in overlays {
            at += skipped;
            let start = at;
            for segment in &segments {
                let (from, to) = (usize::try_from(at).unwrap(), usize::try_from(at + segment.len()).unwrap());
                match segment {
                    Segment::Bytes(bytes) => expected[from..to].copy_from_slice(bytes),
                    Segment::Zeros(_) => expected[from..to].fill(0),
                    Segment::Base(extent) => {
                        let source = usize::try_from(extent.offset).unwrap();
                        expected[from..to].copy_from_slice(&image[source..source + to - from]);
                    }
                    Segment::Nmstate(extent) => {
                        let source = usize::try_from(extent.offset).unwrap();
                        expected[from..to].copy_from_slice(&nmstate()[source..source + to - from]);
                    }
                }
                at += segment.len();
            }
            placed.push((start, segments));
        }
        if !placed.is_empty() {
            let middle = order.index(placed.len());
            placed.rotate_left(middle);
        }
        let mut plan = Plan::base(Extent { offset: 24, len: 2000 });
        for (offset, segments) in placed {
            plan = plan.overlay(offset, segments).unwrap();
        }
        prop_assert_eq!(collect(&plan, &image), &expected[..]);
        for (from, to) in ranges {
            let slice = plan.slice(from..to);
            prop_assert_eq!(collect(&slice, &image), clamp(&expected, from..to));
            prop_assert_eq!(collect(&slice.slice(1..50), &image), clamp(clamp(&expected, from..to), 1..50));
        }
    }

    #[test]
    fn any_range_of_a_customised_iso_is_that_range_of_the_whole(
        era in any::<prop::sample::Index>(),
        ignition in prop::option::of(prop::collection::vec(any::<u8>(), 0..2500)),
        ramdisk in prop::option::of(prop::collection::vec(any::<u8>(), 0..500)),
        arguments in prop::option::of(prop::collection::vec("[!-~]{0,20}", 0..10)),
        ranges in prop::collection::vec((any::<prop::sample::Index>(), 0..5 * BLOCK as u64), 1..20),
    ) {
        let (era, image) = era.get(&ERAS);
        let layout = Layout::read(&image.bytes).unwrap();
        let customization = Customization {
            ignition: ignition
                .filter(|_| era.ignition.is_some())
                .map(|config| IgnitionArchive::new(&config).unwrap()),
            ramdisk: ramdisk.filter(|_| era.ignition.is_some()).map(|ramdisk| Ramdisk::new(ramdisk.into())),
            kernel_arguments: arguments
                .filter(|_| era.kernel_arguments.is_some())
                .map(|arguments| KernelArguments::new(arguments).unwrap()),
            ..Customization::default()
        };
        let plan = layout.plan(Artifact::FullIso, &customization).unwrap();
        let expected = naive_in(era, image, &customization);
        prop_assert!(collect(&plan, &image.bytes) == expected, "{}", era.name);
        for (from, len) in ranges {
            let from = from.index(expected.len()) as u64;
            prop_assert!(collect(&plan.slice(from..from + len), &image.bytes) == clamp(&expected, from..from + len));
        }
    }
}
