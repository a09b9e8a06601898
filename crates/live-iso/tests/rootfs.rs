//! `nmstatectl` out of root file systems as real builders write them, and out of damaged ones.

mod judges;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use judges::{fixture, run};
use live_iso::{
    Layout, RootfsCompression, RootfsError, RootfsFileSystem, RootfsInfo, nmstatectl, rootfs_info,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const COMMIT: &str = "f16d05ec6b29248d2c61adb1e9263f78e4f7bace1b955014a2d17872cfe4064d";

/// An ISO without anything but a root file system.
struct Iso {
    bytes: Vec<u8>,
    layout: Layout,
}

impl Iso {
    /// Puts an image of a file system where the root file system of a live ISO is.
    fn around(image: &[u8]) -> Self {
        Self::with_member("root.squashfs", image)
    }

    fn with_member(name: &str, image: &[u8]) -> Self {
        let work = tempfile::tempdir().unwrap();
        fs::write(work.path().join(name), image).unwrap();
        fs::write(work.path().join("etc"), "more").unwrap();
        let cpio = format!(r"printf '%s\n' {name} etc | cpio --create --format=newc --quiet >rootfs.img");
        run(work.path(), "sh", &["-c", &cpio]);
        Self::with_rootfs(&fs::read(work.path().join("rootfs.img")).unwrap())
    }

    fn with_rootfs(rootfs: &[u8]) -> Self {
        let work = tempfile::tempdir().unwrap();
        let pxeboot = work.path().join("tree/images/pxeboot");
        fs::create_dir_all(&pxeboot).unwrap();
        fs::write(pxeboot.join("rootfs.img"), rootfs).unwrap();
        fs::write(pxeboot.join("vmlinuz"), "kernel").unwrap();
        fs::write(pxeboot.join("initrd.img"), "initrd").unwrap();
        let arguments = ["-quiet", "-R", "-V", "rhcos-418.94.202511191518-0", "-o", "iso", "tree"];
        run(work.path(), "genisoimage", &arguments);
        let bytes = fs::read(work.path().join("iso")).unwrap();
        let layout = Layout::read(&bytes).unwrap();
        Self { bytes, layout }
    }

    fn nmstatectl(&self) -> Result<Vec<u8>, RootfsError> {
        nmstatectl(&self.bytes, &self.layout)
    }

    fn info(&self) -> RootfsInfo {
        rootfs_info(&self.bytes, &self.layout).unwrap()
    }

    /// Where the file system begins in the ISO: behind the header and the name `root.squashfs`.
    fn image_start(&self) -> usize {
        usize::try_from(self.layout.rootfs().offset).unwrap() + 124
    }
}

/// A root file system in the making.
struct Sysroot(TempDir);

impl Sysroot {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One deployment that has the program.
    fn with_nmstatectl(program: &[u8]) -> Self {
        let sysroot = Self::new();
        sysroot.deploy("rhcos", COMMIT, program);
        sysroot
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("sysroot")
    }

    /// Makes a deployment and returns its `usr/bin`.
    fn deployment(&self, os: &str, commit: &str) -> PathBuf {
        let deploy = self.path().join("ostree/deploy").join(os).join("deploy");
        let programs = deploy.join(format!("{commit}.0/usr/bin"));
        fs::create_dir_all(&programs).unwrap();
        fs::write(deploy.join(format!("{commit}.0.origin")), "[origin]\n").unwrap();
        for name in ["bash", "nmcli", "nmstatectl-2"] {
            fs::write(programs.join(name), name).unwrap();
        }
        programs
    }

    fn deploy(&self, os: &str, commit: &str, program: &[u8]) {
        let path = self.deployment(os, commit).join("nmstatectl");
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // Every file of a deployment is also an object in the repository.
        let objects = self.path().join("ostree/repo/objects").join(&commit[..2]);
        fs::create_dir_all(&objects).unwrap();
        fs::hard_link(&path, objects.join(format!("{os}.file"))).unwrap();
    }

    fn squashfs(&self, options: &[&str]) -> Vec<u8> {
        let image = self.0.path().join("image");
        let mut arguments = vec!["sysroot", "image", "-noappend", "-all-root", "-quiet", "-no-progress"];
        arguments.extend(options);
        run(self.0.path(), "mksquashfs", &arguments);
        fs::read(image).unwrap()
    }

    fn erofs(&self, options: &[&str]) -> Vec<u8> {
        let image = self.0.path().join("image");
        let mut arguments = options.to_vec();
        arguments.extend(["--all-root", "image", "sysroot"]);
        run(self.0.path(), "mkfs.erofs", &arguments);
        fs::read(image).unwrap()
    }
}

/// Something like a program: some of it compresses, some does not, and some is zeros.
fn program(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let part = |index: usize| index / 20_000 % 3;
    noise
        .take(len)
        .enumerate()
        .map(|(index, byte)| match part(index) {
            0 => byte,
            1 => b"nmstate "[index % 8],
            _ => 0,
        })
        .collect()
}

#[test]
fn squashfs_of_every_compression_is_read() {
    let program = program(700_123);
    let sysroot = Sysroot::with_nmstatectl(&program);
    for (compression, name) in [
        (RootfsCompression::Gzip, "gzip"),
        (RootfsCompression::Xz, "xz"),
        (RootfsCompression::Zstd, "zstd"),
        (RootfsCompression::Lz4, "lz4"),
    ] {
        let iso = Iso::around(&sysroot.squashfs(&["-comp", name]));
        assert_eq!(iso.info().file_system(), RootfsFileSystem::Squashfs);
        assert_eq!(iso.info().compressions(), [compression]);
        assert!(iso.nmstatectl().unwrap() == program, "{name}");
    }
}

#[test]
fn squashfs_is_read_however_it_is_packed() {
    for len in [0, 1, 4096, 131_072, 131_073, 300_000] {
        let program = program(len);
        let sysroot = Sysroot::with_nmstatectl(&program);
        for options in [
            &["-b", "4K"][..],
            &["-b", "1M"],
            &["-no-fragments"],
            &["-always-use-fragments"],
            &["-no-sparse"],
            &["-noI", "-noD", "-noF"],
            &["-comp", "xz", "-Xbcj", "x86"],
            &["-comp", "xz", "-Xdict-size", "8K"],
            &["-comp", "lz4", "-Xhc"],
        ] {
            let iso = Iso::around(&sysroot.squashfs(options));
            assert!(iso.nmstatectl().unwrap() == program, "{options:?}, {len} bytes");
        }
    }
}

/// Large directories have another form, and their entries run across metadata blocks.
#[test]
fn large_directories_are_searched() {
    let sysroot = Sysroot::with_nmstatectl(b"program");
    let programs = sysroot.deployment("rhcos", COMMIT);
    for number in 0..1500 {
        fs::write(programs.join(format!("{number}-a-program-with-a-long-name")), "x").unwrap();
    }
    for image in [sysroot.squashfs(&["-comp", "zstd"]), sysroot.erofs(&["-zlz4"])] {
        assert_eq!(Iso::around(&image).nmstatectl().unwrap(), b"program");
    }
}

#[test]
fn erofs_of_debian_is_read() {
    for len in [1, 4096, 4097, 300_001] {
        let program = program(len);
        let sysroot = Sysroot::with_nmstatectl(&program);
        for (options, compressions) in [
            (&["-zlz4"][..], &[RootfsCompression::Lz4][..]),
            (&["-zlz4hc,12", "-C65536"], &[RootfsCompression::Lz4]),
            (&["-zlz4hc", "-Eztailpacking"], &[RootfsCompression::Lz4]),
            (&["-zlz4", "-Elegacy-compress"], &[]),
            (&["--chunksize=4096"], &[]),
            (&[], &[]),
        ] {
            let iso = Iso::with_member("root.erofs", &sysroot.erofs(options));
            assert_eq!(iso.info().file_system(), RootfsFileSystem::Erofs);
            assert_eq!(iso.info().compressions(), compressions, "{options:?}");
            assert!(iso.nmstatectl().unwrap() == program, "{options:?}, {len} bytes");
        }
    }
}

/// What Debian's tools cannot make; see fixtures/erofs/README.md.
#[test]
fn erofs_of_fedora_is_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/erofs");
    let program = "8b8127771cd1a3ca5ac8c99e5a8dda1ad53c50f93c64094c6b7adbdf627bceec";
    for (name, label) in [
        ("lzma-all-fragments", "erofs (lzma)"),
        ("lzma-fragments", "erofs (lzma)"),
        ("lzma-tail-packing", "erofs (lzma)"),
        ("lzma-and-deflate", "erofs (lzma, deflate)"),
        ("deflate", "erofs (deflate)"),
        ("zstd", "erofs (zstd)"),
        ("zstd-48bit", "erofs (zstd)"),
        ("lz4-dedupe", "erofs (lz4)"),
    ] {
        let image = fs::read(fixtures.join(format!("{name}.erofs"))).unwrap();
        let iso = Iso::with_member("root.erofs", &image);
        assert_eq!(iso.info().to_string(), label, "{name}");
        let found = coreos_names::Sha256::new(Sha256::digest(iso.nmstatectl().unwrap())).to_string();
        assert_eq!(found, program, "{name}");
    }
}

#[test]
fn the_program_of_a_live_iso_is_what_unsquashfs_takes_out() {
    for arch in ["x86_64", "aarch64", "s390x"] {
        let path = fixture(arch);
        let iso = fs::File::open(&path).unwrap();
        let layout = Layout::read(&iso).unwrap();
        assert_eq!(rootfs_info(&iso, &layout).unwrap().to_string(), "squashfs (zstd)", "{arch}");

        let work = tempfile::tempdir().unwrap();
        let script = format!(
            "isoinfo -R -x /images/pxeboot/rootfs.img -i {} | cpio --extract --quiet --make-directories \
             && unsquashfs -quiet -no-progress -dest out root.squashfs >log \
             && cat out/ostree/deploy/rhcos/deploy/*.0/usr/bin/nmstatectl",
            path.display()
        );
        let expected = run(work.path(), "sh", &["-c", &script]);
        assert!(expected.len() > 50_000, "{arch}");
        assert!(nmstatectl(&iso, &layout).unwrap() == expected, "{arch}");
    }
}

/// A file system mounted by the kernel, until it is dropped.
struct Mount(TempDir);

impl Mount {
    /// Mounts what lies in a file, or tells why it cannot be done here.
    fn new(kind: &str, file: &Path, offset: usize) -> Result<Self, String> {
        let point = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", kind, "-o", &format!("loop,ro,offset={offset}")])
            .args([file, point.path()])
            .env("PATH", judges::path())
            .output()
            .map_err(|error| error.to_string())?;
        let allowed = output.status.success();
        allowed.then(|| Self(point)).ok_or_else(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run(Path::new("/"), "umount", &[self.0.path()]);
    }
}

/// The kernel is what reads the file system in the end.
#[test]
fn the_program_is_what_the_kernel_reads_where_it_may_mount() {
    let program = program(700_123);
    let sysroot = Sysroot::with_nmstatectl(&program);
    for (kind, image) in [
        ("squashfs", sysroot.squashfs(&["-comp", "zstd"])),
        ("squashfs", sysroot.squashfs(&["-comp", "xz", "-b", "8K"])),
        ("erofs", sysroot.erofs(&["-zlz4hc", "-C65536"])),
        ("erofs", sysroot.erofs(&[])),
    ] {
        let iso = Iso::around(&image);
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("iso");
        fs::write(&path, &iso.bytes).unwrap();
        match Mount::new(kind, &path, iso.image_start()) {
            Ok(mount) => {
                let file = format!("ostree/deploy/rhcos/deploy/{COMMIT}.0/usr/bin/nmstatectl");
                let mounted = fs::read(mount.0.path().join(file)).unwrap();
                assert!(mounted == program, "{kind}");
                assert!(iso.nmstatectl().unwrap() == mounted, "{kind}");
            }
            // Not with eprintln!, which is heard only where a test fails.
            Err(reason) => {
                writeln!(io::stderr(), "skipped: no {kind} can be mounted here: {reason}").unwrap();
            }
        }
    }
}

/// The two file systems that `sysroot` can become.
fn both(sysroot: &Sysroot) -> [Iso; 2] {
    [sysroot.squashfs(&["-comp", "zstd"]), sysroot.erofs(&["-zlz4"])].map(|image| Iso::around(&image))
}

#[test]
fn an_os_without_the_program_is_told_from_a_broken_one() {
    let without_program = Sysroot::new();
    without_program.deployment("rhcos", COMMIT);
    let without_deployment = Sysroot::new();
    fs::create_dir_all(without_deployment.path().join("ostree/deploy/rhcos/var")).unwrap();
    let without_ostree = Sysroot::new();
    fs::create_dir_all(without_ostree.path().join("usr/bin")).unwrap();
    fs::write(without_ostree.path().join("usr/bin/nmstatectl"), "not deployed").unwrap();

    for sysroot in [&without_program, &without_deployment, &without_ostree] {
        for iso in both(sysroot) {
            let error = iso.nmstatectl().unwrap_err();
            assert!(error.is_missing(), "{error}");
        }
    }
}

#[test]
fn symbolic_links_are_not_followed() {
    let link = Sysroot::new();
    symlink("bash", link.deployment("rhcos", COMMIT).join("nmstatectl")).unwrap();
    let linked_directory = Sysroot::new();
    let programs = linked_directory.deployment("rhcos", COMMIT);
    fs::write(programs.join("nmstatectl"), "program").unwrap();
    fs::rename(&programs, programs.with_file_name("programs")).unwrap();
    symlink("programs", &programs).unwrap();
    let directory = Sysroot::new();
    fs::create_dir(directory.deployment("rhcos", COMMIT).join("nmstatectl")).unwrap();

    for (sysroot, expected) in [
        (&link, "\"usr/bin/nmstatectl\" in the root file system is not a regular file"),
        (&linked_directory, "\"usr/bin\" in the root file system is not a directory"),
        (&directory, "\"usr/bin/nmstatectl\" in the root file system is not a regular file"),
    ] {
        for iso in both(sysroot) {
            let error = iso.nmstatectl().unwrap_err();
            assert!(!error.is_missing());
            assert_eq!(error.to_string(), expected);
        }
    }
}

#[test]
fn of_several_deployments_the_first_by_name_that_has_it_counts() {
    let sysroot = Sysroot::new();
    sysroot.deployment("fedora-coreos", COMMIT);
    sysroot.deploy("rhcos", "bbb", b"second");
    sysroot.deploy("rhcos", "aaa", b"first");
    sysroot.deploy("scos", "000", b"third");
    for iso in both(&sysroot) {
        assert_eq!(iso.nmstatectl().unwrap(), b"first");
    }
}

#[test]
fn more_deployments_than_any_image_has_are_refused() {
    let sysroot = Sysroot::new();
    for number in 0..17 {
        sysroot.deployment("rhcos", &format!("{number:03}"));
    }
    for iso in both(&sysroot) {
        let error = iso.nmstatectl().unwrap_err();
        assert!(matches!(error, RootfsError::TooMany { max: 16, .. }), "{error}");
    }
}

#[test]
fn a_program_larger_than_any_is_refused() {
    let sysroot = Sysroot::with_nmstatectl(b"");
    let program = sysroot.deployment("rhcos", COMMIT).join("nmstatectl");
    fs::File::options().write(true).open(&program).unwrap().set_len((64 << 20) + 1).unwrap();
    for iso in both(&sysroot) {
        let error = iso.nmstatectl().unwrap_err();
        assert!(matches!(error, RootfsError::TooLarge { len: 0x400_0001, .. }), "{error}");
    }
}

#[test]
fn unknown_formats_are_told_from_broken_ones() {
    let sysroot = Sysroot::with_nmstatectl(b"program");
    for name in ["lzma", "lzo"] {
        let iso = Iso::around(&sysroot.squashfs(&["-comp", name]));
        assert_eq!(iso.info().to_string(), format!("squashfs ({name})"));
        let error = iso.nmstatectl().unwrap_err();
        assert!(error.is_unsupported(), "{name}: {error}");
    }
    let error = Iso::around(&[0; 5000]).nmstatectl().unwrap_err();
    assert!(error.is_unsupported(), "{error}");

    for rootfs in [&b""[..], b"hsqs", &[0; 5000]] {
        let error = Iso::with_rootfs(rootfs).nmstatectl().unwrap_err();
        assert!(!error.is_unsupported() && !error.is_missing() && !error.is_read_failure(), "{error}");
    }
}

#[test]
fn what_cannot_be_read_is_no_fault_of_the_image() {
    struct Failing(Vec<u8>);
    impl live_iso::ReadAt for Failing {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            if offset % 4096 > 2048 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.0.read_exact_at(buf, offset)
        }
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
    }
    let sysroot = Sysroot::with_nmstatectl(&program(300_000));
    for iso in both(&sysroot) {
        let error = nmstatectl(&Failing(iso.bytes), &iso.layout).unwrap_err();
        assert!(error.is_read_failure(), "{error}");
    }
}

/// Some image of every kind, none larger than it must be.
fn images() -> Vec<(String, Vec<u8>)> {
    let sysroot = Sysroot::with_nmstatectl(&program(50_000));
    let squashfs = ["gzip", "xz", "zstd", "lz4"].map(|compression| {
        (compression.to_owned(), sysroot.squashfs(&["-comp", compression, "-b", "8K", "-nopad"]))
    });
    let plain = [("plain".to_owned(), sysroot.squashfs(&["-noI", "-noD", "-noF", "-nopad"]))];
    let erofs = [("erofs lz4".to_owned(), sysroot.erofs(&["-zlz4"]))];
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/erofs");
    let fedora = ["lzma-all-fragments", "lzma-fragments", "deflate", "zstd-48bit"]
        .map(|name| (name.to_owned(), fs::read(fixtures.join(format!("{name}.erofs"))).unwrap()));
    [&squashfs[..], &plain, &erofs, &fedora].concat()
}

#[test]
fn an_image_cut_anywhere_is_an_error() {
    for (name, image) in images() {
        let mut iso = Iso::around(&image);
        let expected = iso.nmstatectl().unwrap();
        // The size in the header of the member, so that the ISO itself goes on behind the end.
        let size = iso.image_start() - 124 + 54;
        let mut failures = 0;
        for len in (0..image.len()).step_by(image.len() / 97 + 1) {
            iso.bytes[size..size + 8].copy_from_slice(format!("{len:08x}").as_bytes());
            match iso.nmstatectl() {
                Ok(program) => assert!(program == expected, "{name} cut to {len} bytes"),
                Err(error) => {
                    assert!(!error.is_missing() && !error.is_read_failure(), "{name}: {error}");
                    failures += 1;
                }
            }
        }
        // Tables that nobody asks for may be missing.
        assert!(failures > 30, "{name}: {failures}");
    }
}

/// Whatever is in an image, it neither panics nor hangs nor fills the memory; and where everything is checksummed, no
/// other program comes out.
#[test]
fn damaged_images_do_no_harm() {
    for (name, image) in images() {
        let mut iso = Iso::around(&image);
        let expected = iso.nmstatectl().unwrap();
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut failures = 0;
        for _ in 0..150 {
            let start = iso.image_start();
            let sound = iso.bytes.clone();
            for _ in 0..=random(4) {
                let at = if random(2) == 0 { random(image.len()) } else { random(image.len().min(2048)) };
                iso.bytes[start + at] = u8::try_from(random(256)).unwrap();
            }
            failures += usize::from(!iso.nmstatectl().is_ok_and(|program| program == expected));
            iso.bytes = sound;
        }
        assert!(failures > 5, "{name}: {failures}");
    }
}

mod crafted {
    //! Images that say one thing wrong on purpose. Nothing in them is compressed, so that it can be found.

    use super::{COMMIT, Iso, RootfsError, Sysroot, program};

    const INODES: usize = 64;
    const DIRECTORIES: usize = 72;

    struct Crafted {
        iso: Iso,
        start: usize,
    }

    impl Crafted {
        fn new() -> Self {
            let sysroot = Sysroot::with_nmstatectl(&program(300_000));
            let iso =
                Iso::around(&sysroot.squashfs(&["-noI", "-noD", "-noF", "-no-fragments", "-b", "128K"]));
            assert_eq!(iso.nmstatectl().unwrap(), program(300_000));
            let start = iso.image_start();
            Self { iso, start }
        }

        fn u64(&self, at: usize) -> usize {
            let bytes = self.iso.bytes[self.start + at..][..8].try_into().unwrap();
            usize::try_from(u64::from_le_bytes(bytes)).unwrap()
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            let at = self.start + at;
            self.iso.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }

        /// Where the inode of the program is: the only file of its size. It has two names, so the inode is an extended
        /// one: the first block is at byte 16, the size at 24, the sizes of the blocks are from 56 on.
        fn inode(&self) -> usize {
            let table = self.u64(INODES)..self.u64(DIRECTORIES);
            let inodes = &self.iso.bytes[self.start..][table.clone()];
            let len = 300_000_u64.to_le_bytes();
            let found = inodes.windows(8).position(|window| window == len).unwrap();
            table.start + found - 24
        }

        fn error(&self) -> RootfsError {
            self.iso.nmstatectl().unwrap_err()
        }
    }

    #[test]
    fn a_size_beyond_the_blocks_is_refused() {
        let mut crafted = Crafted::new();
        let inode = crafted.inode();
        crafted.put(inode + 24, &u64::MAX.to_le_bytes());
        assert!(matches!(crafted.error(), RootfsError::TooLarge { .. }), "{}", crafted.error());
        crafted.put(inode + 24, &(60_u64 << 20).to_le_bytes());
        assert!(matches!(crafted.error(), RootfsError::Malformed { .. }), "{}", crafted.error());
    }

    #[test]
    fn blocks_beyond_the_image_are_refused() {
        let mut crafted = Crafted::new();
        let inode = crafted.inode();
        for start in [1 << 32, u64::MAX - 1, u64::MAX] {
            crafted.put(inode + 16, &start.to_le_bytes());
            assert!(matches!(crafted.error(), RootfsError::Malformed { .. }), "{}", crafted.error());
        }
    }

    #[test]
    fn a_block_larger_than_blocks_are_is_refused() {
        let mut crafted = Crafted::new();
        let inode = crafted.inode();
        crafted.put(inode + 56, &(0x0100_0000_u32 | 0x0002_0001).to_le_bytes());
        assert!(matches!(crafted.error(), RootfsError::Malformed { .. }), "{}", crafted.error());
    }

    /// A directory that is its own child leads nowhere: the path has an end.
    #[test]
    fn a_directory_in_itself_is_no_trap() {
        let mut crafted = Crafted::new();
        let root = crafted.u64(32);
        let directories = crafted.u64(DIRECTORIES) + 2;
        let bytes = &crafted.iso.bytes[crafted.start + directories..];
        let name = b"\x05\x00ostree";
        let entry = bytes.windows(name.len()).position(|window| window == name).unwrap() - 6;
        let position = u16::try_from(root & 0xffff).unwrap();
        crafted.put(directories + entry, &position.to_le_bytes());
        assert!(crafted.error().is_missing(), "{}", crafted.error());
    }

    #[test]
    fn tables_anywhere_are_refused() {
        for table in [INODES, DIRECTORIES] {
            for location in [0, 96, 1 << 40, u64::MAX - 1, u64::MAX] {
                let mut crafted = Crafted::new();
                crafted.put(table, &location.to_le_bytes());
                let error = crafted.error();
                assert!(
                    matches!(error, RootfsError::Malformed { .. } | RootfsError::TooLarge { .. }),
                    "{table}, {location}: {error}"
                );
            }
        }
    }

    #[test]
    fn impossible_superblocks_are_refused() {
        for (at, bytes, unsupported) in [
            (12, &[1, 0, 0, 0][..], false),
            (12, &[0, 0, 0, 0x80], false),
            (22, &[31, 0], false),
            (40, &[0xff; 8], false),
            (20, &[9, 0], true),
            (28, &[3, 0], true),
        ] {
            let mut crafted = Crafted::new();
            crafted.put(at, bytes);
            let error = crafted.error();
            assert_eq!(error.is_unsupported(), unsupported, "{at}: {error}");
            assert!(!error.is_missing(), "{at}: {error}");
        }
    }

    #[test]
    fn an_erofs_with_a_huge_directory_or_impossible_blocks_is_refused() {
        let sysroot = Sysroot::with_nmstatectl(&program(10_000));
        let sound = Iso::around(&sysroot.erofs(&[]));
        assert_eq!(sound.nmstatectl().unwrap(), program(10_000), "{COMMIT}");
        let superblock = sound.image_start() + 1024;
        let root = u16::from_le_bytes(sound.bytes[superblock + 14..][..2].try_into().unwrap());
        let metadata = u32::from_le_bytes(sound.bytes[superblock + 40..][..4].try_into().unwrap());
        let root = sound.image_start() + usize::try_from(metadata).unwrap() * 4096 + usize::from(root) * 32;

        let patched = |at: usize, bytes: &[u8]| {
            let mut image = sound.bytes.clone();
            image[at..at + bytes.len()].copy_from_slice(bytes);
            live_iso::nmstatectl(&image, &sound.layout).unwrap_err()
        };
        let len = u32::from_le_bytes(sound.bytes[root + 8..][..4].try_into().unwrap());
        let error = patched(root + 8, &(len + (1 << 30)).to_le_bytes());
        assert!(matches!(error, RootfsError::TooLarge { .. }), "{error}");
        for (at, bytes) in [(12, &[24][..]), (12, &[0]), (80, &[0, 1, 0, 0]), (80, &[0, 0, 0, 0x80])] {
            let error = patched(superblock + at, bytes);
            assert!(error.is_unsupported(), "{at}: {error}");
        }
    }
}
