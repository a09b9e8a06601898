//! A live ISO of each state the format was in, laid out as the real ones of that time, and what is to be found in it.

use coreos_names::Arch;
use live_iso::{Generation, IgnitionAreaSource, KernelArgumentAreaSource};
use serde_json::json;

use crate::iso::{IGNITION_AREA, Iso, KernelArgumentHeader, noise};

/// How many `#` follow the newline behind the arguments.
const FILLING: usize = 1023;
/// Where s390x keeps its command line.
const CDBOOT_ARGUMENTS: usize = 66_688;
const CDBOOT_ARGUMENTS_LEN: usize = 896;
const CDBOOT_IGNITION: usize = 132_096;

const BIOS: u8 = 0;
const UEFI: u8 = 0xef;

/// An ISO and what it was built from.
pub(crate) struct Era {
    pub(crate) name: &'static str,
    pub(crate) iso: Iso,
    pub(crate) generation: Generation,
    pub(crate) architecture: Arch,
    /// How the area is to be found, the file it is in, and where in the file it begins.
    pub(crate) ignition: Option<(IgnitionAreaSource, String, usize)>,
    pub(crate) kernel_arguments: Option<Arguments>,
}

/// The areas for kernel arguments.
pub(crate) struct Arguments {
    pub(crate) source: KernelArgumentAreaSource,
    pub(crate) text: String,
    /// Files and where in them the areas begin, in the order in which they are described.
    pub(crate) areas: Vec<(String, usize)>,
    pub(crate) size: usize,
    pub(crate) end: u8,
    pub(crate) pad: u8,
}

pub(crate) fn all() -> Vec<Era> {
    vec![
        x86_64_2020_09(),
        x86_64_2021_01(),
        x86_64_2021_09(),
        x86_64_2021_12(),
        x86_64_2022_02(),
        x86_64_2022_09(),
        x86_64_2023_03(),
        x86_64_2023_07("rhcos-414.92.202307190000-0", "redhat"),
        x86_64_2023_07("scos-419.9.202502122042-0", "centos"),
        x86_64_2023_07("rhel-coreos-9.6.20250523-0", "redhat"),
        x86_64_2021_01_without_its_system_area(),
        aarch64_2023_07(),
        ppc64le_2021_01(),
        ppc64le_2021_09(),
        s390x_2020_09(),
        s390x_2022_09(),
        s390x_2023_03(),
        s390x_2023_07(),
    ]
}

/// RHCOS 4.6.
pub(crate) fn x86_64_2020_09() -> Era {
    let iso = x86_64("rhcos-46.82.202112161843-0", "redhat")
        .file("EFI/redhat/grub.cfg", b"\tlinux /images/pxeboot/vmlinuz rw ignition.firstboot\n")
        .file("isolinux/isolinux.cfg", b"  append initrd=/images/pxeboot/initrd.img rw ignition.firstboot\n")
        .ignition_header("images/ignition.img");
    Era {
        name: "x86_64 2020-09",
        iso,
        generation: Generation::IgnitionHeader,
        architecture: Arch::X86_64,
        ignition: Some(ignition(IgnitionAreaSource::Header)),
        kernel_arguments: None,
    }
}

/// RHCOS 4.7. The header has the areas in the order in which the builder met the files.
pub(crate) fn x86_64_2021_01() -> Era {
    let volume_id = "rhcos-47.84.202112162337-0";
    let mut arguments = arguments(KernelArgumentAreaSource::Header, volume_id, "redhat");
    arguments.areas.reverse();
    let iso = x86_64(volume_id, "redhat")
        .ignition_header("images/ignition.img")
        .file(".cmdline", area(&arguments.text).as_bytes())
        .kernel_argument_header(header(&arguments));
    Era {
        name: "x86_64 2021-01",
        iso,
        generation: Generation::KernelArgumentHeader,
        architecture: Arch::X86_64,
        ignition: Some(ignition(IgnitionAreaSource::Header)),
        kernel_arguments: Some(arguments),
    }
}

/// RHCOS 4.9.
pub(crate) fn x86_64_2021_09() -> Era {
    let volume_id = "fedora-coreos-34.20210921.dev.0";
    let arguments = arguments(KernelArgumentAreaSource::Kargs, volume_id, "fedora");
    let iso = x86_64(volume_id, "fedora")
        .ignition_header("images/ignition.img")
        .file(".cmdline", area(&arguments.text).as_bytes())
        .kernel_argument_header(header(&arguments))
        .file("coreos/kargs.json", kargs_json(&arguments, false).as_bytes());
    Era {
        name: "x86_64 2021-09",
        iso,
        generation: Generation::Kargs,
        architecture: Arch::X86_64,
        ignition: Some(ignition(IgnitionAreaSource::Header)),
        kernel_arguments: Some(arguments),
    }
}

/// RHCOS 4.10.
pub(crate) fn x86_64_2021_12() -> Era {
    let Era { iso, .. } = x86_64_2021_09();
    Era {
        name: "x86_64 2021-12",
        iso: iso.file("coreos/features.json", features_json(&[]).as_bytes()),
        generation: Generation::Features,
        ..x86_64_2021_09()
    }
}

/// RHCOS 4.11.
pub(crate) fn x86_64_2022_02() -> Era {
    let volume_id = "fedora-coreos-35.20220217.dev.0";
    let arguments = arguments(KernelArgumentAreaSource::Kargs, volume_id, "fedora");
    let iso = x86_64(volume_id, "fedora")
        .file("coreos/kargs.json", kargs_json(&arguments, false).as_bytes())
        .file("coreos/features.json", features_json(&[]).as_bytes());
    Era {
        name: "x86_64 2022-02",
        iso,
        generation: Generation::WithoutHeaders,
        architecture: Arch::X86_64,
        ignition: Some(ignition(IgnitionAreaSource::ByName)),
        kernel_arguments: Some(arguments),
    }
}

/// RHCOS 4.12.
pub(crate) fn x86_64_2022_09() -> Era {
    let Era { iso, .. } = x86_64_2022_02();
    let features = features_json(&["append-karg", "dest-device"]);
    Era {
        name: "x86_64 2022-09",
        iso: iso.file("coreos/features.json", features.as_bytes()),
        generation: Generation::InstallerDirectives,
        ..x86_64_2022_02()
    }
}

/// RHCOS 4.13.
pub(crate) fn x86_64_2023_03() -> Era {
    let Era { iso, .. } = x86_64_2022_09();
    Era {
        name: "x86_64 2023-03",
        iso: iso.file("coreos/igninfo.json", br#"{"file": "images/ignition.img"}"#),
        generation: Generation::IgnInfo,
        ignition: Some(ignition(IgnitionAreaSource::IgnInfo)),
        ..x86_64_2022_09()
    }
}

/// RHCOS 4.14 and later, FCOS and SCOS.
pub(crate) fn x86_64_2023_07(volume_id: &str, vendor: &str) -> Era {
    let arguments = arguments(KernelArgumentAreaSource::Kargs, volume_id, vendor);
    let iso = x86_64(volume_id, vendor)
        .file("coreos/features.json", features_json(&["append-karg"]).as_bytes())
        .file("coreos/igninfo.json", br#"{"file": "images/ignition.img"}"#)
        .file("coreos/kargs.json", kargs_json(&arguments, true).as_bytes());
    Era {
        name: "x86_64 2023-07",
        iso,
        generation: Generation::PadAndEnd,
        architecture: Arch::X86_64,
        ignition: Some(ignition(IgnitionAreaSource::IgnInfo)),
        kernel_arguments: Some(arguments),
    }
}

/// RHCOS 4.7 after a tool has written it anew, without what it did not know of.
pub(crate) fn x86_64_2021_01_without_its_system_area() -> Era {
    let volume_id = "rhcos-47.84.202112162337-0";
    let arguments = arguments(KernelArgumentAreaSource::Marker, volume_id, "redhat");
    Era {
        name: "x86_64 2021-01 without its system area",
        iso: x86_64(volume_id, "redhat").file(".cmdline", area(&arguments.text).as_bytes()),
        generation: Generation::Undescribed,
        architecture: Arch::X86_64,
        ignition: Some(ignition(IgnitionAreaSource::ByName)),
        kernel_arguments: Some(arguments),
    }
}

pub(crate) fn aarch64_2023_07() -> Era {
    let era = x86_64_2023_07("fedora-coreos-42.20250526.3.0", "fedora");
    let mut kernel = noise(3000);
    kernel[..2].copy_from_slice(b"MZ");
    kernel[56..60].copy_from_slice(b"ARM\x64");
    let iso = era.iso.without("isolinux/isolinux.bin").boots(&[(UEFI, "images/efiboot.img")]);
    Era {
        name: "aarch64 2023-07",
        iso: iso.file("images/pxeboot/vmlinuz", &kernel),
        architecture: Arch::Arm64,
        ..era
    }
}

/// The builder moved the only configuration, and did not find it when it wrote the header.
pub(crate) fn ppc64le_2021_01() -> Era {
    let volume_id = "rhcos-47.84.202112162337-0";
    let mut arguments = arguments(KernelArgumentAreaSource::Marker, volume_id, "redhat");
    arguments.areas.retain(|(path, _)| path.ends_with("grub.cfg"));
    "boot/grub/grub.cfg".clone_into(&mut arguments.areas[0].0);
    let iso = files(volume_id)
        .file("boot/grub/grub.cfg", grub_cfg(&arguments.text).as_bytes())
        .file("ppc/bootinfo.txt", b"<chrp-boot>")
        .file("images/ignition.img", &[0; IGNITION_AREA])
        .ignition_header("images/ignition.img")
        .file(".cmdline", area(&arguments.text).as_bytes())
        .kernel_argument_header(KernelArgumentHeader { areas: Vec::new(), ..header(&arguments) });
    Era {
        name: "ppc64le 2021-01",
        iso,
        generation: Generation::KernelArgumentHeader,
        architecture: Arch::Ppc64le,
        ignition: Some(ignition(IgnitionAreaSource::Header)),
        kernel_arguments: Some(arguments),
    }
}

pub(crate) fn ppc64le_2021_09() -> Era {
    let Era { iso, kernel_arguments, .. } = ppc64le_2021_01();
    let arguments =
        kernel_arguments.map(|arguments| Arguments { source: KernelArgumentAreaSource::Kargs, ..arguments });
    let kargs = arguments.as_ref().map(|arguments| kargs_json(arguments, false)).unwrap_or_default();
    Era {
        name: "ppc64le 2021-09",
        iso: iso.file("coreos/kargs.json", kargs.as_bytes()),
        generation: Generation::Kargs,
        kernel_arguments: arguments,
        ..ppc64le_2021_01()
    }
}

/// There is a file for the Ignition config, but s390x does not load it.
pub(crate) fn s390x_2020_09() -> Era {
    let iso = files("rhcos-46.82.202112161843-0")
        .without("images/pxeboot/vmlinuz")
        .file("images/pxeboot/kernel.img", &noise(3000))
        .file("images/cdboot.img", &noise(CDBOOT_IGNITION))
        .file("images/ignition.img", &[0; IGNITION_AREA])
        .boots(&[(BIOS, "images/cdboot.img")]);
    Era {
        name: "s390x 2020-09",
        iso,
        generation: Generation::Undescribed,
        architecture: Arch::S390x,
        ignition: None,
        kernel_arguments: None,
    }
}

pub(crate) fn s390x_2022_09() -> Era {
    let Era { iso, .. } = s390x_2020_09();
    Era {
        name: "s390x 2022-09",
        iso: iso.file("coreos/features.json", features_json(&["append-karg"]).as_bytes()),
        generation: Generation::InstallerDirectives,
        ..s390x_2020_09()
    }
}

pub(crate) fn s390x_2023_03() -> Era {
    let mut boot = noise(CDBOOT_IGNITION);
    boot.resize(CDBOOT_IGNITION + IGNITION_AREA, 0);
    let igninfo =
        json!({"file": "images/cdboot.img", "offset": CDBOOT_IGNITION, "length": IGNITION_AREA}).to_string();
    let Era { iso, .. } = s390x_2022_09();
    let iso = iso
        .without("images/ignition.img")
        .file("images/cdboot.img", &boot)
        .file("coreos/igninfo.json", igninfo.as_bytes());
    let area = (IgnitionAreaSource::IgnInfo, "images/cdboot.img".to_owned(), CDBOOT_IGNITION);
    Era {
        name: "s390x 2023-03",
        iso,
        generation: Generation::IgnInfo,
        ignition: Some(area),
        ..s390x_2022_09()
    }
}

pub(crate) fn s390x_2023_07() -> Era {
    let text = "mitigations=auto,nosmt ignition.firstboot ignition.platform.id=metal".to_owned();
    let mut command_line = text.clone().into_bytes();
    command_line.resize(CDBOOT_ARGUMENTS_LEN, 0);
    let mut boot = noise(CDBOOT_IGNITION);
    boot[CDBOOT_ARGUMENTS..CDBOOT_ARGUMENTS + CDBOOT_ARGUMENTS_LEN].copy_from_slice(&command_line);
    boot.resize(CDBOOT_IGNITION + IGNITION_AREA, 0);
    let arguments = Arguments {
        source: KernelArgumentAreaSource::Kargs,
        text,
        areas: vec![("images/cdboot.img".to_owned(), CDBOOT_ARGUMENTS)],
        size: CDBOOT_ARGUMENTS_LEN,
        end: 0,
        pad: 0,
    };
    let Era { iso, .. } = s390x_2023_03();
    let iso = iso
        .file("images/cdboot.img", &boot)
        .file("coreos/kargs.json", kargs_json(&arguments, true).as_bytes());
    Era {
        name: "s390x 2023-07",
        iso,
        generation: Generation::PadAndEnd,
        kernel_arguments: Some(arguments),
        ..s390x_2023_03()
    }
}

/// What every ISO has.
fn files(volume_id: &str) -> Iso {
    Iso::new(volume_id)
        .file("images/pxeboot/vmlinuz", &noise(3000))
        .file("images/pxeboot/initrd.img", &noise(5000))
        .file("images/pxeboot/rootfs.img", &noise(7001))
}

fn x86_64(volume_id: &str, vendor: &str) -> Iso {
    let text = text(volume_id);
    files(volume_id)
        .file(&format!("EFI/{vendor}/grub.cfg"), grub_cfg(&text).as_bytes())
        .file("isolinux/isolinux.cfg", isolinux_cfg(&text).as_bytes())
        .file("isolinux/isolinux.bin", &noise(2500))
        .file("images/efiboot.img", &noise(9000))
        .file("images/ignition.img", &[0; IGNITION_AREA])
        .boots(&[(BIOS, "isolinux/isolinux.bin"), (UEFI, "images/efiboot.img")])
}

fn ignition(source: IgnitionAreaSource) -> (IgnitionAreaSource, String, usize) {
    (source, "images/ignition.img".to_owned(), 0)
}

fn text(volume_id: &str) -> String {
    format!("random.trust_cpu=on coreos.liveiso={volume_id} ignition.firstboot ignition.platform.id=metal")
}

/// The arguments with what ends and fills them up, without the `# ` that the marker begins with.
fn area(text: &str) -> String {
    format!("{text}\n{}", "#".repeat(FILLING))
}

fn grub_cfg(text: &str) -> String {
    format!(
        "set timeout=5\nmenuentry 'CoreOS (Live)' --class os {{\n\tlinux /images/pxeboot/vmlinuz {}\
         # COREOS_KARG_EMBED_AREA\n\tinitrd /images/pxeboot/initrd.img /images/ignition.img\n}}\n",
        area(text)
    )
}

fn isolinux_cfg(text: &str) -> String {
    format!(
        "default vesamenu.c32\n\nlabel linux\n  menu default\n  kernel /images/pxeboot/vmlinuz\n  \
         append initrd=/images/pxeboot/initrd.img,/images/ignition.img {}\
         # COREOS_KARG_EMBED_AREA\n\nmenu end\n",
        area(text)
    )
}

fn arguments(source: KernelArgumentAreaSource, volume_id: &str, vendor: &str) -> Arguments {
    let text = text(volume_id);
    let offset = |configuration: String| configuration.find(&text).unwrap();
    Arguments {
        source,
        areas: vec![
            (format!("EFI/{vendor}/grub.cfg"), offset(grub_cfg(&text))),
            ("isolinux/isolinux.cfg".to_owned(), offset(isolinux_cfg(&text))),
        ],
        size: area(&text).len(),
        end: b'\n',
        pad: b'#',
        text,
    }
}

fn header(arguments: &Arguments) -> KernelArgumentHeader {
    KernelArgumentHeader {
        size: arguments.size,
        default: ".cmdline".to_owned(),
        areas: arguments.areas.clone(),
    }
}

fn kargs_json(arguments: &Arguments, say_how_to_fill: bool) -> String {
    let file = |(path, offset): &(String, usize)| {
        let mut file = json!({"path": path, "offset": offset});
        if say_how_to_fill {
            file["pad"] = char::from(arguments.pad).to_string().into();
            file["end"] = char::from(arguments.end).to_string().into();
        }
        file
    };
    let files: Vec<_> = arguments.areas.iter().map(file).collect();
    json!({"default": arguments.text, "files": files, "size": arguments.size}).to_string()
}

fn features_json(directives: &[&str]) -> String {
    let mut features = json!({"installer-config": true, "live-initrd-network": true});
    for directive in directives {
        features["installer-config-directives"][directive] = true.into();
    }
    features.to_string()
}
