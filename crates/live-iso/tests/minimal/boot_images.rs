//! Boot images that move, because they lie behind the root file system. In the ISOs of today they lie before it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use live_iso::{Customization, Extent, Layout, PlanError};
use tempfile::TempDir;

use crate::judges::{
    CONFIG, Names, Pair, URL, coreos_installer, fdisk, fixture, listing, map, read_at, run, sgdisk, xorriso,
};
use crate::partition_tables::{partitions, u32_at, u64_at};

const BLOCK: u64 = 2048;
const SECTORS: u64 = 4;
const ROOTFS: &str = "images/pxeboot/rootfs.img";
const EFI: &str = "images/efiboot.img";

/// The files of an ISO, to be written anew.
struct Tree {
    directory: TempDir,
    volume_id: String,
}

impl Tree {
    fn of(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let iso = fixture(name);
        let root = directory.path().join("tree");
        let paths = [iso.to_str().unwrap(), root.to_str().unwrap()];
        run("xorriso", &["-osirrox", "on", "-indev", paths[0], "-extract", "/", paths[1]]);
        run("chmod", &["-R", "u+w", paths[1]]);
        let volume_id = Layout::read(&File::open(iso).unwrap()).unwrap().volume_id().to_owned();
        Self { directory, volume_id }
    }

    fn root(&self) -> String {
        self.path("tree")
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes the ISO `name` with the root file system before all other files.
    fn write(&self, writer: &str, name: &str, arguments: &[&str]) -> PathBuf {
        let (iso, root) = (self.path(name), self.root());
        let common = ["-quiet", "-V", &self.volume_id, "-rational-rock", "-J", "-joliet-long"];
        run(writer, &[&common[..], arguments, &["-o", &iso, &root]].concat());
        let files = map(listing(Path::new(&iso), Names::RockRidge));
        let is_before = |(path, extent): (&String, &Extent)| {
            extent.len > 0 && *extent < files[ROOTFS] && !path.contains("boot.cat")
        };
        assert!(!files.iter().any(is_before), "the root file system comes first");
        iso.into()
    }
}

/// Files by path, as both trees have them, and the whole image.
struct Image {
    files: std::collections::BTreeMap<String, Extent>,
    bytes: Vec<u8>,
}

impl Image {
    fn read(path: &Path) -> Self {
        let files = map(listing(path, Names::RockRidge));
        assert_eq!(map(listing(path, Names::Joliet)), files);
        Self { files, bytes: fs::read(path).unwrap() }
    }

    fn block(&self, path: &str) -> u64 {
        self.files[path].offset / BLOCK
    }

    fn content(&self, path: &str) -> &[u8] {
        let Extent { offset, len } = self.files[path];
        let start = usize::try_from(offset).unwrap();
        &self.bytes[start..start + usize::try_from(len).unwrap()]
    }

    /// The boot info table tells the truth: the descriptor's block, its own, its length, and a sum of its words.
    fn check_boot_info_table(&self, path: &str) {
        let content = self.content(path);
        assert_eq!(u32_at(content, 8), 16);
        assert_eq!(u64::from(u32_at(content, 12)), self.block(path));
        assert_eq!(u32_at(content, 16) as usize, content.len());
        let words = content[64..].chunks(4).map(|word| {
            let mut bytes = [0; 4];
            bytes[..word.len()].copy_from_slice(word);
            u32::from_le_bytes(bytes)
        });
        assert_eq!(u32_at(content, 20), words.fold(0, u32::wrapping_add));
    }
}

/// The numbers at the end of the lines of a report that begin so.
fn last_numbers(report: &str, about: &str) -> Vec<u64> {
    let lines = report.lines().filter(|line| line.starts_with(about));
    lines.map(|line| line.split_whitespace().last().unwrap().parse().unwrap()).collect()
}

fn lines<'a>(report: &'a str, about: &str) -> Vec<&'a str> {
    report.lines().filter(|line| line.starts_with(about)).collect()
}

/// What isoinfo says of the catalog, and xorriso of the images in it.
fn check_catalog(path: &Path, image: &Image, catalog: &str, boot_images: &[&str]) {
    let report = xorriso(path);
    let blocks: Vec<_> = boot_images.iter().map(|path| image.block(path)).collect();
    assert_eq!(last_numbers(&report, "El Torito boot img"), blocks);
    let paths = lines(&report, "El Torito img path");
    let found: Vec<_> = paths.iter().map(|line| line.rsplit_once('/').unwrap().1).collect();
    let names: Vec<_> = boot_images.iter().map(|path| path.rsplit_once('/').unwrap().1).collect();
    assert_eq!(found, names);
    let arguments = ["-d".as_ref(), "-i".as_ref(), path.as_os_str()];
    let report = String::from_utf8(run("isoinfo", &arguments).stdout).unwrap();
    assert_eq!(last_numbers(&report, "El Torito VD"), [image.block(catalog)]);
}

#[test]
fn isohybrids_move() {
    let tree = Tree::of("x86_64");
    let weights = tree.path("weights");
    fs::write(&weights, format!("{}/{ROOTFS} 1000000\n", tree.root())).unwrap();
    let bios = ["-eltorito-boot", "isolinux/isolinux.bin", "-eltorito-catalog", "isolinux/boot.cat"];
    let bios = [&bios[..], &["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]].concat();
    let uefi = ["-eltorito-alt-boot", "-efi-boot", EFI, "-no-emul-boot"];
    fs::remove_file(tree.root() + "/isolinux/boot.cat").unwrap();
    let iso =
        tree.write("genisoimage", "genisoimage.iso", &[&["-sort", &weights], &bios[..], &uefi].concat());
    run("isohybrid", &["--uefi".as_ref(), iso.as_os_str()]);

    let pair = Pair::of(&iso);
    let file = pair.write(&Customization::default());
    let (before, after) = (Image::read(&iso), Image::read(file.path()));
    let boot_images = ["isolinux/isolinux.bin", EFI];
    for path in boot_images.iter().chain(&["isolinux/boot.cat"]) {
        assert!(after.block(path) < before.block(path), "{path} moves");
    }
    assert_eq!(after.content(EFI), before.content(EFI));
    check_catalog(&iso, &before, "isolinux/boot.cat", &boot_images);
    check_catalog(file.path(), &after, "isolinux/boot.cat", &boot_images);
    for image in [&before, &after] {
        image.check_boot_info_table("isolinux/isolinux.bin");
        assert_eq!(u64_at(&image.bytes, 432), image.block("isolinux/isolinux.bin") * SECTORS);
        let Extent { offset, len } = image.files[EFI];
        assert_eq!(u64::from(u32_at(&image.bytes, 462 + 8)), offset / 512);
        assert_eq!(u64::from(u32_at(&image.bytes, 462 + 12)), len / 512);
        let last = image.bytes.len() / 512 - 1;
        assert_eq!(partitions(&image.bytes, 1), partitions(&image.bytes, last));
        assert_eq!(partitions(&image.bytes, 1)[1], (offset / 512, (offset + len) / 512 - 1));
    }
    assert_eq!(sgdisk(file.path()), sgdisk(&iso));
    assert!(sgdisk(&iso).contains("Identified 2 problems!"), "both are that partitions overlap");
    for (path, image) in [(&*iso, &before), (file.path(), &after)] {
        let sectors = image.bytes.len() / 512;
        let (first, count) = (image.block(EFI) * SECTORS, image.files[EFI].len / 512);
        let efi = format!("{first} {} {count} ef", first + count - 1);
        assert_eq!(fdisk(path), [format!("0 {} {sectors} 0", sectors - 1), efi]);
    }
    let (old, new) = (xorriso(&iso), xorriso(file.path()));
    for about in ["MBR partition path", "GPT partition path", "System area summary", "El Torito img opts"] {
        assert_eq!(lines(&new, about), lines(&old, about));
        assert!(!lines(&new, about).is_empty(), "{about}");
    }
}

#[test]
fn the_only_boot_image_of_s390x_moves() {
    let tree = Tree::of("s390x");
    let arguments = ["--sort-weight", "100", &format!("/{ROOTFS}"), "-no-emul-boot", "-eltorito-boot"];
    let iso = tree.write("xorrisofs", "s390x.iso", &[&arguments[..], &["images/cdboot.img"]].concat());
    let pair = Pair::of(&iso);
    let config = crate::judges::config();
    let ignition = Some(live_iso::IgnitionArchive::new(CONFIG.as_bytes()).unwrap());
    let file = pair.write(&Customization { ignition, ..Customization::default() });
    let (before, after) = (Image::read(&iso), Image::read(file.path()));
    assert!(after.block("images/cdboot.img") < before.block("images/cdboot.img"));
    check_catalog(file.path(), &after, "boot.catalog", &["images/cdboot.img"]);
    assert_eq!(
        coreos_installer(&["ignition", "show"], file.path()),
        fs::read_to_string(config.path()).unwrap()
    );
    assert!(coreos_installer(&["kargs", "show"], file.path()).contains(URL));
}

/// GRUB's boot code, which xorriso does not look into, so anything may take its place.
fn write_grub(tree: &Tree) -> [String; 2] {
    fs::write(tree.root() + "/images/eltorito.img", vec![0x90; 30_000]).unwrap();
    let mbr = tree.path("boot_hybrid.img");
    fs::write(&mbr, vec![0x90; 440]).unwrap();
    [mbr, format!("/{ROOTFS}")]
}

#[test]
fn the_second_sectors_of_grub_move() {
    let tree = Tree::of("x86_64");
    let [mbr, rootfs] = write_grub(&tree);
    let arguments = ["--sort-weight", "100", &rootfs, "-b", "images/eltorito.img", "-no-emul-boot"];
    let grub = ["-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info", "--grub2-mbr", &mbr];
    let iso = tree.write("xorrisofs", "grub.iso", &[&arguments[..], &grub].concat());
    let pair = Pair::of(&iso);
    let file = pair.write(&Customization::default());
    let (before, after) = (Image::read(&iso), Image::read(file.path()));
    assert!(after.block("images/eltorito.img") < before.block("images/eltorito.img"));
    for image in [&before, &after] {
        let first = image.block("images/eltorito.img") * SECTORS;
        let content = image.content("images/eltorito.img");
        assert_eq!(u64::from(u32_at(content, 12)) * SECTORS, first);
        assert_eq!(u64_at(content, 2548), first + 5);
        assert_eq!(u64_at(&image.bytes, 432), first + 4);
    }
}

/// Its descriptors at block 32 would still name the places of the ISO.
#[test]
fn a_volume_in_a_partition_is_refused() {
    let tree = Tree::of("x86_64");
    let [mbr, rootfs] = write_grub(&tree);
    let arguments = ["--sort-weight", "100", &rootfs, "-b", "images/eltorito.img", "-no-emul-boot"];
    let grub = ["-boot-info-table", "--grub2-mbr", &mbr, "-partition_offset", "16"];
    let iso = File::open(tree.write("xorrisofs", "offset.iso", &[&arguments[..], &grub].concat())).unwrap();
    assert_eq!(read_at(&iso, Extent { offset: 32 * BLOCK, len: 6 }), b"\x01CD001");
    let layout = Layout::read(&iso).unwrap();
    let refused = layout.minimal(&URL.parse().unwrap(), None).unwrap_err();
    let PlanError::NoMinimalIso { reason } = refused else { panic!("{refused}") };
    assert_eq!(reason, "a partition is malformed: it has volume descriptors of its own");
}
