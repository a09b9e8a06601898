use std::error::Error as _;

use live_iso::{
    Artifact, Customization, Distribution, Error, Generation, IgnitionArchive, IgnitionAreaSource,
    KernelArguments, Layout, PlanError,
};

use crate::iso::{ARGUMENTS, BLOCK, FILLING, IGNITION_AREA, Image, Iso, Names, kargs_json, noise};

fn refused(iso: &Iso) -> Error {
    Layout::read(&iso.build().bytes).unwrap_err()
}

fn starts(image: &Image, path: &str, extent: live_iso::Extent) -> bool {
    extent.offset == image.offset(path) as u64
}

#[test]
fn everything_is_found() {
    for names in [Names::RockRidge, Names::Continued, Names::IsoOnly] {
        let image = Iso::coreos().names(names).build();
        let layout = Layout::read(&image.bytes).unwrap();
        assert_eq!(layout.volume_id(), "rhcos-418.94.202511191518-0");
        assert_eq!(layout.distribution(), Distribution::Rhcos);
        assert_eq!(layout.os_name(), "rhcos");
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

    let oldest = Iso::coreos()
        .without("coreos/igninfo.json")
        .without("coreos/kargs.json")
        .without("images/ignition.img");
    let layout = Layout::read(&oldest.build().bytes).unwrap();
    assert!(layout.ignition_area().is_none());
    assert!(layout.kernel_argument_areas().is_none());
    assert_eq!(layout.generation(), Generation::Undescribed);
    assert!(Generation::Undescribed < Generation::PadAndEnd);

    let ignition = Some(IgnitionArchive::new(b"{}").unwrap());
    let kernel_arguments = Some(KernelArguments::default());
    let plan = |customization| layout.plan(Artifact::FullIso, &customization);
    assert_eq!(plan(Customization { ignition, ..Customization::default() }), Err(PlanError::NoIgnitionArea));
    let nowhere = plan(Customization { kernel_arguments, ..Customization::default() });
    assert_eq!(nowhere, Err(PlanError::NoKernelArgumentArea));
    assert!(plan(Customization::default()).is_ok());
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
fn other_volumes_are_not_coreos() {
    let error = refused(&Iso::new("Fedora-WS-Live-40").file("README", b""));
    assert_eq!(error.to_string(), "not a CoreOS live ISO: its volume id is \"Fedora-WS-Live-40\"");
}

#[test]
fn a_live_iso_has_a_kernel_an_initramfs_and_a_root() {
    for path in ["images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "images/pxeboot/rootfs.img"] {
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
