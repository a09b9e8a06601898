use std::fs;
use std::path::Path;

use flate2::Crc;
use live_iso::Customization;

use crate::judges::{NMSTATE, Pair, coreos_installer, fdisk, fixture, sgdisk};

const SECTOR: usize = 512;

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The partitions of a GPT, whose header is in this sector and must be sound by itself.
pub(crate) fn partitions(image: &[u8], header: usize) -> Vec<(u64, u64)> {
    let header = &image[header * SECTOR..][..92];
    assert_eq!(header[..8], *b"EFI PART");
    let mut zeroed = header.to_vec();
    zeroed[16..20].fill(0);
    assert_eq!(u32_at(header, 16), crc(&zeroed));
    let at = usize::try_from(u64_at(header, 72)).unwrap() * SECTOR;
    let entries = &image[at..at + 128 * 128];
    assert_eq!(u32_at(header, 88), crc(entries));
    let used = entries.chunks(128).filter(|entry| entry[..16].iter().any(|byte| *byte != 0));
    used.map(|entry| (u64_at(entry, 32), u64_at(entry, 40))).collect()
}

/// What the image's builder made without the root file system, put together by coreos-installer.
fn builders_minimal_image(iso: &Path) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("minimal.iso");
    let iso = iso.to_str().unwrap();
    coreos_installer(&["extract", "minimal-iso", iso], &output);
    fs::read(output).unwrap()
}

/// isohybrid's numbers for an image with as many files more as ours has.
#[test]
fn tables_are_isohybrids() {
    for name in ["x86_64", "fcos", "scos", "4.11"] {
        let pair = Pair::of(&fixture(name));
        let ours = fs::read(pair.write(&Customization::default()).path()).unwrap();
        let theirs = builders_minimal_image(&pair.path);
        let volume = |image: &[u8]| u64::from(u32_at(image, 16 * 2048 + 80)) * 4;
        let added = (1 << 20) + NMSTATE.len().next_multiple_of(2048) as u64;
        let grown = volume(&ours) - volume(&theirs);
        assert!(grown * 512 >= added && grown * 512 <= added + 4 * 2048, "{name}: {grown}");

        let file = pair.write(&Customization::default());
        assert_eq!(sgdisk(file.path()), sgdisk(&pair.path), "{name}");
        let sectors = ours.len() / SECTOR;
        assert_eq!(fdisk(file.path())[0], format!("0 {} {sectors} 0", sectors - 1), "{name}");
        assert_eq!(fdisk(file.path())[1..], fdisk(&pair.path)[1..], "{name}");
        assert!(ours.len().is_multiple_of(1 << 20));
        let room = sectors as u64 - volume(&ours);
        assert!((33..33 + 2048).contains(&room), "{name}: {room}");
        assert_eq!(ours[..432], theirs[..432], "{name}");
        assert_eq!(u64_at(&ours, 432), u64_at(&theirs, 432), "{name}");
        let iso = fs::read(&pair.path).unwrap();
        assert_eq!(ours[440..451], iso[440..451], "{name}: the disk's number and the first sector");
        let cylinders = ours.len() >> 20;
        assert_eq!(ours[451..454], [63, 32, u8::try_from(cylinders - 1).unwrap()], "{name}");
        assert_eq!(u32_at(&ours, 454), 0);
        assert_eq!(u32_at(&ours, 458) as usize, sectors, "{name}");
        // The EFI system partition lies before all that changed.
        assert_eq!(ours[462..512], theirs[462..512], "{name}");

        let last = sectors - 1;
        assert_eq!(partitions(&ours, 1), partitions(&ours, last), "{name}");
        let mut expected = partitions(&theirs, 1);
        expected[0].1 += grown;
        assert_eq!(partitions(&ours, 1), expected, "{name}");
        let header = &ours[SECTOR..];
        assert_eq!(u64_at(header, 32), last as u64, "{name}");
        assert_eq!(u64_at(header, 48), last as u64 - 33, "{name}");
        let backup = &ours[last * SECTOR..];
        assert_eq!(
            [u64_at(backup, 24), u64_at(backup, 32), u64_at(backup, 72)],
            [last as u64, 1, last as u64 - 32]
        );
        assert_eq!(header[56..72], iso[SECTOR + 56..SECTOR + 72], "{name}: the disk's GUID");
    }
}

#[test]
fn there_are_none_where_there_were_none() {
    for name in ["aarch64", "s390x"] {
        let pair = Pair::of(&fixture(name));
        let image = fs::read(pair.write(&Customization::default()).path()).unwrap();
        assert!(image[..32_768].iter().all(|byte| *byte == 0), "{name}");
        assert_eq!(image.len() as u64, u64::from(u32_at(&image, 16 * 2048 + 80)) * 2048, "{name}");
    }
}

/// grub-mkrescue's map leads to an HFS+ file system that has the files where they no longer are.
#[test]
fn ppc64le_has_its_dos_partition_and_no_apple_ones() {
    let pair = Pair::of(&fixture("ppc64le"));
    let iso = fs::read(&pair.path).unwrap();
    let image = fs::read(pair.write(&Customization::default()).path()).unwrap();
    assert_eq!(iso[2048..2050], *b"PM");
    assert!(image[512..32_768].iter().all(|byte| *byte == 0));
    assert_eq!(image[446..451], iso[446..451]);
    assert_eq!(image[454..458], iso[454..458]);
    let sectors = |image: &[u8]| u32::try_from(image.len() / SECTOR).unwrap();
    assert_eq!(u32_at(&iso, 458), sectors(&iso) - 1);
    assert_eq!(u32_at(&image, 458), sectors(&image) - 1);
    // The last sector in cylinders of 64 heads and 32 sectors, which are counted from 1.
    let end = |image: &[u8]| {
        let last = sectors(image) - 1;
        let numbers =
            [last / 32 % 64, last % 32 + 1, last / 2048].map(|number| u8::try_from(number).unwrap());
        assert_eq!(image[451..454], numbers);
    };
    end(&iso);
    end(&image);
}
