//! The `iso` commands on the fixtures, judged by coreos-installer and by hand.

mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

use coreos_names::Arch;
use tempfile::TempDir;
use test_support::fixtures::{LiveIso, OS_BUILD, live_iso};
use tools::{coreos_installer, output};

const IGNITION: &str = r#"{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/motd"}]}}"#;

fn iso(subcommand: &str, arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
    command.args(["iso", subcommand]).args(arguments);
    command
}

fn refusal(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    String::from_utf8(stderr).unwrap()
}

/// A file with some content.
fn file(directory: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn what_is_embedded_is_shown() {
    let text = output(&mut iso("inspect", &[&live_iso(Arch::S390x)]));
    for expected in [
        format!("volume id         rhcos-{OS_BUILD}\n"),
        "format            4.14 or later: ".to_owned(),
        "the Ignition area in \"images/cdboot.img\": 262144 bytes at ".to_owned(),
        "the area for kernel arguments in \"images/cdboot.img\": 896 bytes at ".to_owned(),
        "embedded files\n  none\n".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn what_an_iso_is_is_told() {
    let text = output(&mut iso("inspect", &[&live_iso(Arch::X86_64)]));
    for expected in [
        "operating system  rhcos\n",
        "architecture      x86_64\n",
        "boots             El Torito, El Torito UEFI, MBR, GPT\n",
        "rootfs            squashfs (zstd)\n",
        "minimal ISO       possible, ",
        "  installer-config: append-karg, ",
        "  live-initrd-network\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn why_there_is_no_minimal_iso_is_told() {
    let old = LiveIso::S390xOcp4_11.path();
    let text = output(&mut iso("inspect", &[&old]));
    let reason = text.lines().find_map(|line| line.strip_prefix("minimal ISO       impossible: "));
    let reason = reason.unwrap_or_else(|| panic!("{text}"));

    let directory = TempDir::new().unwrap();
    let out = directory.path().join("out.iso");
    let text = refusal(iso("minimal", &[&old]).args(["--rootfs-url", "http://a/b"]).arg("-o").arg(&out));
    let path = old.display();
    assert_eq!(text, format!("error: {path}: no minimal ISO can be made of this image: {reason}\n"));
    assert!(!out.exists());
}

#[test]
fn kernel_arguments_are_written_as_they_are_given() {
    let directory = TempDir::new().unwrap();
    let out = directory.path().join("out.iso");
    // To GRUB the ampersand, the semicolon and the quotes are syntax; to isolinux they are not.
    let given = ["inst=http://h/?a=1&b=2", "x;reboot", "'quoted=$HOME {|}' <>", r#"b="\n""#];
    let mut command = iso("customize", &[&live_iso(Arch::X86_64)]);
    command.arg("-o").arg(&out);
    for argument in given {
        command.args(["--karg", argument]);
    }
    output(&mut command);
    let arguments = output(coreos_installer(&["iso", "kargs", "show"]).arg(&out));
    assert!(arguments.trim_end().ends_with(&format!(" {}", given.join(" "))), "{arguments}");
    let written = format!(" {}\n###", given.join(" "));
    let bytes = fs::read(&out).unwrap();
    let copies = bytes.windows(written.len()).filter(|window| *window == written.as_bytes()).count();
    assert_eq!(copies, 2, "one for GRUB, one for isolinux");

    let text = refusal(iso("customize", &[&out]).args(["--karg", "x\nreboot"]).arg("-o").arg(&out));
    assert!(text.contains("kernel argument 1 holds the control character '\\n'"), "{text}");
}

#[test]
fn a_customised_iso_holds_what_was_asked_for() {
    let directory = TempDir::new().unwrap();
    let config = file(&directory, "config.ign", IGNITION.as_bytes());
    let out = file(&directory, "out.iso", b"what was there before");
    for arch in [Arch::X86_64, Arch::Arm64, Arch::S390x] {
        output(
            iso("customize", &[&live_iso(arch)])
                .args(["--karg", "one=1", "--karg", "two"])
                .arg("--ignition")
                .arg(&config)
                .arg("-o")
                .arg(&out),
        );
        assert_eq!(output(coreos_installer(&["iso", "ignition", "show"]).arg(&out)), IGNITION);
        let arguments = output(coreos_installer(&["iso", "kargs", "show"]).arg(&out));
        assert!(arguments.trim_end().ends_with(" one=1 two"), "{arch}: {arguments}");
        assert_eq!(output(iso("inspect", &[&out]).arg("--ignition")), IGNITION);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left behind");
}

#[test]
fn a_network_ramdisk_goes_where_the_kernel_finds_it() {
    let directory = TempDir::new().unwrap();
    fs::create_dir_all(directory.path().join("etc/assisted")).unwrap();
    file(&directory, "etc/assisted/eth0.nmconnection", b"[connection]\n");
    let archive = directory.path().join("network.cpio");
    output(Command::new("sh").current_dir(&directory).args([
        "-c",
        "printf '%s\\n' etc etc/assisted etc/assisted/eth0.nmconnection | cpio --create --format=newc --quiet >network.cpio",
    ]));
    let out = directory.path().join("out.iso");
    output(
        iso("customize", &[&live_iso(Arch::X86_64)])
            .arg("--network-ramdisk")
            .arg(archive)
            .arg("-o")
            .arg(&out),
    );
    let text = output(&mut iso("inspect", &[&out]));
    assert!(text.contains("  etc/assisted/eth0.nmconnection (13 bytes)\n"), "{text}");
}

#[test]
fn a_minimal_iso_names_where_its_root_file_system_is() {
    let directory = TempDir::new().unwrap();
    let config = file(&directory, "config.ign", IGNITION.as_bytes());
    let out = directory.path().join("minimal.iso");
    let url = "https://images.example.com/boot-artifacts/rootfs?arch=x86_64&version=4.18";
    let minimal = |url| {
        let mut command = iso("minimal", &[&live_iso(Arch::X86_64)]);
        command
            .args(["--rootfs-url", url, "--karg", "more"])
            .arg("--ignition")
            .arg(&config)
            .arg("-o")
            .arg(&out);
        command
    };
    output(&mut minimal(url));
    assert_eq!(output(coreos_installer(&["iso", "ignition", "show"]).arg(&out)), IGNITION);
    let arguments = output(coreos_installer(&["iso", "kargs", "show"]).arg(&out));
    assert!(!arguments.contains("coreos.liveiso="), "{arguments}");
    assert!(
        arguments.trim_end().ends_with(&format!(" coreos.live.rootfs_url=\"{url}\" more")),
        "{arguments}"
    );
    let sizes = [&out, &live_iso(Arch::X86_64)].map(|path| fs::metadata(path).unwrap().len());
    assert!(sizes[0] + (8 << 20) <= sizes[1], "{sizes:?}");

    output(minimal(url).arg("--nmstate"));
    let listing = output(Command::new("isoinfo").args(["-R", "-f", "-i"]).arg(&out));
    assert!(listing.lines().any(|path| path == "/images/nmstate.img"), "{listing}");

    let refused = minimal("https://images.example.com/$HOME").output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
}

/// In another process, elsewhere, with another date, time zone and locale.
#[test]
fn a_minimal_iso_is_the_same_wherever_and_whenever_it_is_made() {
    let directory = TempDir::new().unwrap();
    let config = file(&directory, "config.ign", IGNITION.as_bytes());
    for arch in [Arch::X86_64, Arch::Arm64] {
        let made = |place: &str, time_zone: &str, locale: &str, days: u64| {
            let place = directory.path().join(place);
            fs::create_dir_all(&place).unwrap();
            let copy = place.join(format!("{days}.iso"));
            fs::copy(live_iso(arch), &copy).unwrap();
            let modified = UNIX_EPOCH + Duration::from_hours(24 * days);
            fs::File::options().write(true).open(&copy).unwrap().set_modified(modified).unwrap();
            let out = place.join("out.iso");
            output(
                iso("minimal", &[&copy])
                    .args(["--nmstate", "--karg", "p=1", "--rootfs-url", "http://images.example.com/rootfs"])
                    .arg("--ignition")
                    .arg(&config)
                    .arg("-o")
                    .arg(&out)
                    .env_clear()
                    .envs([("TZ", time_zone), ("LC_ALL", locale)])
                    .current_dir(&place),
            );
            fs::read(out).unwrap()
        };
        let here = made("here", "UTC", "C", 0);
        assert!(here == made("at/another/place", "Pacific/Kiritimati", "de_DE.UTF-8", 20_000), "{arch}");
    }
}

#[test]
fn pxe_files_are_those_that_coreos_installer_takes_out() {
    let directory = TempDir::new().unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| directory.path().join(name));
    fs::create_dir(&theirs).unwrap();
    let image = live_iso(Arch::X86_64);
    output(iso("extract-pxe", &[&image]).arg("-o").arg(&ours));
    output(coreos_installer(&["iso", "extract", "pxe", "--output-dir"]).arg(&theirs).arg(&image));
    for name in ["vmlinuz", "initrd.img", "rootfs.img"] {
        let expected = fs::read(theirs.join(format!("x86_64-{name}"))).unwrap();
        assert!(fs::read(ours.join(name)).unwrap() == expected, "{name}");
    }
    assert_eq!(fs::read_dir(&ours).unwrap().count(), 3);
}

#[test]
fn the_pxe_files_of_s390x_know_the_size_of_the_customised_initrd() {
    let directory = TempDir::new().unwrap();
    let config = file(&directory, "config.ign", IGNITION.as_bytes());
    let out = directory.path().join("pxe");
    output(iso("extract-pxe", &[&live_iso(Arch::S390x)]).arg("--ignition").arg(config).arg("-o").arg(&out));
    let addr_size = fs::read(out.join("initrd.addrsize")).unwrap();
    let initrd = fs::metadata(out.join("initrd.img")).unwrap().len();
    assert_eq!(addr_size, [&0x0200_0000_u64.to_be_bytes()[..], &initrd.to_be_bytes()].concat());
    assert!(
        fs::read_to_string(out.join("generic.ins")).unwrap().contains("images/initrd.addrsize 0x00010408")
    );
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let directory = TempDir::new().unwrap();
    let large = file(&directory, "large", &vec![0; (256 << 10) + 1]);
    let out = directory.path().join("out.iso");
    let text = refusal(
        iso("customize", &[&live_iso(Arch::X86_64)]).arg("--network-ramdisk").arg(&large).arg("-o").arg(&out),
    );
    assert!(text.contains("the network configuration is too large: it has 262145 bytes"), "{text}");
    let text = refusal(iso("customize", &[&large]).arg("-o").arg(&out));
    assert!(text.starts_with("error: cannot read ") && text.contains("not an ISO 9660"), "{text}");
    assert!(!out.exists());
}
