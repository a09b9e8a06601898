use std::io;
use std::time::{Duration, UNIX_EPOCH};

use live_iso::{BootPlatform, Error, Extent, PartitionTables, ReadAt, Volume};
use proptest::prelude::*;

use crate::iso::{BLOCK, Image, Iso, Names, ROOT, noise};

fn content<'a>(bytes: &'a [u8], volume: &Volume, path: &str) -> &'a [u8] {
    let file = volume.find(path).unwrap_or_else(|| panic!("{path} is not found"));
    let Extent { offset, len } = file.extent().unwrap();
    assert_eq!(file.size(), len);
    &bytes[usize::try_from(offset).unwrap()..][..usize::try_from(len).unwrap()]
}

fn some_files() -> Iso {
    Iso::new("some files")
        .file("coreos/kargs.json", b"{}")
        .file("coreos/igninfo.json", b"")
        .file("README", &noise(5000))
        .file("a/b/c/d/initrd.addrsize", b"deep")
}

#[test]
fn the_descriptor_is_read() {
    let image = some_files().build();
    let volume = Volume::read(&image.bytes).unwrap();
    assert_eq!(volume.volume_id(), "some files");
    assert_eq!(volume.volume_set_id(), "a set of volumes");
    assert_eq!(volume.space_size(), image.bytes.len() as u64);
    assert_eq!(volume.created(), Some(UNIX_EPOCH + Duration::from_secs(1_689_766_263 - 2 * 3600)));
    assert!(!volume.has_boot_catalog());
}

#[test]
fn a_boot_catalog_is_read() {
    let image = some_files().boots(&[(0, "README"), (0xef, "coreos/kargs.json"), (7, "README")]).build();
    let volume = Volume::read(&image.bytes).unwrap();
    assert!(volume.has_boot_catalog());
    assert_eq!(volume.files().len(), 4);
    let entries = volume.boot_catalog().unwrap().entries();
    for (entry, (platform, path)) in entries.iter().zip([
        (BootPlatform::Bios, "README"),
        (BootPlatform::Uefi, "coreos/kargs.json"),
        (BootPlatform::Other(7), "README"),
    ]) {
        assert_eq!(entry.platform(), platform);
        assert_eq!(entry.loaded(), Extent { offset: image.offset(path) as u64, len: 2048 });
    }
    assert_eq!(entries.len(), 3);
    assert!(volume.boot_catalog().unwrap().boots(BootPlatform::Uefi));
    assert!(!volume.boot_catalog().unwrap().boots(BootPlatform::Other(8)));
}

#[test]
fn a_broken_boot_catalog_is_an_error() {
    let bootable = some_files().boots(&[(0, "README"), (0xef, "README")]);
    let catalog = 19 * BLOCK;
    for (at, bytes) in
        [(catalog, &b"\0"[..]), (catalog + 4, b"x"), (catalog + 66, &[99, 0]), (17 * BLOCK + 71, &[20, 0])]
    {
        let mut image = bootable.build();
        image.put(at, bytes);
        let error = Volume::read(&image.bytes).unwrap_err();
        assert!(matches!(&error, Error::Malformed { what, .. } if what == "the boot catalog"), "{error}");
    }
    for (at, what) in [
        (17 * BLOCK + 71, "the boot catalog"),
        (catalog + 40, "a boot image"),
        (catalog + 104, "a boot image"),
    ] {
        let mut image = bootable.build();
        image.put(at, &[0xff; 4]);
        let error = Volume::read(&image.bytes).unwrap_err();
        assert!(matches!(&error, Error::Truncated { what: named, .. } if named == what), "{error}");
    }
}

#[test]
fn partition_tables_are_noticed() {
    let mut image = some_files().build();
    let tables = |image: &Image| Volume::read(&image.bytes).unwrap().partition_tables();
    assert_eq!(tables(&image), PartitionTables::default());
    image.put(446, &[0x80, 0, 1, 0, 0, 63, 32, 255, 0, 0, 0, 0, 1]);
    image.put(510, &[0x55, 0xaa]);
    assert_eq!(tables(&image), PartitionTables { mbr: true, gpt: false });
    image.put(512, b"EFI PART");
    assert_eq!(tables(&image), PartitionTables { mbr: true, gpt: true });
}

#[test]
fn files_are_found_by_their_names() {
    for names in [Names::RockRidge, Names::Continued, Names::IsoOnly] {
        let image = some_files().names(names).build();
        let volume = Volume::read(&image.bytes).unwrap();
        assert_eq!(content(&image.bytes, &volume, "coreos/kargs.json"), b"{}");
        assert_eq!(content(&image.bytes, &volume, "/coreos/igninfo.json"), b"");
        assert_eq!(content(&image.bytes, &volume, "README"), noise(5000));
        assert_eq!(content(&image.bytes, &volume, "a/b/c/d/initrd.addrsize"), b"deep");
        for absent in
            ["", "/", "coreos", "kargs.json", "coreos/kargs.json/x", "README2", "coreos//kargs.json"]
        {
            assert!(volume.find(absent).is_none(), "{absent:?}");
        }
    }
}

#[test]
fn files_are_listed_in_order() {
    let paths = |names| {
        let volume = Volume::read(&some_files().names(names).build().bytes).unwrap();
        volume.files().map(|file| file.path().to_owned()).collect::<Vec<_>>()
    };
    let rock_ridge = ["README", "a/b/c/d/initrd.addrsize", "coreos/igninfo.json", "coreos/kargs.json"];
    assert_eq!(paths(Names::RockRidge), rock_ridge);
    assert_eq!(paths(Names::Continued), rock_ridge);
    assert_eq!(
        paths(Names::IsoOnly),
        ["A/B/C/D/INITRD.ADD", "COREOS/IGNINFO.JSO", "COREOS/KARGS.JSO", "README"]
    );
}

#[test]
fn rock_ridge_names_are_exact() {
    let volume = Volume::read(&some_files().build().bytes).unwrap();
    assert!(volume.find("COREOS/KARGS.JSO").is_none());
    assert!(volume.find("readme").is_none());
}

#[test]
fn extents_that_follow_one_another_are_one() {
    let whole = noise(3 * BLOCK + 5);
    let extents =
        vec![whole[..2 * BLOCK].to_vec(), whole[2 * BLOCK..3 * BLOCK].to_vec(), whole[3 * BLOCK..].to_vec()];
    let image = some_files().extents("large", extents, 0).build();
    let volume = Volume::read(&image.bytes).unwrap();
    assert_eq!(content(&image.bytes, &volume, "large"), whole);
    assert_eq!(volume.files().len(), 5);
}

#[test]
fn a_scattered_file_is_an_error_only_if_asked_for() {
    let image = some_files().extents("large", vec![noise(BLOCK), noise(BLOCK), noise(7)], 1).build();
    let volume = Volume::read(&image.bytes).unwrap();
    let file = volume.find("large").unwrap();
    assert_eq!(file.size(), 2 * BLOCK as u64 + 7);
    assert!(matches!(file.extent(), Err(Error::Scattered { path }) if path == "large"));
    assert_eq!(content(&image.bytes, &volume, "README"), noise(5000));
}

#[test]
fn a_file_whose_last_extent_is_missing_is_an_error() {
    let mut image = some_files().extents("large", vec![noise(BLOCK), noise(BLOCK)], 0).build();
    let last = image.records["large"][1];
    image.put(last + 25, &[0x80]);
    assert!(matches!(Volume::read(&image.bytes), Err(Error::Malformed { .. })));
}

#[test]
fn a_file_beyond_4_gib_is_found() {
    let mut image = some_files().build();
    image.relocate("README", 0x8000_0000);
    image.resize("README", u32::MAX);
    let volume = Volume::read(&image.bytes).unwrap();
    let expected = Extent { offset: 0x8000_0000 * 2048, len: u64::from(u32::MAX) };
    assert_eq!(volume.find("README").unwrap().extent().unwrap(), expected);
}

/// Level 3 of the standard: an extent has less than 4 GiB, a file as many as it needs.
#[test]
fn a_file_of_60_gib_is_one_extent() {
    const EXTENT: u64 = (4 << 30) - BLOCK as u64;
    let whole = 60_u64 << 30;
    let numbers = 0..whole.div_ceil(EXTENT);
    let extents = numbers.clone().map(|_| vec![0]).collect();
    let mut image = some_files().extents("large", extents, 0).build();
    let first_block = 1_u64 << 21;
    let mut left = whole;
    let records = image.records["large"].clone();
    for (number, record) in numbers.zip(records) {
        let block = u32::try_from(first_block + number * EXTENT / BLOCK as u64).unwrap();
        image.put(record + 2, &block.to_le_bytes());
        image.put(record + 10, &u32::try_from(left.min(EXTENT)).unwrap().to_le_bytes());
        left = left.saturating_sub(EXTENT);
    }
    let iso = Sparse { size: first_block * BLOCK as u64 + whole, head: image.bytes.clone() };
    let expected = Extent { offset: first_block * BLOCK as u64, len: whole };
    let file = |iso| Volume::read(iso).unwrap().find("large").map(live_iso::File::extent).unwrap();
    assert_eq!(file(&iso).unwrap(), expected);

    // And a file whose last extent lies elsewhere is none.
    let last = *image.records["large"].last().unwrap();
    image.put(last + 2, &u32::MAX.to_le_bytes());
    let iso = Sparse { head: image.bytes, ..iso };
    assert!(matches!(file(&iso), Err(Error::Scattered { .. })));
}

#[test]
fn a_directory_that_reaches_into_another_one_is_an_error() {
    let mut image = some_files().build();
    image.resize("a", 2 * u32::try_from(BLOCK).unwrap());
    let error = Volume::read(&image.bytes).unwrap_err();
    assert!(matches!(error, Error::DirectoryLoop { .. }), "{error}");
}

#[test]
fn other_files_are_not_isos() {
    for bytes in [vec![], vec![0; 100], vec![0; 18 * BLOCK], noise(40_000)] {
        assert!(matches!(Volume::read(&bytes), Err(Error::NotIso9660)));
    }
}

#[test]
fn a_directory_in_itself_is_an_error() {
    let mut image = some_files().build();
    image.relocate("a/b", u32::try_from(ROOT).unwrap());
    let error = Volume::read(&image.bytes).unwrap_err();
    assert!(matches!(error, Error::DirectoryLoop { ref path } if path == "a/b"), "{error}");
}

#[test]
fn a_directory_beyond_the_end_is_an_error() {
    let falsifications: [fn(&mut Image); 2] =
        [|image| image.relocate("coreos", u32::MAX), |image| image.resize("coreos", 1 << 20)];
    for falsify in falsifications {
        let mut image = some_files().build();
        falsify(&mut image);
        let error = Volume::read(&image.bytes).unwrap_err();
        assert!(error.is_truncated(), "{error}");
        assert!(error.to_string().contains("\"/coreos\""), "{error}");
    }
}

#[test]
fn impossible_names_are_errors() {
    for name in [&b"a/gs.json"[..], b"k\0rgs.json"] {
        let mut image = some_files().build();
        let record = image.records["coreos/kargs.json"][0];
        let at = record + 33 + "KARGS.JSO;1".len() + 5;
        image.put(at, name);
        assert!(matches!(Volume::read(&image.bytes), Err(Error::Malformed { .. })), "{name:?}");
    }
}

#[test]
fn a_record_that_outgrows_its_directory_is_an_error() {
    let mut image = some_files().build();
    let record = image.records["coreos/kargs.json"][0];
    image.put(record, &[10]);
    assert!(matches!(Volume::read(&image.bytes), Err(Error::Malformed { .. })));
}

#[test]
fn other_block_sizes_are_refused() {
    let mut image = some_files().build();
    image.put(16 * BLOCK + 128, &[0, 2]);
    assert!(matches!(Volume::read(&image.bytes), Err(Error::Malformed { .. })));
}

/// An ISO that is said to be large and has zeros where it has nothing.
struct Sparse {
    head: Vec<u8>,
    size: u64,
}

impl ReadAt for Sparse {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let head =
            usize::try_from(offset).ok().and_then(|offset| self.head.get(offset..)).unwrap_or_default();
        let known = head.len().min(buf.len());
        buf[..known].copy_from_slice(&head[..known]);
        buf[known..].fill(0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

#[test]
fn a_gigantic_directory_is_not_read() {
    let mut image = some_files().build();
    image.resize("coreos", u32::MAX);
    let iso = Sparse { head: image.bytes, size: 1 << 40 };
    let error = Volume::read(&iso).unwrap_err();
    assert!(matches!(error, Error::TooMany { what: "bytes of directories", .. }), "{error}");
}

#[test]
fn a_name_that_continues_in_circles_is_an_error() {
    let mut image = some_files().names(Names::Continued).build();
    let continuation = image.offset("README") - BLOCK;
    let mut entry = b"CE\x1c\x01".to_vec();
    for number in [u32::try_from(continuation / BLOCK).unwrap(), 0, 28] {
        entry.extend(number.to_le_bytes());
        entry.extend(number.to_be_bytes());
    }
    image.put(continuation, &entry);
    let record = image.records["README"][0];
    let at = record + 33 + "README;1".len() + 1 + 6;
    image.put(at, &entry);
    let error = Volume::read(&image.bytes).unwrap_err();
    assert_eq!(error.to_string(), "a Rock Ridge name is malformed: it continues too often");
}

#[test]
fn a_failing_disk_is_not_a_broken_iso() {
    struct Broken;
    impl ReadAt for Broken {
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::Error::other("scratched"))
        }
        fn size(&self) -> io::Result<u64> {
            Ok(1 << 30)
        }
    }
    let error = Volume::read(&Broken).unwrap_err();
    assert!(error.is_read_failure());
    assert_eq!(error.to_string(), "cannot read volume descriptor 0");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "scratched");
}

proptest! {
    #[test]
    fn nothing_makes_the_reader_panic(
        changes in prop::collection::vec((16 * BLOCK..40 * BLOCK, any::<u8>()), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Iso::coreos().names(Names::Continued).build().bytes;
        for (at, byte) in changes {
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
        }
        bytes.truncate(cut.index(bytes.len() * 2));
        let _ = Volume::read(&bytes);
        let _ = live_iso::Layout::read(&bytes);
    }
}
