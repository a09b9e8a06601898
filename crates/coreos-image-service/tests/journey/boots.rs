//! Guests boot what a running service gives out: full and minimal ISOs, with BIOS and UEFI, from a CD and a USB disk.

use std::path::Path;
use std::process::Command;

use coreos_names::Arch;
use tempfile::TempDir;
use test_support::fixtures::live_iso;
use test_support::payload::Content;

use crate::IGNITION;
use crate::service::{INFRA_ENV, Service};
use crate::tools::output;

/// Firmware and medium. Each pair reads other parts of an ISO.
const MACHINES: [(&str, &str); 4] = [("bios", "cd"), ("bios", "usb"), ("uefi", "cd"), ("uefi", "usb")];

/// What a guest prints.
pub(crate) fn boot(iso: &Path, (firmware, media): (&str, &str)) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/boot-iso");
    output(Command::new(script).args(["--firmware", firmware, "--media", media]).arg(iso))
}

/// The rest of the line that begins so.
pub(crate) fn told<'a>(console: &'a str, start: &str) -> Option<&'a str> {
    console.lines().find_map(|line| line.strip_prefix(start))
}

fn sha256(path: &Path) -> String {
    Content::from_file(path).unwrap().sha256().to_string()
}

/// The program of the fixture, as unsquashfs takes it out.
fn nmstatectl(directory: &Path) -> String {
    let script = "isoinfo -R -x /images/pxeboot/rootfs.img -i \"$0\" \
         | cpio --extract --quiet --make-directories root.squashfs \
         && unsquashfs -quiet -no-progress -dest root root.squashfs >unsquashfs.log \
         && cp root/ostree/deploy/rhcos/deploy/*.0/usr/bin/nmstatectl nmstatectl";
    let iso = live_iso(Arch::X86_64).canonicalize().unwrap();
    output(Command::new("sh").args(["-c", script]).arg(iso).current_dir(directory));
    sha256(&directory.join("nmstatectl"))
}

/// An archive of a file in its directories, as cpio makes it.
fn archive(path: &str) -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "[connection]").unwrap();
    let pack = "find . -mindepth 1 | cpio --quiet -o -H newc | gzip";
    let output = Command::new("sh").args(["-c", pack]).current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn full_isos_boot_everywhere() {
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .adopted(Arch::X86_64)
        .infra_env(IGNITION, &["test.says=hello", "test.number=7"])
        .start();
    service.wait_until_ready();
    let iso = directory.path().join("full.iso");
    service.download(&format!("/byid/{INFRA_ENV}/4.18/x86_64/full.iso"), &iso);
    for machine in MACHINES {
        let console = boot(&iso, machine);
        assert!(console.lines().any(|line| line == IGNITION), "{machine:?}: {console}");
        let arguments = told(&console, "GUEST-CMDLINE: ").unwrap();
        assert!(arguments.contains(" coreos.liveiso="), "{machine:?}: {arguments}");
        assert!(arguments.ends_with(" test.says=hello test.number=7"), "{machine:?}: {arguments}");
    }
}

#[test]
fn minimal_isos_boot_everywhere_and_fetch_the_rest_from_the_service() {
    let directory = TempDir::new().unwrap();
    let service = Service::builder(directory.path())
        .adopted(Arch::X86_64)
        .infra_env(IGNITION, &["test.says=hello"])
        .ramdisk(&archive("etc/assisted/network/host0/eth0.nmconnection"))
        .for_guests()
        .start();
    service.wait_until_ready();
    let [iso, rootfs] = ["minimal.iso", "rootfs.img"].map(|name| directory.path().join(name));
    service.download(&format!("/byid/{INFRA_ENV}/4.18/x86_64/minimal.iso"), &iso);
    service.download("/boot-artifacts/rootfs?version=4.18&arch=x86_64", &rootfs);
    let (rootfs, nmstatectl) = (sha256(&rootfs), nmstatectl(directory.path()));
    for machine in MACHINES {
        let console = boot(&iso, machine);
        assert!(console.lines().any(|line| line == IGNITION), "{machine:?}: {console}");
        let arguments = told(&console, "GUEST-CMDLINE: ").unwrap();
        assert!(!arguments.contains("coreos.liveiso="), "{machine:?}: {arguments}");
        assert!(arguments.ends_with(" test.says=hello"), "{machine:?}: {arguments}");
        assert_eq!(told(&console, "GUEST-ROOTFS-SHA256: "), Some(&*rootfs), "{machine:?}: {console}");
        assert_eq!(told(&console, "GUEST-NMSTATECTL-SHA256: "), Some(&*nmstatectl), "{machine:?}: {console}");
        let file = "GUEST-RAMDISK-FILE: /etc/assisted/network/host0/eth0.nmconnection";
        assert!(console.lines().any(|line| line == file), "{machine:?}: {console}");
    }
}
