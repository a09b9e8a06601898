use std::collections::BTreeSet;
use std::fs::{self, File};

use live_iso::{
    Customization, IgnitionArchive, KernelArguments, Layout, PlanError, Ramdisk, RootfsUrl, Segment, Volume,
};

use crate::judges::{
    CONFIG, NMSTATE, Names, Pair, URL, config, coreos_installer, fixture, listing, map, read_at, xorriso,
};

/// One per generation, distribution and architecture of which a minimal image can be made.
const FIXTURES: [&str; 13] = [
    "x86_64",
    "aarch64",
    "s390x",
    "ppc64le",
    "fcos",
    "scos",
    "rhel10",
    "4.6",
    "4.7",
    "4.9",
    "4.11",
    "4.13",
    "s390x-kernel.img",
];
/// Those of which coreos-installer knows the areas for kernel arguments.
const WITH_KARGS: [&str; 12] = [
    "x86_64",
    "aarch64",
    "s390x",
    "ppc64le",
    "fcos",
    "scos",
    "rhel10",
    "4.7",
    "4.9",
    "4.11",
    "4.13",
    "s390x-kernel.img",
];
const RAMDISK: &str = "images/assisted_installer_custom.img";
const NMSTATE_IMAGE: &str = "images/nmstate.img";

fn is_edited(path: &str) -> bool {
    path.ends_with("/grub.cfg")
        || ["isolinux/isolinux.cfg", "coreos/kargs.json", ".cmdline", "images/cdboot.img"].contains(&path)
}

fn customization(ramdisk: &[u8]) -> Customization {
    Customization {
        ignition: Some(IgnitionArchive::new(CONFIG.as_bytes()).unwrap()),
        ramdisk: Some(Ramdisk::new(ramdisk.to_vec().into())),
        ..Customization::default()
    }
}

#[test]
fn all_but_the_root_file_system_is_there() {
    for name in FIXTURES {
        let pair = Pair::of(&fixture(name));
        let file = pair.write(&Customization::default());
        let minimal = File::open(file.path()).unwrap();
        let (before, after) = (Volume::read(&pair.iso).unwrap(), Volume::read(&minimal).unwrap());
        assert_eq!(after.volume_id(), before.volume_id());
        assert_eq!(after.volume_set_id(), before.volume_set_id());
        assert_eq!(after.created(), before.created());
        assert!(after.space_size() <= pair.minimal.size());

        let mut expected: BTreeSet<_> = before.files().map(|file| file.path().to_owned()).collect();
        assert!(expected.remove("images/pxeboot/rootfs.img"), "{name}");
        expected.remove("coreos/miniso.dat");
        if pair.has_nmstate {
            expected.extend([RAMDISK.to_owned(), NMSTATE_IMAGE.to_owned()]);
        }
        let files = map(listing(file.path(), Names::RockRidge));
        assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), expected, "{name}");
        for ours in after.files() {
            assert_eq!(ours.extent().unwrap(), files[ours.path()], "{name}: {}", ours.path());
            let bytes = read_at(&minimal, files[ours.path()]);
            let old = before.find(ours.path()).map(|old| read_at(&pair.iso, old.extent().unwrap()));
            match (ours.path(), old) {
                (RAMDISK, None) => assert!(bytes.len() == 1 << 20 && bytes.iter().all(|byte| *byte == 0)),
                (NMSTATE_IMAGE, None) => assert!(bytes == NMSTATE),
                // These name their own place, or that of boot images.
                ("isolinux/isolinux.bin", Some(old)) => {
                    assert!(bytes[16..] == old[16..] && bytes[..12] == old[..12], "{name}");
                    assert_eq!(
                        bytes[12..16],
                        (u32::try_from(ours.extent().unwrap().offset / 2048).unwrap()).to_le_bytes()
                    );
                }
                ("isolinux/boot.cat" | "boot.catalog", Some(old)) => assert_eq!(bytes.len(), old.len()),
                (path, Some(old)) => assert_eq!(bytes == old, !is_edited(path), "{name}: {path}"),
                (path, None) => panic!("{name}: {path} came from nowhere"),
            }
        }
    }
}

#[test]
fn other_trees_name_the_same_files() {
    for name in FIXTURES {
        let pair = Pair::of(&fixture(name));
        let file = pair.write(&Customization::default());
        let extents = |names| {
            let mut extents: Vec<_> =
                listing(file.path(), names).into_iter().map(|(_, extent)| extent).collect();
            extents.sort();
            extents
        };
        assert_eq!(extents(Names::Iso), extents(Names::RockRidge), "{name}");
        let short = listing(file.path(), Names::Iso);
        let in_images: Vec<_> = short
            .iter()
            .filter_map(|(path, _)| path.strip_prefix("IMAGES/"))
            .filter(|name| !name.contains('/'))
            .collect();
        assert!(in_images.is_sorted(), "{name}: {in_images:?}");
        if pair.has_nmstate {
            assert!(in_images.contains(&"ASSISTED.IMG;1") && in_images.contains(&"NMSTATE.IMG;1"), "{name}");
        }
        let has_joliet = name != "ppc64le";
        if has_joliet {
            assert_eq!(
                map(listing(file.path(), Names::Joliet)),
                map(listing(file.path(), Names::RockRidge)),
                "{name}"
            );
        }
    }
}

#[test]
fn xorriso_has_nothing_to_complain_of() {
    for name in FIXTURES {
        let pair = Pair::of(&fixture(name));
        let file = pair.write(&Customization::default());
        let (before, after) = (xorriso(&pair.path), xorriso(file.path()));
        let lines = |report: &str, about: &str| -> Vec<String> {
            report.lines().filter(|line| line.starts_with(about)).map(str::to_owned).collect()
        };
        // Number, platform, emulation and load size of each boot image, and their paths.
        let without_location = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| line.rsplit_once(' ').unwrap().0.trim_end().to_owned()).collect()
        };
        let images = |report| without_location(lines(report, "El Torito boot img"));
        assert_eq!(images(&after), images(&before), "{name}");
        for about in ["El Torito cat path", "El Torito img path", "El Torito img opts", "Volume id"] {
            assert_eq!(lines(&after, about), lines(&before, about), "{name}");
        }
        if name != "ppc64le" {
            assert_eq!(lines(&after, "Boot record"), lines(&before, "Boot record"), "{name}");
        }
        // Modes, owners and dates are as they were, and the new files have their neighbours'.
        let attributes = |report: &str| -> BTreeSet<(String, String)> {
            let lines = report.lines().filter(|line| line.ends_with('\''));
            let lines = lines.filter(|line| line.starts_with(['-', 'd', 'e']));
            let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            lines
                .map(words)
                .map(|words| (words.last().unwrap().clone(), [&words[..4], &words[5..8]].concat().join(" ")))
                .collect()
        };
        let (before, after) = (attributes(&before), attributes(&after));
        let ignition = before.iter().find(|(path, _)| path == "'/images/ignition.img'");
        for (path, attributes) in &after {
            if path.contains(RAMDISK) || path.contains(NMSTATE_IMAGE) {
                assert_eq!(attributes, &ignition.unwrap().1, "{name}: {path}");
            } else {
                assert!(before.contains(&(path.clone(), attributes.clone())), "{name}: {path} {attributes}");
            }
        }
        assert!(after.len() > 10, "{name}");
    }
}

#[test]
fn coreos_installer_knows_the_areas() {
    for name in WITH_KARGS {
        let pair = Pair::of(&fixture(name));
        let default = coreos_installer(&["kargs", "show"], &pair.path);
        let kept: Vec<_> =
            default.split_whitespace().filter(|word| !word.starts_with("coreos.liveiso=")).collect();
        let expected = format!("{} coreos.live.rootfs_url=\"{URL}\"\n", kept.join(" "));

        let file = pair.write(&Customization::default());
        assert_eq!(coreos_installer(&["kargs", "show"], file.path()), expected, "{name}");
        assert_eq!(coreos_installer(&["kargs", "show", "--default"], file.path()), expected, "{name}");

        let arguments = ["p1", "p2=x"].map(str::to_owned);
        let wishes = Customization {
            kernel_arguments: Some(KernelArguments::new(arguments).unwrap()),
            ..customization(b"")
        };
        let custom = pair.write(&wishes);
        assert_eq!(
            coreos_installer(&["kargs", "show"], custom.path()),
            format!("{} p1 p2=x\n", expected.trim_end()),
            "{name}"
        );
        assert_eq!(coreos_installer(&["ignition", "show"], custom.path()), CONFIG, "{name}");

        // And it can take back what we wrote, and write itself.
        coreos_installer(&["kargs", "reset"], custom.path());
        coreos_installer(&["ignition", "remove"], custom.path());
        assert!(fs::read(custom.path()).unwrap() == fs::read(file.path()).unwrap(), "{name}");
        let config = config();
        coreos_installer(&["ignition", "embed", "-i", config.path().to_str().unwrap()], custom.path());
        assert_eq!(coreos_installer(&["ignition", "show"], custom.path()), CONFIG, "{name}");
        coreos_installer(&["kargs", "modify", "--append", "quiet"], custom.path());
        assert_eq!(
            coreos_installer(&["kargs", "show"], custom.path()),
            format!("{} quiet\n", expected.trim_end()),
            "{name}"
        );
    }
}

/// What the first releases had in the system area leads to the Ignition area that moved.
#[test]
fn headers_of_old_images_are_true() {
    for name in ["4.6", "4.7", "4.9"] {
        let pair = Pair::of(&fixture(name));
        let wishes = Customization { ramdisk: None, ..customization(b"") };
        let custom = pair.write(&wishes);
        assert_eq!(coreos_installer(&["ignition", "show"], custom.path()), CONFIG, "{name}");
        let minimal = File::open(custom.path()).unwrap();
        let system_area = read_at(&minimal, live_iso::Extent { offset: 32_744, len: 24 });
        assert!(system_area.starts_with(b"coreiso+"), "{name}");
        let ignition = map(listing(custom.path(), Names::RockRidge))["images/ignition.img"];
        assert_eq!(system_area[8..16], ignition.offset.to_le_bytes(), "{name}");
    }
}

#[test]
fn boot_loaders_load_what_was_added() {
    for name in FIXTURES {
        let pair = Pair::of(&fixture(name));
        let file = pair.write(&Customization::default());
        let minimal = File::open(file.path()).unwrap();
        let mut edited = 0;
        for (path, extent) in listing(file.path(), Names::RockRidge) {
            let separator = match path.as_str() {
                "isolinux/isolinux.cfg" => ",",
                path if path.ends_with("/grub.cfg") => " ",
                _ => continue,
            };
            let text = String::from_utf8(read_at(&minimal, extent)).unwrap();
            let images = [
                "/images/pxeboot/initrd.img",
                "/images/ignition.img",
                "/images/assisted_installer_custom.img",
                "/images/nmstate.img",
            ];
            assert!(text.contains(&images.join(separator)), "{name}: {text}");
            assert!(!text.contains("coreos.liveiso"), "{name}: {text}");
            assert!(text.contains(&format!(" coreos.live.rootfs_url=\"{URL}\"\n")), "{name}: {text}");
            edited += 1;
        }
        assert_eq!(
            edited,
            match name {
                "ppc64le" => 1,
                s390x if s390x.starts_with("s390x") => 0,
                _ => 2,
            },
            "{name}"
        );
    }
}

#[test]
fn a_request_changes_only_its_areas() {
    for name in ["x86_64", "aarch64", "s390x"] {
        let pair = Pair::of(&fixture(name));
        let plain = fs::read(pair.write(&Customization::default()).path()).unwrap();
        let ramdisk = vec![0xc5; 4321];
        let file = pair.write(&customization(&ramdisk));
        let mut custom = fs::read(file.path()).unwrap();

        let files = map(listing(file.path(), Names::RockRidge));
        let archive = IgnitionArchive::new(CONFIG.as_bytes()).unwrap();
        let mut take_back = |at: u64, bytes: &[u8]| {
            let at = usize::try_from(at).unwrap();
            assert!(custom[at..at + bytes.len()] == *bytes, "{name}");
            custom[at..at + bytes.len()].fill(0);
        };
        if name == "s390x" {
            // One area for both: the last 256 KiB of what is booted.
            let area = files["images/cdboot.img"].end().unwrap() - (256 << 10);
            take_back(area, archive.as_bytes());
            take_back(area + archive.len(), &ramdisk);
        } else {
            take_back(files["images/ignition.img"].offset, archive.as_bytes());
            take_back(files[RAMDISK].offset, &ramdisk);
        }
        assert!(custom == plain, "{name}");
    }
}

#[test]
fn the_same_wishes_make_the_same_bytes() {
    let pair = Pair::of(&fixture("x86_64"));
    let again = Pair::of(&fixture("x86_64"));
    let wishes = customization(b"ramdisk");
    let plan = pair.minimal.plan(&wishes).unwrap();
    assert_eq!(plan, again.minimal.plan(&wishes).unwrap());
    assert!(plan.segments().any(|segment| matches!(segment, Segment::Nmstate(_))));

    let whole = fs::read(pair.write(&wishes).path()).unwrap();
    for from in [0, 100, 32_768, 70_000, plan.len() / 2, plan.len() - 600_000, plan.len() - 1] {
        for len in [1, 5000, 2_000_000] {
            let mut part = Vec::new();
            plan.slice(from..from + len).write_to(&pair.iso, NMSTATE, &mut part).unwrap();
            let to = (from + len).min(plan.len());
            assert!(
                part == whole[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()],
                "{len} at {from}"
            );
        }
    }
}

/// What fits into the area for kernel arguments of the ISO fits into that of the minimal image.
#[test]
fn kernel_arguments_have_as_much_room_as_before() {
    for name in ["x86_64", "aarch64", "ppc64le", "4.9"] {
        let pair = Pair::of(&fixture(name));
        let area = &pair.layout.kernel_argument_areas().unwrap().areas()[0];
        let room = usize::try_from(area.extent().len).unwrap() - area.arguments().len() - 2;
        let arguments = |len| Customization {
            kernel_arguments: Some(KernelArguments::new(["x".repeat(len)]).unwrap()),
            ..Customization::default()
        };
        let file = pair.write(&arguments(room));
        assert!(
            coreos_installer(&["kargs", "show"], file.path()).ends_with(&format!(" {}\n", "x".repeat(room)))
        );
        let refused = pair.minimal.plan(&arguments(room + 1)).unwrap_err();
        assert_eq!(refused, PlanError::KernelArgumentsTooLong { len: room + 1, room }, "{name}");
    }
}

#[test]
fn a_long_url_takes_from_the_room() {
    for name in ["x86_64", "s390x"] {
        let iso = File::open(fixture(name)).unwrap();
        let layout = Layout::read(&iso).unwrap();
        let url = |len: usize| format!("http://{}", "a".repeat(len - 7)).parse::<RootfsUrl>().unwrap();
        let refused = layout.minimal(&url(1000), None);
        let longest = match refused {
            Ok(_) => 1000,
            Err(PlanError::RootfsUrlTooLong { len: 1000, room }) => room,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(longest < 1000, name == "s390x");
        let minimal = layout.minimal(&url(longest), None).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        minimal.plan(&Customization::default()).unwrap().write_to(&iso, &[][..], &mut file).unwrap();
        let shown = coreos_installer(&["kargs", "show", "--default"], file.path());
        assert!(shown.contains(url(longest).as_str()), "{name}: {shown}");
        if longest < 1000 {
            assert!(layout.minimal(&url(longest + 1), None).is_err());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let pair = Pair::of(&fixture("x86_64"));
    let room = 1 << 20;
    assert!(pair.minimal.plan(&customization(&vec![1; room])).is_ok());
    let refused = pair.minimal.plan(&customization(&vec![1; room + 1])).unwrap_err();
    assert_eq!(refused, PlanError::RamdiskTooLarge { len: room as u64 + 1, room: room as u64 });

    let s390x = Pair::of(&fixture("s390x"));
    let archive = IgnitionArchive::new(CONFIG.as_bytes()).unwrap().len();
    let room = (256 << 10) - archive;
    let len = usize::try_from(room).unwrap() + 1;
    let refused = s390x.minimal.plan(&customization(&vec![1; len])).unwrap_err();
    assert_eq!(refused, PlanError::RamdiskTooLarge { len: room + 1, room });
    let url = URL.parse().unwrap();
    let refused = s390x.layout.minimal(&url, Some(5)).unwrap_err();
    assert_eq!(refused.to_string(), "the minimal ISO has no place for nmstatectl");

    for name in ["s390x-4.11", "s390x-4.13"] {
        let layout = Layout::read(&File::open(fixture(name)).unwrap()).unwrap();
        let refused = layout.minimal(&url, None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no minimal ISO can be made of this image: it is not known where its boot loader has the kernel arguments"
        );
        assert!(!refused.is_callers_fault());
    }
}
