//! Live ISOs as genisoimage and xorriso write them, judged by isoinfo and coreos-installer.

mod judges;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

use coreos_names::Arch;
use judges::fixture;
use live_iso::{
    Artifact, Customization, Distribution, Extent, Generation, IgnitionArchive, IgnitionAreaSource,
    KernelArgumentArea, KernelArgumentAreaSource, KernelArguments, Layout, Plan, ReadAt as _, Volume,
    embedded,
};
use serde_json::Value;

const ARCHES: [&str; 3] = ["x86_64", "aarch64", "s390x"];
const CONFIG: &[u8] = br#"{"ignition":{"version":"3.4.0"},"storage":{"files":[]}}"#;

fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Vec<u8> {
    judges::run(Path::new("."), program, arguments)
}

fn coreos_installer(arguments: &[&str], iso: &Path) -> String {
    let mut all = vec![OsStr::new("iso")];
    all.extend(arguments.iter().map(OsStr::new));
    all.push(iso.as_os_str());
    String::from_utf8(output("coreos-installer", &all)).unwrap()
}

/// Every file as isoinfo lists it: path, then block and size.
fn listing(iso: &Path, rock_ridge: bool) -> BTreeMap<String, Extent> {
    let mut arguments = vec![OsStr::new("-l"), OsStr::new("-i"), iso.as_os_str()];
    if rock_ridge {
        arguments.push(OsStr::new("-R"));
    }
    let listing = String::from_utf8(output("isoinfo", &arguments)).unwrap();
    let mut directory = String::new();
    let mut files = BTreeMap::new();
    for line in listing.lines() {
        if let Some(path) = line.strip_prefix("Directory listing of /") {
            path.clone_into(&mut directory);
        }
        // ----------   0    0    0            2048 Jul 19 2023 [     34 00]  BOOT.CAT;1
        let Some((attributes, rest)) = line.split_once('[') else { continue };
        let Some((location, name)) = rest.split_once(']') else { continue };
        if attributes.starts_with('d') {
            continue;
        }
        let number =
            |words: &str, index| words.split_whitespace().nth(index).unwrap().parse::<u64>().unwrap();
        let name = name.trim().trim_end_matches(";1").trim_end_matches('.');
        let extent = Extent { offset: number(location, 0) * 2048, len: number(attributes, 4) };
        files.insert(format!("{directory}{name}"), extent);
    }
    files
}

fn read_at(iso: &File, extent: Extent) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(extent.len).unwrap()];
    iso.read_exact_at(&mut bytes, extent.offset).unwrap();
    bytes
}

fn collect(plan: &Plan, iso: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    plan.write_to(iso, &[][..], &mut bytes).unwrap();
    bytes
}

#[test]
fn every_file_is_where_isoinfo_sees_it() {
    for arch in ARCHES {
        let path = fixture(arch);
        let volume = Volume::read(&File::open(&path).unwrap()).unwrap();
        let files: BTreeMap<_, _> =
            volume.files().map(|file| (file.path().to_owned(), file.extent().unwrap())).collect();
        assert_eq!(files, listing(&path, true), "{arch}");
        assert!(files.len() > 10, "{arch}");
        assert!(volume.has_boot_catalog(), "{arch}");
    }
}

#[test]
fn a_volume_without_rock_ridge_is_searched_by_short_names() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("images/pxeboot")).unwrap();
    fs::create_dir_all(tree.join("coreos")).unwrap();
    let paths =
        ["coreos/kargs.json", "images/initrd.addrsize", "images/pxeboot/vmlinuz", "boot.catalog", ".cmdline"];
    for path in paths {
        fs::write(tree.join(path), path).unwrap();
    }
    let iso = directory.path().join("plain.iso");
    output("genisoimage", &[OsStr::new("-quiet"), "-o".as_ref(), iso.as_os_str(), tree.as_os_str()]);

    let file = File::open(&iso).unwrap();
    let volume = Volume::read(&file).unwrap();
    let files: BTreeMap<_, _> =
        volume.files().map(|file| (file.path().to_owned(), file.extent().unwrap())).collect();
    assert_eq!(files, listing(&iso, false));
    for path in paths {
        assert_eq!(read_at(&file, volume.find(path).unwrap().extent().unwrap()), path.as_bytes());
    }
}

#[test]
fn volumes_of_every_level_and_with_every_extension_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let tree = directory.path().join("tree");
    let paths = ["coreos/kargs.json", "images/initrd.addrsize", "images/pxeboot/vmlinuz", ".cmdline"];
    // So many that their directory needs several blocks.
    let many: Vec<_> = (0..300).map(|number| format!("many/{number}.json")).collect();
    for path in paths.iter().copied().chain(many.iter().map(String::as_str)) {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
    }
    let iso = directory.path().join("some.iso");
    for level in ["1", "2", "3", "4"] {
        for extensions in [&[][..], &["-J"], &["-R"], &["-J", "-R"]] {
            let mut arguments = vec!["-quiet".as_ref(), "-iso-level".as_ref(), OsStr::new(level)];
            arguments.extend(extensions.iter().map(OsStr::new));
            arguments.extend([OsStr::new("-o"), iso.as_os_str(), tree.as_os_str()]);
            output("genisoimage", &arguments);

            let file = File::open(&iso).unwrap();
            let volume = Volume::read(&file).unwrap();
            let files: BTreeMap<_, _> =
                volume.files().map(|file| (file.path().to_owned(), file.extent().unwrap())).collect();
            assert_eq!(files, listing(&iso, extensions.contains(&"-R")), "level {level}, {extensions:?}");
            for path in paths.iter().copied().chain(many.iter().map(String::as_str)) {
                let found =
                    volume.find(path).unwrap_or_else(|| panic!("{path}: level {level}, {extensions:?}"));
                let name = Path::new(path).file_name().unwrap().as_encoded_bytes();
                assert_eq!(read_at(&file, found.extent().unwrap()), name, "level {level}, {extensions:?}");
            }
        }
    }
}

#[test]
fn layouts_of_todays_images_are_read() {
    for arch in ARCHES {
        let path = fixture(arch);
        let iso = File::open(&path).unwrap();
        let layout = Layout::read(&iso).unwrap();
        assert_eq!(layout.distribution(), Distribution::Rhcos, "{arch}");
        assert_eq!(layout.generation(), Generation::PadAndEnd, "{arch}");
        assert!(layout.volume_id().starts_with("rhcos-"), "{arch}");
        assert_eq!(layout.size(), fs::metadata(&path).unwrap().len(), "{arch}");
        let age = layout.created().unwrap().elapsed().unwrap();
        assert!(age.as_secs() < 10 * 365 * 24 * 3600, "{arch}: {age:?}");

        let files = listing(&path, true);
        assert_eq!(layout.kernel(), files["images/pxeboot/vmlinuz"], "{arch}");
        assert_eq!(layout.initrd(), files["images/pxeboot/initrd.img"], "{arch}");
        assert_eq!(layout.rootfs(), files["images/pxeboot/rootfs.img"], "{arch}");

        let area = layout.ignition_area().unwrap();
        assert_eq!(area.source(), IgnitionAreaSource::IgnInfo, "{arch}");
        assert_eq!(area.extent().len, 256 * 1024, "{arch}");
        assert!(read_at(&iso, area.extent()).iter().all(|byte| *byte == 0), "{arch}");
        if arch == "s390x" {
            let boot = files["images/cdboot.img"];
            assert_eq!(area.extent().end(), boot.end());
        } else {
            assert_eq!(area.extent(), files["images/ignition.img"], "{arch}");
        }
    }
}

/// What every fixture is to be taken for.
const GENERATIONS: [(&str, Generation, Distribution, Arch); 15] = [
    ("4.6", Generation::IgnitionHeader, Distribution::Rhcos, Arch::X86_64),
    ("4.7", Generation::KernelArgumentHeader, Distribution::Rhcos, Arch::X86_64),
    ("4.9", Generation::Kargs, Distribution::Rhcos, Arch::X86_64),
    ("4.11", Generation::WithoutHeaders, Distribution::Rhcos, Arch::X86_64),
    ("4.13", Generation::IgnInfo, Distribution::Rhcos, Arch::X86_64),
    ("x86_64", Generation::PadAndEnd, Distribution::Rhcos, Arch::X86_64),
    ("fcos", Generation::PadAndEnd, Distribution::FedoraCoreos, Arch::X86_64),
    ("scos", Generation::PadAndEnd, Distribution::Scos, Arch::X86_64),
    ("rhel10", Generation::PadAndEnd, Distribution::RhelCoreos, Arch::X86_64),
    ("aarch64", Generation::PadAndEnd, Distribution::Rhcos, Arch::Arm64),
    ("ppc64le", Generation::PadAndEnd, Distribution::Rhcos, Arch::Ppc64le),
    ("s390x-4.11", Generation::WithoutHeaders, Distribution::Rhcos, Arch::S390x),
    ("s390x-4.13", Generation::IgnInfo, Distribution::Rhcos, Arch::S390x),
    ("s390x-kernel.img", Generation::PadAndEnd, Distribution::Rhcos, Arch::S390x),
    ("s390x", Generation::PadAndEnd, Distribution::Rhcos, Arch::S390x),
];

#[test]
fn areas_of_every_generation_are_where_coreos_installer_sees_them() {
    for (name, generation, distribution, arch) in GENERATIONS {
        let path = fixture(name);
        let iso = File::open(&path).unwrap();
        let layout = Layout::read(&iso).unwrap();
        assert_eq!(layout.generation(), generation, "{name}");
        assert_eq!(layout.distribution(), distribution, "{name}");
        // The kernel for aarch64 is none, and no boot loader tells.
        let told = Some(arch).filter(|arch| *arch != Arch::Arm64);
        assert_eq!(layout.architecture(), told, "{name}");

        let shown = |what: &str| {
            let arguments =
                [OsStr::new("dev"), "show".as_ref(), "iso".as_ref(), what.as_ref(), path.as_ref()];
            serde_json::from_slice::<Value>(&output("coreos-installer", &arguments)).unwrap()
        };
        let extent = |area: &Value| (area["offset"].as_u64().unwrap(), area["length"].as_u64().unwrap());
        let pair = |extent: Extent| (extent.offset, extent.len);
        let area = layout.ignition_area().map(|area| pair(area.extent()));
        if name == "s390x-4.11" {
            // It takes images/ignition.img for an area, but that is not loaded.
            assert_eq!(area, None);
        } else {
            assert_eq!(area, Some(extent(&shown("--ignition"))), "{name}");
        }

        let expected = shown("--kargs");
        let Some(areas) = layout.kernel_argument_areas() else {
            assert!(expected.is_null(), "{name}");
            continue;
        };
        assert_eq!(areas.default_arguments(), expected["default"], "{name}");
        let areas: BTreeSet<_> = areas.areas().iter().map(|area| pair(area.extent())).collect();
        let expected: BTreeSet<_> = expected["kargs"].as_array().unwrap().iter().map(extent).collect();
        assert_eq!(areas, expected, "{name}");
    }
}

#[test]
fn what_a_marker_tells_is_what_a_description_would() {
    for name in ["4.7", "4.9", "4.11", "4.13", "x86_64", "aarch64", "ppc64le", "fcos", "scos", "rhel10"] {
        let mut bytes = fs::read(fixture(name)).unwrap();
        let described = Layout::read(&bytes).unwrap();
        hide(&mut bytes, b"coreKarg", b"xxxxxxxx");
        hide(&mut bytes, b"kargs.json", b"xxxxx.json");
        let marked = Layout::read(&bytes).unwrap();
        let areas = |layout: &Layout| {
            let areas = layout.kernel_argument_areas().unwrap();
            let extents: BTreeSet<_> = areas.areas().iter().map(KernelArgumentArea::extent).collect();
            (extents, areas.current_arguments().to_owned(), areas.default_arguments().to_owned())
        };
        assert_eq!(areas(&marked), areas(&described), "{name}");
        let source = marked.kernel_argument_areas().unwrap().source();
        assert_eq!(source, KernelArgumentAreaSource::Marker, "{name}");
    }
}

/// Writes over every text of that kind in what precedes the files' contents, or nearly so.
fn hide(bytes: &mut [u8], text: &[u8], other: &[u8]) {
    const HEAD: usize = 256 << 10;
    let head = bytes.len().min(HEAD);
    for at in 0..head - text.len() {
        if bytes[at..].starts_with(text) {
            bytes[at..at + other.len()].copy_from_slice(other);
        }
    }
}

#[test]
fn artifacts_are_what_isoinfo_takes_out() {
    for arch in ARCHES {
        let path = fixture(arch);
        let iso = File::open(&path).unwrap();
        let layout = Layout::read(&iso).unwrap();
        for (artifact, name) in [(Artifact::Kernel, "vmlinuz"), (Artifact::Rootfs, "rootfs.img")] {
            let plan = layout.plan(artifact, &Customization::default()).unwrap();
            let name = format!("/images/pxeboot/{name}");
            let expected = output(
                "isoinfo",
                &[OsStr::new("-R"), "-x".as_ref(), name.as_ref(), "-i".as_ref(), path.as_os_str()],
            );
            assert!(collect(&plan, &iso) == expected, "{arch}: {name}");
        }
    }
}

#[test]
fn coreos_installer_reads_back_what_a_plan_wrote() {
    for arch in ARCHES {
        let path = fixture(arch);
        let default = coreos_installer(&["kargs", "show"], &path);
        let iso = File::open(&path).unwrap();
        let layout = Layout::read(&iso).unwrap();
        let areas = layout.kernel_argument_areas().unwrap();
        assert_eq!(areas.default_arguments(), default.trim(), "{arch}");
        assert_eq!(areas.current_arguments(), default.trim(), "{arch}");

        let customization = Customization {
            ignition: Some(IgnitionArchive::new(CONFIG).unwrap()),
            kernel_arguments: Some(KernelArguments::new(["p1", "p2=x"].map(str::to_owned)).unwrap()),
            ..Customization::default()
        };
        let plan = layout.plan(Artifact::FullIso, &customization).unwrap();
        let copy = tempfile::NamedTempFile::new().unwrap();
        fs::write(copy.path(), collect(&plan, &iso)).unwrap();

        assert_eq!(coreos_installer(&["ignition", "show"], copy.path()).as_bytes(), CONFIG, "{arch}");
        let arguments = coreos_installer(&["kargs", "show"], copy.path());
        assert_eq!(arguments, format!("{} p1 p2=x\n", default.trim()), "{arch}");
        assert_eq!(coreos_installer(&["kargs", "show", "--default"], copy.path()), default, "{arch}");

        // And it can take back what we wrote.
        coreos_installer(&["kargs", "reset"], copy.path());
        coreos_installer(&["ignition", "remove"], copy.path());
        assert!(fs::read(copy.path()).unwrap() == fs::read(&path).unwrap(), "{arch}");
    }
}

#[test]
fn what_coreos_installer_wrote_is_read() {
    for arch in ARCHES {
        let copy = tempfile::NamedTempFile::new().unwrap();
        fs::copy(fixture(arch), copy.path()).unwrap();
        let config = tempfile::NamedTempFile::new().unwrap();
        fs::write(config.path(), CONFIG).unwrap();
        coreos_installer(
            &["ignition", "embed", "--force", "-i", config.path().to_str().unwrap()],
            copy.path(),
        );
        coreos_installer(&["kargs", "modify", "--append", "quiet", "--delete", "rw"], copy.path());

        let iso = File::open(copy.path()).unwrap();
        let layout = Layout::read(&iso).unwrap();
        let embedded = embedded(&iso, &layout).unwrap();
        assert_eq!(embedded.files.len(), 1, "{arch}");
        assert_eq!(embedded.files[0].name, "config.ign", "{arch}");
        assert_eq!(embedded.files[0].content, CONFIG, "{arch}");
        let arguments = embedded.kernel_arguments.unwrap();
        assert_eq!(arguments.current, coreos_installer(&["kargs", "show"], copy.path()).trim(), "{arch}");
        assert_eq!(
            arguments.default,
            coreos_installer(&["kargs", "show", "--default"], copy.path()).trim(),
            "{arch}"
        );
        assert!(arguments.current.ends_with(" quiet") && !arguments.current.contains("rw "), "{arch}");
    }
}

/// The predecessor writes ` p1 p2=x` and a newline over the area's newline and the first of its `#`.
#[test]
fn kernel_arguments_are_the_predecessors_bytes() {
    for (arch, paths) in [
        ("x86_64", &["EFI/redhat/grub.cfg", "isolinux/isolinux.cfg"][..]),
        ("aarch64", &["EFI/redhat/grub.cfg", "isolinux/isolinux.cfg"]),
    ] {
        let path = fixture(arch);
        let iso = File::open(&path).unwrap();
        let layout = Layout::read(&iso).unwrap();
        for arguments in [&["p1", "p2=x"][..], &[]] {
            let mut expected = fs::read(&path).unwrap();
            for path in paths {
                let file = listing(&fixture(arch), true)[*path];
                let config = String::from_utf8(read_at(&iso, file)).unwrap();
                let marker = config.find("# COREOS_KARG_EMBED_AREA").unwrap();
                let newline = config[..marker].trim_end_matches('#').len() - 1;
                let line = format!(" {}\n", arguments.join(" "));
                let at = usize::try_from(file.offset).unwrap() + newline;
                expected[at..at + line.len()].copy_from_slice(line.as_bytes());
            }
            let arguments = KernelArguments::new(arguments.iter().copied().map(str::to_owned)).unwrap();
            let customization =
                Customization { kernel_arguments: Some(arguments), ..Customization::default() };
            let plan = layout.plan(Artifact::FullIso, &customization).unwrap();
            assert!(collect(&plan, &iso) == expected, "{arch}");
        }
    }
}

#[test]
fn any_range_is_that_range_of_the_whole() {
    for arch in ARCHES {
        let iso = File::open(fixture(arch)).unwrap();
        let layout = Layout::read(&iso).unwrap();
        let customization = Customization {
            ignition: Some(IgnitionArchive::new(CONFIG).unwrap()),
            kernel_arguments: Some(KernelArguments::new(["quiet".to_owned()]).unwrap()),
            ..Customization::default()
        };
        let plan = layout.plan(Artifact::FullIso, &customization).unwrap();
        let whole = collect(&plan, &iso);
        let area = layout.ignition_area().unwrap().extent();
        for from in
            [0, 32_768, area.offset - 1, area.offset, area.offset + 5, area.end().unwrap(), plan.len() - 1]
        {
            for len in [0, 1, 100, 300_000, u64::MAX - from] {
                let to = (from + len).min(plan.len());
                let expected = &whole[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
                assert!(collect(&plan.slice(from..from + len), &iso) == expected, "{arch}: {len} at {from}");
            }
        }
    }
}
