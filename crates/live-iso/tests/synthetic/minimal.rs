use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use live_iso::{
    Customization, Extent, KernelArguments, Layout, MinimalIso, Plan, PlanError, Ramdisk, ReadAt, Volume,
};
use proptest::prelude::*;

use crate::iso::{ARGUMENTS, BLOCK, FILLING, Iso, Names, noise};

const NMSTATE: &[u8] = b"an archive";

/// A live ISO with one boot loader, GRUB.
fn iso() -> Iso {
    let grub = format!(
        "timeout=1\nlinux /vmlinuz {ARGUMENTS}\n{}# COREOS_KARG_EMBED_AREA\ninitrd /initrd.img /ignition.img\n",
        "#".repeat(FILLING)
    );
    let kargs = serde_json::json!({
        "default": ARGUMENTS,
        "files": [{"path": "EFI/redhat/grub.cfg", "offset": 25}],
        "size": ARGUMENTS.len() + 1 + FILLING,
    });
    Iso::coreos()
        .without("isolinux/isolinux.cfg")
        .file("EFI/redhat/grub.cfg", grub.as_bytes())
        .file("coreos/kargs.json", kargs.to_string().as_bytes())
}

fn minimal(iso: &impl ReadAt) -> Result<MinimalIso, PlanError> {
    Layout::read(iso).unwrap().minimal(&"http://a/b".parse().unwrap(), Some(NMSTATE.len() as u64))
}

fn refused(iso: &Iso) -> String {
    minimal(&iso.build().bytes).unwrap_err().to_string()
}

/// What a plan makes, read where it is asked for.
struct Planned<'a, R> {
    plan: Plan,
    iso: &'a R,
}

impl<R: ReadAt> ReadAt for Planned<'_, R> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut out = Vec::new();
        self.plan.slice(offset..offset + buf.len() as u64).write_to(self.iso, NMSTATE, &mut out)?;
        buf.copy_from_slice(out.get(..buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.plan.len())
    }
}

fn planned<R: ReadAt>(iso: &R) -> Planned<'_, R> {
    Planned { plan: minimal(iso).unwrap().plan(&Customization::default()).unwrap(), iso }
}

fn content(iso: &impl ReadAt, extent: Extent) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(extent.len).unwrap()];
    iso.read_exact_at(&mut bytes, extent.offset).unwrap();
    bytes
}

fn contents(iso: &impl ReadAt) -> BTreeMap<String, Vec<u8>> {
    let volume = Volume::read(iso).unwrap();
    volume.files().map(|file| (file.path().to_owned(), content(iso, file.extent().unwrap()))).collect()
}

#[test]
fn files_are_found_whatever_their_names_are_written_in() {
    for names in [Names::RockRidge, Names::IsoOnly, Names::Continued] {
        let image = iso().names(names).build();
        let planned = planned(&image.bytes);
        let volume = Volume::read(&planned).unwrap();
        let read = |path: &str| content(&planned, volume.find(path).unwrap().extent().unwrap());
        assert_eq!(read("images/pxeboot/vmlinuz"), noise(3000));
        assert_eq!(read("images/pxeboot/initrd.img"), noise(5000));
        assert_eq!(read("images/assisted_installer_custom.img"), vec![0; 1 << 20]);
        assert_eq!(read("images/nmstate.img"), NMSTATE);
        assert!(volume.find("images/pxeboot/rootfs.img").is_none());
        let grub = String::from_utf8(read("EFI/redhat/grub.cfg")).unwrap();
        let expected = ARGUMENTS.replace("coreos.liveiso=rhcos-418.94.202511191518-0 ", "");
        assert!(
            grub.contains(&format!("linux /vmlinuz {expected} coreos.live.rootfs_url=\"http://a/b\"\n###")),
            "{grub}"
        );
        let images = "/ignition.img /images/assisted_installer_custom.img /images/nmstate.img\n";
        assert!(grub.ends_with(images), "{grub}");
    }
}

#[test]
fn a_name_that_is_taken_is_given_another_way() {
    let image = iso().names(Names::IsoOnly).file("images/assisted.img", b"other").build();
    let planned = planned(&image.bytes);
    let names: Vec<_> = contents(&planned).into_keys().filter(|path| path.starts_with("IMAGES/A")).collect();
    assert_eq!(names, ["IMAGES/ASSIS000.IMG", "IMAGES/ASSISTED.IMG"]);
}

#[test]
fn a_root_file_system_in_several_pieces_goes_whole() {
    let rootfs = noise(3 * BLOCK + 5);
    let extents = rootfs.chunks(BLOCK).map(<[u8]>::to_vec).collect();
    let image = iso().extents("images/pxeboot/rootfs.img", extents, 0).build();
    let planned = planned(&image.bytes);
    assert!(!contents(&planned).contains_key("images/pxeboot/rootfs.img"));
    let gone = 4 * BLOCK as u64;
    let come = (1 << 20) + BLOCK as u64;
    assert_eq!(planned.plan.len(), image.bytes.len() as u64 - gone + come);
}

/// An ISO of which only some blocks are written.
struct Sparse {
    size: u64,
    parts: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Sparse {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        buf.fill(0);
        for (start, part) in &self.parts {
            for (byte, at) in buf.iter_mut().zip(offset..) {
                let written = at.checked_sub(*start).and_then(|at| part.get(usize::try_from(at).unwrap()));
                *byte = written.copied().unwrap_or(*byte);
            }
        }
        if offset + buf.len() as u64 > self.size { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

#[test]
fn files_beyond_4_gib_move_too() {
    let (block, blocks) = (3_000_000, 3_000_100);
    let mut image = iso().build();
    image.relocate("images/pxeboot/vmlinuz", block);
    image.set_space_size(blocks);
    let kernel = (u64::from(block) * BLOCK as u64, noise(3000));
    let size = u64::from(blocks) * BLOCK as u64;
    let sparse = Sparse { size, parts: vec![(0, image.bytes.clone()), kernel] };

    let planned = planned(&sparse);
    let volume = Volume::read(&planned).unwrap();
    let moved = volume.find("images/pxeboot/vmlinuz").unwrap().extent().unwrap();
    assert!(moved.offset > u64::from(u32::MAX));
    assert!(content(&planned, moved) == noise(3000));
    assert_eq!(volume.space_size(), planned.plan.len());
}

#[test]
fn an_image_without_a_boot_loader_or_with_half_a_one_is_refused() {
    let reason = refused(&iso().without("EFI/redhat/grub.cfg").without("coreos/kargs.json"));
    assert!(reason.ends_with("it is not known where its boot loader has the kernel arguments"), "{reason}");
    let grub = format!("linux /vmlinuz {ARGUMENTS}\n");
    let reason = refused(&iso().without("coreos/kargs.json").file("EFI/redhat/grub.cfg", grub.as_bytes()));
    assert!(
        reason.ends_with("EFI/redhat/grub.cfg is malformed: it starts a kernel without an initramfs"),
        "{reason}"
    );
}

/// It would boot with the one boot loader, and not with the other.
#[test]
fn a_configuration_that_is_not_understood_is_refused() {
    let on_one_line = b"menuentry x { linux /images/pxeboot/vmlinuz a coreos.liveiso=x ; initrd /i ; }\n";
    for path in ["EFI/BOOT/grub.cfg", "boot/grub2/grub.cfg", "EFI/BOOT/BOOT.conf", "isolinux/other.cfg"] {
        for text in [&on_one_line[..], b"kernel=/images/pxeboot/vmlinuz\n", b"\xffappend coreos.liveiso=x\n"]
        {
            if path == "EFI/BOOT/grub.cfg" && text.starts_with(b"\xff") {
                continue;
            }
            for names in [Names::RockRidge, Names::IsoOnly] {
                let reason = refused(&iso().names(names).file(path, text));
                assert!(
                    reason.ends_with("is malformed: it starts a kernel in a way that is not understood"),
                    "{path}: {reason}"
                );
            }
        }
        for text in ["configfile /EFI/redhat/grub.cfg\n", "# kernel /images/pxeboot/vmlinuz\n"] {
            assert!(minimal(&iso().file(path, text.as_bytes()).build().bytes).is_ok(), "{path}");
        }
    }
}

/// With that boot loader the network configuration would not be loaded.
#[test]
fn an_area_in_a_file_that_is_no_known_configuration_is_refused() {
    let other = format!("x {ARGUMENTS}\n{}\n", "#".repeat(FILLING));
    let kargs = serde_json::json!({
        "default": ARGUMENTS,
        "files": [{"path": "EFI/redhat/grub.cfg", "offset": 25}, {"path": "boot/entry", "offset": 2}],
        "size": ARGUMENTS.len() + 1 + FILLING,
    });
    let iso =
        iso().file("boot/entry", other.as_bytes()).file("coreos/kargs.json", kargs.to_string().as_bytes());
    let reason = refused(&iso);
    let expected =
        "the area for kernel arguments in \"boot/entry\" is in no configuration that loads further images";
    assert!(reason.ends_with(expected), "{reason}");
}

#[test]
fn without_areas_the_commands_themselves_are_edited() {
    let grub = format!("linux /vmlinuz {ARGUMENTS}\ninitrd /initrd.img\n");
    let image = iso().without("coreos/kargs.json").file("EFI/redhat/grub.cfg", grub.as_bytes()).build();
    let grub =
        String::from_utf8(contents(&planned(&image.bytes)).remove("EFI/redhat/grub.cfg").unwrap()).unwrap();
    assert!(grub.contains("ignition.platform.id=metal coreos.live.rootfs_url=\"http://a/b\"\n"), "{grub}");
    let kernel_arguments = Some(KernelArguments::default());
    let refused =
        minimal(&image.bytes).unwrap().plan(&Customization { kernel_arguments, ..Customization::default() });
    assert_eq!(refused, Err(PlanError::NoKernelArgumentArea));
}

/// As go-diskfs writes them.
#[test]
fn a_directory_of_no_whole_blocks_may_lose_one_entry_and_get_another() {
    let mut image = iso().file("images/x", b"x").build();
    let (directory, rootfs) = (image.offset("images"), image.offset("images/pxeboot/rootfs.img"));
    let mut len = 0;
    while image.bytes[directory + len] > 0 {
        len += usize::from(image.bytes[directory + len]);
    }
    image.resize("images", u32::try_from(len).unwrap());
    image.relocate("images/x", u32::try_from(rootfs / BLOCK).unwrap());
    image.resize("images/x", 7001);

    let minimal = Layout::read(&image.bytes).unwrap().minimal(&"http://a/b".parse().unwrap(), None).unwrap();
    let planned = Planned { plan: minimal.plan(&Customization::default()).unwrap(), iso: &image.bytes };
    let found: Vec<_> = contents(&planned).into_keys().filter(|path| path.starts_with("images/")).collect();
    let expected = ["assisted_installer_custom.img", "ignition.img", "pxeboot/initrd.img", "pxeboot/vmlinuz"];
    assert_eq!(found, expected.map(|name| format!("images/{name}")));
}

#[test]
fn files_that_share_blocks_with_what_changes_are_refused() {
    for with in ["images/pxeboot/rootfs.img", "coreos/kargs.json"] {
        let mut image = iso().file("zz/other", b"other").build();
        let block = u32::try_from(image.offset(with) / BLOCK).unwrap();
        image.relocate("zz/other", block);
        image.resize("zz/other", u32::try_from(5 * BLOCK).unwrap());
        let refused = minimal(&image.bytes).unwrap_err();
        assert!(matches!(refused, PlanError::NoMinimalIso { .. }), "{refused}");
    }
}

#[test]
fn an_image_with_too_large_a_head_is_served_otherwise() {
    let mut image = iso().build();
    // A directory of 2 MiB, all of it zeros but for the start.
    let from = image.bytes.len();
    let directory = image.offset("coreos");
    let block = image.bytes[directory..directory + BLOCK].to_vec();
    image.bytes.extend(block);
    image.bytes.resize(from + (2 << 20), 0);
    image.relocate("coreos", u32::try_from(from / BLOCK).unwrap());
    image.resize("coreos", 2 << 20);
    let layout = Layout::read(&image.bytes).unwrap();
    assert!(layout.plan(live_iso::Artifact::FullIso, &Customization::default()).is_ok());
    let refused = minimal(&image.bytes).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no minimal ISO can be made of this image: the volume holds more than 1048576 bytes of directories and path tables"
    );
}

#[test]
fn debug_output_discloses_nothing() {
    let image = iso().build();
    let minimal = minimal(&image.bytes).unwrap();
    let ramdisk = Some(Ramdisk::new(b"hunter2".to_vec().into()));
    let plan = minimal.plan(&Customization { ramdisk, ..Customization::default() }).unwrap();
    assert!(!format!("{minimal:?}{plan:?}").contains("hunter2"));
}

/// Other files: where, and what of.
fn others() -> impl Strategy<Value = BTreeMap<String, Vec<Vec<u8>>>> {
    let directory = prop::sample::select(vec!["images", "coreos", "images/pxeboot", "zz", "EFI", "a/b/c"]);
    let extents = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..5000).prop_map(|bytes| vec![bytes]),
        // Several extents adjoin one another if all but the last fill their blocks.
        (1..4_usize, 1..3000_usize).prop_map(|(blocks, rest)| {
            let mut extents: Vec<_> = (0..blocks).map(|number| noise(BLOCK * (number + 1))).collect();
            extents.push(noise(rest));
            extents
        }),
    ];
    prop::collection::btree_map(
        (directory, "[a-z]{1,7}x").prop_map(|(at, name)| format!("{at}/{name}")),
        extents,
        0..12,
    )
}

fn index(range: Range<u64>) -> Range<usize> {
    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(others in others(), rock_ridge in any::<bool>()) {
        let mut iso = iso().names(if rock_ridge { Names::RockRidge } else { Names::Continued });
        for (path, extents) in others {
            iso = iso.extents(&path, extents, 0);
        }
        let image = iso.build();
        let planned = planned(&image.bytes);
        let mut expected = contents(&image.bytes);
        let mut found = contents(&planned);
        expected.remove("images/pxeboot/rootfs.img");
        for path in ["EFI/redhat/grub.cfg", "coreos/kargs.json"] {
            prop_assert!(expected.remove(path).unwrap() != found.remove(path).unwrap());
        }
        prop_assert!(found.remove("images/assisted_installer_custom.img").is_some());
        prop_assert!(found.remove("images/nmstate.img").is_some());
        prop_assert!(found == expected);
    }

    /// An ISO that lies is refused, or makes an image of bytes that are there.
    #[test]
    fn no_lie_makes_it_reach_beyond_the_iso(
        lies in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        continued in any::<bool>(),
    ) {
        let mut image = iso().names(if continued { Names::Continued } else { Names::RockRidge }).build();
        let head = index(16 * BLOCK as u64..image.offset("EFI/redhat/grub.cfg") as u64);
        for (at, byte) in lies {
            let at = head.start + at.index(head.len());
            image.bytes[at] = byte;
        }
        if let Ok(layout) = Layout::read(&image.bytes)
            && let Ok(minimal) = layout.minimal(&"http://a/b".parse().unwrap(), None)
        {
            let mut out = Vec::new();
            minimal.plan(&Customization::default()).unwrap().write_to(&image.bytes, &[][..], &mut out).unwrap();
            prop_assert_eq!(out.len() as u64, minimal.size());
        }
    }
}
