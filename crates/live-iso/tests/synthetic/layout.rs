use std::error::Error as _;
use std::os::unix::fs::FileExt as _;

use coreos_names::Arch;
use live_iso::{
    Artifact, BootEntry, BootPlatform, Customization, Distribution, Error, Extent, Generation,
    IgnitionArchive, IgnitionAreaSource, KernelArgumentArea, KernelArguments, Layout, PartitionTables,
    PlanError,
};

use crate::eras::{self, Era};
use crate::iso::{ARGUMENTS, BLOCK, FILLING, IGNITION_AREA, Image, Iso, Names, kargs_json, noise};

fn refused(iso: &Iso) -> Error {
    Layout::read(&iso.build().bytes).unwrap_err()
}

fn starts(image: &Image, path: &str, extent: Extent) -> bool {
    extent.offset == image.offset(path) as u64
}

#[test]
fn everything_is_found() {
    for names in [Names::RockRidge, Names::Continued, Names::IsoOnly] {
        let image = Iso::coreos().names(names).build();
        let layout = Layout::read(&image.bytes).unwrap();
        assert_eq!(layout.volume_id(), "rhcos-418.94.202511191518-0");
        assert_eq!(layout.distribution(), Distribution::Rhcos);
        assert_eq!(layout.distribution().name(), "rhcos");
        assert_eq!(layout.generation(), Generation::PadAndEnd);
        assert_eq!(layout.size(), image.bytes.len() as u64);
        assert!(layout.created().is_some());

        assert!(starts(&image, "images/pxeboot/vmlinuz", layout.kernel()));
        assert!(starts(&image, "images/pxeboot/initrd.img", layout.initrd()));
        assert!(starts(&image, "images/pxeboot/rootfs.img", layout.rootfs()));
        assert_eq!([layout.kernel().len, layout.initrd().len, layout.rootfs().len], [3000, 5000, 7001]);

        let area = layout.ignition_area().unwrap();
        assert!(starts(&image, "images/ignition.img", area.extent()));
        assert_eq!(area.extent().len, IGNITION_AREA as u64);
        assert_eq!(area.source(), IgnitionAreaSource::IgnInfo);

        let areas = layout.kernel_argument_areas().unwrap();
        assert_eq!(areas.default_arguments(), ARGUMENTS);
        assert_eq!(areas.current_arguments(), ARGUMENTS);
        for (area, (path, offset)) in
            areas.areas().iter().zip([("EFI/redhat/grub.cfg", 25), ("isolinux/isolinux.cfg", 15)])
        {
            assert_eq!(area.extent().offset, image.offset(path) as u64 + offset);
            assert_eq!(area.extent().len, (ARGUMENTS.len() + 1 + FILLING) as u64);
            assert_eq!(area.arguments(), ARGUMENTS);
        }
    }
}

#[test]
fn areas_may_be_parts_of_a_boot_image() {
    let image = Iso::coreos_s390x().build();
    let layout = Layout::read(&image.bytes).unwrap();
    let boot = image.offset("images/cdboot.img") as u64;
    let ignition = layout.ignition_area().unwrap().extent();
    assert_eq!((ignition.offset, ignition.len), (boot + 3900, IGNITION_AREA as u64));
    let areas = layout.kernel_argument_areas().unwrap();
    assert_eq!(areas.areas()[0].extent().offset, boot + 2000);
    assert_eq!(areas.current_arguments(), ARGUMENTS);
}

#[test]
fn the_old_kernel_of_s390x_is_found() {
    let image = Iso::coreos_s390x()
        .without("images/pxeboot/vmlinuz")
        .file("images/pxeboot/kernel.img", b"old")
        .build();
    assert!(starts(&image, "images/pxeboot/kernel.img", Layout::read(&image.bytes).unwrap().kernel()));
}

#[test]
fn older_isos_lack_descriptions_and_are_sound() {
    let without_igninfo = Iso::coreos().without("coreos/igninfo.json");
    let layout = Layout::read(&without_igninfo.build().bytes).unwrap();
    assert_eq!(layout.ignition_area().unwrap().source(), IgnitionAreaSource::ByName);

    let before_pad_and_end = r#"{"path": "EFI/redhat/grub.cfg", "offset": 25}"#;
    let kargs = format!(r#"{{"default": "", "files": [{before_pad_and_end}], "size": 300}}"#);
    let layout =
        Layout::read(&Iso::coreos().file("coreos/kargs.json", kargs.as_bytes()).build().bytes).unwrap();
    assert_eq!(layout.kernel_argument_areas().unwrap().current_arguments(), ARGUMENTS);
    assert_eq!(layout.generation(), Generation::IgnInfo);
    let appliance = kargs.replace("25", r#"25, "pad": "", "end": """#);
    let layout =
        Layout::read(&Iso::coreos().file("coreos/kargs.json", appliance.as_bytes()).build().bytes).unwrap();
    assert_eq!(layout.kernel_argument_areas().unwrap().current_arguments(), ARGUMENTS);
    let layout =
        Layout::read(&without_igninfo.file("coreos/kargs.json", kargs.as_bytes()).build().bytes).unwrap();
    assert_eq!(layout.generation(), Generation::Kargs);
}

#[test]
fn every_era_is_read() {
    for Era { name, iso, generation, architecture, ignition, kernel_arguments } in eras::all() {
        for names in [Names::RockRidge, Names::Continued, Names::IsoOnly] {
            let image = iso.clone().names(names).build();
            let layout = Layout::read(&image.bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(layout.generation(), generation, "{name}");
            assert_eq!(layout.architecture(), Some(architecture), "{name}");
            assert_eq!(layout.boot_catalog().is_some(), architecture != Arch::Ppc64le, "{name}");

            let area = layout.ignition_area().map(|area| (area.source(), area.extent()));
            let expected = ignition.as_ref().map(|(source, path, offset)| {
                let offset = (image.offset(path) + offset) as u64;
                (*source, Extent { offset, len: IGNITION_AREA as u64 })
            });
            assert_eq!(area, expected, "{name}");

            let Some(expected) = &kernel_arguments else {
                assert!(layout.kernel_argument_areas().is_none(), "{name}");
                continue;
            };
            let areas = layout.kernel_argument_areas().unwrap();
            assert_eq!(areas.source(), expected.source, "{name}");
            assert_eq!(areas.default_arguments(), expected.text, "{name}");
            assert_eq!(areas.current_arguments(), expected.text, "{name}");
            let extents: Vec<_> = areas.areas().iter().map(KernelArgumentArea::extent).collect();
            let extent = |(path, offset): &(String, usize)| Extent {
                offset: (image.offset(path) + offset) as u64,
                len: expected.size as u64,
            };
            assert_eq!(extents, expected.areas.iter().map(extent).collect::<Vec<_>>(), "{name}");
        }
    }
}

#[test]
fn an_older_iso_is_usable_but_for_what_it_lacks() {
    let plan = |era: Era, customization| {
        Layout::read(&era.iso.build().bytes).unwrap().plan(Artifact::FullIso, &customization)
    };
    let ignition =
        || Customization { ignition: Some(IgnitionArchive::new(b"{}").unwrap()), ..Customization::default() };
    let arguments =
        || Customization { kernel_arguments: Some(KernelArguments::default()), ..Customization::default() };
    for era in [eras::s390x_2020_09, eras::s390x_2022_09] {
        assert_eq!(plan(era(), ignition()), Err(PlanError::NoIgnitionArea));
    }
    for era in [eras::x86_64_2020_09, eras::s390x_2022_09, eras::s390x_2023_03] {
        assert_eq!(plan(era(), arguments()), Err(PlanError::NoKernelArgumentArea));
        assert!(plan(era(), Customization::default()).is_ok());
    }
    assert!(plan(eras::x86_64_2020_09(), ignition()).is_ok());
    assert!(plan(eras::s390x_2023_03(), ignition()).is_ok());
    assert!(plan(eras::s390x_2023_07(), arguments()).is_ok());
}

#[test]
fn generations_are_ordered_by_time() {
    let x86_64 = eras::all().into_iter().filter(|era| era.name.starts_with("x86_64 20"));
    let generations: Vec<_> = x86_64.take(8).map(|era| era.generation).collect();
    assert!(generations.is_sorted_by(|one, next| one < next), "{generations:?}");
    assert!(Generation::Undescribed < generations[0]);
}

#[test]
fn features_are_read() {
    let features = |era: Era| Layout::read(&era.iso.build().bytes).unwrap().features().cloned();
    assert_eq!(features(eras::x86_64_2021_09()), None);
    let without_directives = features(eras::x86_64_2021_12()).unwrap();
    assert!(without_directives.installer_config() && without_directives.live_initrd_network());
    assert_eq!(without_directives.installer_config_directives().count(), 0);
    let directives = features(eras::x86_64_2022_09()).unwrap();
    assert_eq!(directives.installer_config_directives().collect::<Vec<_>>(), ["append-karg", "dest-device"]);

    let json = br#"{"installer-config-directives": {"b": true, "c": false, "a": true}, "later": [1]}"#;
    let iso = Iso::coreos().file("coreos/features.json", json).build().bytes;
    let features = Layout::read(&iso).unwrap().features().cloned().unwrap();
    assert!(!features.installer_config() && !features.live_initrd_network());
    assert_eq!(features.installer_config_directives().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn features_only_inform() {
    let features = |json: &[u8]| {
        let iso = Iso::coreos().file("coreos/features.json", json).build().bytes;
        Layout::read(&iso).unwrap().features().cloned()
    };
    let later = features(
        br#"{"live-initrd-network": {"since": "5.1"}, "installer-config": true,
             "installer-config-directives": {"a": 1, "b": true, "c": "true"}}"#,
    )
    .unwrap();
    assert!(later.installer_config() && !later.live_initrd_network());
    assert_eq!(later.installer_config_directives().collect::<Vec<_>>(), ["b"]);
    let list = features(br#"{"installer-config-directives": ["a"]}"#).unwrap();
    assert_eq!(list.installer_config_directives().count(), 0);
    for useless in [&b""[..], b"{", b"[]", b"\xff", &noise(100_000)] {
        assert_eq!(features(useless), None);
    }
    let scattered = Iso::coreos().extents("coreos/features.json", vec![noise(BLOCK), noise(9)], 1).build();
    assert!(Layout::read(&scattered.bytes).unwrap().features().is_none());

    let mut image = Iso::coreos().file("coreos/features.json", b"{}").build();
    image.resize("coreos/features.json", 1 << 30);
    assert!(Layout::read(&image.bytes).unwrap_err().is_truncated());
}

#[test]
fn an_iso_says_how_it_boots() {
    let platforms = |era: Era| {
        let layout = Layout::read(&era.iso.build().bytes).unwrap();
        let entries = layout.boot_catalog().map(|catalog| catalog.entries().to_vec()).unwrap_or_default();
        entries.iter().map(BootEntry::platform).collect::<Vec<_>>()
    };
    assert_eq!(platforms(eras::x86_64_2022_09()), [BootPlatform::Bios, BootPlatform::Uefi]);
    assert_eq!(platforms(eras::aarch64_2023_07()), [BootPlatform::Uefi]);
    assert_eq!(platforms(eras::s390x_2023_07()), [BootPlatform::Bios]);
    assert_eq!(platforms(eras::ppc64le_2021_09()), []);

    let mut image = eras::x86_64_2022_09().iso.build();
    assert_eq!(Layout::read(&image.bytes).unwrap().partition_tables(), PartitionTables::default());
    image.put(512, b"EFI PART");
    assert!(Layout::read(&image.bytes).unwrap().partition_tables().gpt);
}

#[test]
fn an_architecture_that_is_not_certain_is_none() {
    let architecture = |iso: &Iso| Layout::read(&iso.build().bytes).unwrap().architecture();
    assert_eq!(architecture(&Iso::coreos()), None);
    let both = eras::x86_64_2022_09().iso.file("images/cdboot.img", &noise(BLOCK));
    assert_eq!(architecture(&both), None);
    let mut kernel = noise(3000);
    kernel[0x1fe..0x206].copy_from_slice(b"\x55\xaa..HdrS");
    assert_eq!(architecture(&both.file("images/pxeboot/vmlinuz", &kernel)), Some(Arch::X86_64));
}

#[test]
fn descriptions_that_disagree_are_an_error() {
    let disagreement = |falsify: &dyn Fn(&mut Image)| {
        let mut image = eras::x86_64_2021_09().iso.build();
        falsify(&mut image);
        let error = Layout::read(&image.bytes).unwrap_err();
        assert!(matches!(error, Error::Contradiction { .. }), "{error}");
        error.to_string()
    };
    let kargs =
        "coreos/kargs.json and the coreKarg header disagree on where the areas for kernel arguments are";
    let ignition = "images/ignition.img and the coreiso+ header disagree on where the Ignition area is";
    // The length of the areas, the offset of the first, and of a third one.
    for (at, byte) in [(32_680, 0), (32_696, 0), (32_713, 1)] {
        assert_eq!(disagreement(&|image| image.put(at, &[byte])), kargs, "{at}");
    }
    assert_eq!(disagreement(&|image| image.put(32_760, &[0, 1])), ignition);
    let elsewhere = |image: &mut Image| {
        image.put_header(32_744, b"coreiso+", &[image.offset("images/efiboot.img"), IGNITION_AREA]);
    };
    assert_eq!(disagreement(&elsewhere), ignition);

    let iso = eras::x86_64_2021_09().iso.file("coreos/igninfo.json", br#"{"file": "images/efiboot.img"}"#);
    let expected = "coreos/igninfo.json and the coreiso+ header disagree on where the Ignition area is";
    assert_eq!(refused(&iso).to_string(), expected);
}

#[test]
fn a_header_must_point_into_files() {
    for (at, number) in [
        (32_696, 100_u64),
        (32_696, u64::MAX),
        (32_696, u64::MAX - 100),
        (32_688, 100),
        (32_688, u64::MAX),
        (32_752, 100),
        (32_752, u64::MAX),
        (32_760, u64::MAX),
    ] {
        let mut image = eras::x86_64_2021_01().iso.build();
        image.put(at, &number.to_le_bytes());
        let error = Layout::read(&image.bytes).unwrap_err();
        assert!(
            matches!(&error, Error::BadArea { problem: "it is not within a file", .. }),
            "{number} at {at}: {error}"
        );
    }
    let mut image = eras::x86_64_2021_01().iso.build();
    image.put(32_680, &2049_u64.to_le_bytes());
    assert!(matches!(Layout::read(&image.bytes), Err(Error::TooLarge { max: 2048, .. })));
}

#[test]
fn an_area_that_only_a_header_describes_is_believed() {
    let mut image = eras::x86_64_2022_02().iso.without("images/ignition.img").build();
    let offset = image.offset("images/efiboot.img") + 10;
    image.put_header(32_744, b"coreiso+", &[offset, 5000]);
    let area = Extent { offset: offset as u64, len: 5000 };
    let layout = Layout::read(&image.bytes).unwrap();
    assert_eq!(layout.ignition_area().unwrap().extent(), area);
    assert_eq!(layout.ignition_area().unwrap().to_string(), "the Ignition area in \"images/efiboot.img\"");
}

#[test]
fn a_marker_must_make_sense() {
    let iso = eras::x86_64_2021_01_without_its_system_area().iso;
    let marked = "linux /vmlinuz a\n#### COREOS_KARG_EMBED_AREA\n";
    for (path, configuration, problem) in [
        ("isolinux/isolinux.cfg", "append initrd=/i a\n".to_owned(), "the marker is missing"),
        ("EFI/fedora/grub.cfg", String::new(), "the marker is missing"),
        ("isolinux/isolinux.cfg", marked.replace("linux", "kernel"), "no command that starts a kernel"),
        ("isolinux/isolinux.cfg", marked.replace('a', "\u{7}a"), "it holds more than one line"),
    ] {
        let error = refused(&iso.clone().file(path, configuration.as_bytes()));
        assert!(matches!(error, Error::BadArea { described_by: "COREOS_KARG_EMBED_AREA", .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    let other_arguments = iso.clone().file("isolinux/isolinux.cfg", marked.as_bytes());
    assert!(matches!(refused(&other_arguments), Error::KernelArgumentsDiffer { .. }));
    let long = format!("linux /vmlinuz a\n{}# COREOS_KARG_EMBED_AREA\n", "#".repeat(2047));
    let long = iso.clone().file("isolinux/isolinux.cfg", long.as_bytes());
    assert!(matches!(refused(&long), Error::TooLarge { max: 2048, .. }));
    let large = iso.clone().file("isolinux/isolinux.cfg", &vec![b'#'; 66_000]);
    assert!(matches!(refused(&large), Error::TooLarge { .. }));

    let without_defaults = iso.without(".cmdline").build().bytes;
    let layout = Layout::read(&without_defaults).unwrap();
    let areas = layout.kernel_argument_areas().unwrap();
    assert_eq!(areas.default_arguments(), areas.current_arguments());
}

#[test]
fn each_menu_entry_may_have_an_area() {
    let Era { iso, kernel_arguments, .. } = eras::x86_64_2021_01_without_its_system_area();
    let text = kernel_arguments.unwrap().text;
    let entry = |name: &str, filling: usize| {
        format!(
            "menuentry '{name}' {{\n\tlinux /images/pxeboot/vmlinuz {text}\n{}# COREOS_KARG_EMBED_AREA\n\
             \tinitrd /images/pxeboot/initrd.img /images/ignition.img\n}}\n",
            "#".repeat(filling)
        )
    };
    let grub = [entry("CoreOS", 1023), entry("CoreOS, serial console", 500)].concat();
    let image = iso.clone().file("EFI/redhat/grub.cfg", grub.as_bytes()).build();
    let layout = Layout::read(&image.bytes).unwrap();
    let areas = layout.kernel_argument_areas().unwrap();
    let paths: Vec<_> = areas.areas().iter().map(ToString::to_string).collect();
    assert_eq!(paths.len(), 3);
    assert!(paths[..2].iter().all(|path| path.ends_with("EFI/redhat/grub.cfg\"")), "{paths:?}");
    assert!(areas.areas().iter().all(|area| area.arguments() == text));

    let customization = Customization {
        kernel_arguments: Some(KernelArguments::new(["more=1".to_owned()]).unwrap()),
        ..Customization::default()
    };
    let made = |plan: live_iso::Plan| {
        let mut made = Vec::new();
        plan.write_to(&image.bytes, &Vec::new(), &mut made).unwrap();
        let layout = Layout::read(&made);
        // A minimal ISO is not read as a live one.
        assert_eq!(layout.is_ok(), made.len() == image.bytes.len());
        String::from_utf8_lossy(&made).into_owned()
    };
    let full = made(layout.plan(Artifact::FullIso, &customization).unwrap());
    assert_eq!(full.matches(&format!("{text} more=1\n###")).count(), 3);
    let minimal = layout.minimal(&"http://a/b".parse().unwrap(), None).unwrap();
    let minimal = made(minimal.plan(&customization).unwrap());
    let ending = "coreos.live.rootfs_url=\"http://a/b\" more=1\n###";
    assert_eq!(minimal.matches(ending).count(), 3, "{minimal}");

    let entries: String = (0..8).map(|number| entry(&number.to_string(), 100)).collect();
    let error = refused(&iso.file("EFI/redhat/grub.cfg", entries.as_bytes()));
    assert_eq!(error.to_string(), "the volume holds more than 8 areas for kernel arguments");
}

#[test]
fn a_minimal_iso_is_told_as_such() {
    let error = refused(&Iso::coreos().without("images/pxeboot/rootfs.img"));
    assert!(matches!(error, Error::NoRootfs), "{error}");
    assert!(error.to_string().contains("it is a minimal ISO"), "{error}");
}

#[test]
fn a_broken_description_is_not_an_old_iso() {
    for path in ["coreos/igninfo.json", "coreos/kargs.json"] {
        for json in ["", "{}", "[", "{\"file\": 1}"] {
            let error = refused(&Iso::coreos().file(path, json.as_bytes()));
            assert!(matches!(error, Error::Json { path: named, .. } if named == path), "{error}");
        }
        let error = refused(&Iso::coreos().file(path, &noise(100_000)));
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        let error = refused(&Iso::coreos().without(path).extents(path, vec![noise(BLOCK), noise(9)], 1));
        assert!(matches!(error, Error::Scattered { .. }), "{error}");
    }
}

#[test]
fn an_ignition_area_must_exist() {
    for json in [
        r#"{"file": "images/ignition"}"#,
        r#"{"file": "images/ignition.img", "offset": 1, "length": 4096}"#,
        r#"{"file": "images/ignition.img", "offset": 4097}"#,
        r#"{"file": "images/ignition.img", "offset": 18446744073709551615, "length": 2}"#,
        r#"{"file": "images/ignition.img", "offset": 2, "length": 18446744073709551615}"#,
    ] {
        let error = refused(&Iso::coreos().file("coreos/igninfo.json", json.as_bytes()));
        assert!(
            matches!(error, Error::BadArea { described_by: "coreos/igninfo.json", .. }),
            "{json}: {error}"
        );
    }
}

#[test]
fn kernel_argument_areas_must_exist() {
    let area = |path: &str, offset: &str, pad: &str| {
        format!(r#"{{"path": "{path}", "offset": {offset}, "pad": "{pad}"}}"#)
    };
    for described in [
        area("EFI/fedora/grub.cfg", "25", "#"),
        area("EFI/redhat/grub.cfg", "2500", "#"),
        area("EFI/redhat/grub.cfg", "18446744073709551615", "#"),
        area("EFI/redhat/grub.cfg", "25", "é"),
        area("EFI/redhat/grub.cfg", "25", "##"),
        area("EFI/redhat/grub.cfg", "0", "#"),
        area("images/pxeboot/rootfs.img", "0", "#"),
    ] {
        let json = format!(r#"{{"default": "", "files": [{described}], "size": 300}}"#);
        let error = refused(&Iso::coreos().file("coreos/kargs.json", json.as_bytes()));
        assert!(
            matches!(error, Error::BadArea { described_by: "coreos/kargs.json", .. }),
            "{described}: {error}"
        );
    }
}

#[test]
fn kernel_argument_areas_have_limits() {
    let files = r#""files": [{"path": "EFI/redhat/grub.cfg", "offset": 25}]"#;
    let too_large = format!(r#"{{"default": "", {files}, "size": 2049}}"#);
    assert!(matches!(
        refused(&Iso::coreos().file("coreos/kargs.json", too_large.as_bytes())),
        Error::TooLarge { .. }
    ));
    let too_long = format!(r#"{{"default": "12345", {files}, "size": 4}}"#);
    let none = r#"{"default": "", "files": [], "size": 300}"#;
    for json in [&too_long, none] {
        let error = refused(&Iso::coreos().file("coreos/kargs.json", json.as_bytes()));
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}

#[test]
fn boot_loaders_must_agree_on_the_arguments() {
    let error = refused(&Iso::coreos().falsified("isolinux/isolinux.cfg", b"linux /vmlinuz ro"));
    assert!(matches!(error, Error::KernelArgumentsDiffer { .. }), "{error}");
}

#[test]
fn areas_must_not_overlap() {
    let twice = kargs_json("isolinux/isolinux.cfg", "isolinux/isolinux.cfg").replace("25", "15");
    let error = refused(&Iso::coreos().file("coreos/kargs.json", twice.as_bytes()));
    assert!(matches!(error, Error::OverlappingAreas { .. }), "{error}");

    let in_grub = r#"{"file": "EFI/redhat/grub.cfg", "offset": 30, "length": 10}"#;
    let error = refused(&Iso::coreos().file("coreos/igninfo.json", in_grub.as_bytes()));
    assert!(matches!(error, Error::OverlappingAreas { .. }), "{error}");
}

#[test]
fn areas_must_not_overlap_what_is_booted() {
    for path in ["images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "images/pxeboot/rootfs.img"] {
        let igninfo = format!(r#"{{"file": "{path}", "offset": 100, "length": 500}}"#);
        let error = refused(&Iso::coreos().file("coreos/igninfo.json", igninfo.as_bytes()));
        let expected = format!("the Ignition area in {path:?} and {path} overlap");
        assert_eq!(error.to_string(), expected);

        // A file may claim bytes of another one.
        let mut image = eras::x86_64_2022_02().iso.build();
        let block = u32::try_from(image.offset(path) / BLOCK).unwrap();
        image.relocate("images/ignition.img", block);
        let error = Layout::read(&image.bytes).unwrap_err();
        assert!(matches!(error, Error::OverlappingAreas { .. }), "{error}");
    }
}

#[test]
fn other_volumes_are_not_coreos() {
    let error = refused(&Iso::new("Fedora-WS-Live-40").file("README", b""));
    assert_eq!(error.to_string(), "not a CoreOS live ISO: its volume id is \"Fedora-WS-Live-40\"");
}

#[test]
fn a_live_iso_has_a_kernel_and_an_initramfs() {
    for path in ["images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"] {
        let error = refused(&Iso::coreos().without(path));
        assert!(
            matches!(&error, Error::MissingFile { path: missing } if missing.starts_with(path)),
            "{error}"
        );
    }
}

#[test]
fn what_lies_beyond_the_end_is_named() {
    let mut image = Iso::coreos().build();
    image.resize("images/pxeboot/rootfs.img", 1 << 30);
    let error = Layout::read(&image.bytes).unwrap_err();
    assert!(error.is_truncated());
    assert!(error.to_string().contains("images/pxeboot/rootfs.img"), "{error}");

    let mut image = Iso::coreos().build();
    image.set_space_size(1 << 20);
    let error = Layout::read(&image.bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the ISO is truncated: the volume ends at byte 2147483648, the ISO at byte {}",
            image.bytes.len()
        )
    );
}

/// As in an appliance: the system lies behind a file of 60 GiB, beyond the reach of 32-bit offsets.
#[test]
fn a_system_beyond_4_gib_is_found_and_customised() {
    let moved = ["images/pxeboot/vmlinuz", "images/pxeboot/rootfs.img", "images/ignition.img"];
    let first_block = (60_u64 << 30) / BLOCK as u64;
    let mut image = Iso::coreos().build();
    let file = tempfile::tempfile().unwrap();
    for (path, block) in moved.iter().zip((first_block..).step_by(8)) {
        let content = image.bytes[image.offset(path)..].iter().copied().take(4 * BLOCK);
        file.write_all_at(&content.collect::<Vec<_>>(), block * BLOCK as u64).unwrap();
        image.relocate(path, u32::try_from(block).unwrap());
    }
    image.set_space_size(u32::try_from(first_block + 20).unwrap());
    file.write_all_at(&image.bytes, 0).unwrap();
    let size = (first_block + 24) * BLOCK as u64;
    file.set_len(size).unwrap();

    let layout = Layout::read(&file).unwrap();
    let at = |blocks| first_block * BLOCK as u64 + blocks * BLOCK as u64;
    assert_eq!(layout.kernel(), Extent { offset: at(0), len: 3000 });
    assert_eq!(layout.rootfs(), Extent { offset: at(8), len: 7001 });
    let area = layout.ignition_area().unwrap().extent();
    assert_eq!(area, Extent { offset: at(16), len: IGNITION_AREA as u64 });

    let archive = IgnitionArchive::new(b"{}").unwrap();
    let customization = Customization { ignition: Some(archive.clone()), ..Customization::default() };
    let plan = layout.plan(Artifact::FullIso, &customization).unwrap();
    assert_eq!(plan.len(), size);
    let mut around = Vec::new();
    let range = area.offset - 10..area.offset + archive.len() + 10;
    plan.slice(range).write_to(&file, &Vec::new(), &mut around).unwrap();
    assert_eq!(around, [&[0; 10][..], archive.as_bytes(), &[0; 10]].concat());
    let kernel = layout.plan(Artifact::Kernel, &Customization::default()).unwrap();
    let mut bytes = Vec::new();
    kernel.write_to(&file, &Vec::new(), &mut bytes).unwrap();
    assert_eq!(bytes, noise(3000));
}

#[test]
fn an_iso_cut_anywhere_is_refused() {
    let bytes = Iso::coreos().build().bytes;
    for len in (0..bytes.len()).step_by(1021) {
        assert!(Layout::read(&bytes[..len]).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn no_message_repeats_its_cause() {
    let error = refused(&Iso::coreos().file("coreos/kargs.json", b"{"));
    let cause = error.source().unwrap().to_string();
    assert_eq!(error.to_string(), "coreos/kargs.json cannot be understood");
    assert!(!error.to_string().contains(&cause));
}
