use std::io::Write as _;

use live_iso::{EmbeddedFile, Error, IgnitionArchive, Layout, embedded, unpack};
use lzma_rust2::{CheckType, XzOptions, XzWriter};
use proptest::prelude::*;

use crate::eras;
use crate::iso::{ARGUMENTS, Iso, noise};

/// A newc archive with files that may be read by all, written with nothing of ours.
fn cpio(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    let trailer: (&str, &[u8]) = ("TRAILER!!!", b"");
    for (name, content) in files.iter().chain([&trailer]) {
        let mode = if name.ends_with('/') { 0o040_755 } else { 0o100_644 };
        let (size, name_size) = (content.len(), name.len() + 1);
        write!(archive, "070701{:08x}{mode:08x}{:016x}{:08x}{:08x}{size:08x}", 7, 0, 1, 0).unwrap();
        write!(archive, "{:032x}{name_size:08x}{:08x}{name}\0", 0, 0).unwrap();
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(*content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut options = XzOptions::with_preset(6);
    options.set_check_sum_type(CheckType::Crc32);
    let mut writer = XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn shown(files: &[EmbeddedFile]) -> Vec<(&str, &[u8])> {
    files.iter().map(|file| (file.name.as_str(), file.content.as_ref())).collect()
}

#[test]
fn every_kind_of_member_is_unpacked() {
    let mut area = cpio(&[("plain/", b""), ("plain/a", b"A"), ("plain/b", &noise(1001))]);
    for (name, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("xz", xz), ("zstd", zstd)] {
        area.extend(compress(&cpio(&[(name, name.as_bytes()), (&format!("{name}-large"), &noise(70_001))])));
        // Compressed members need no alignment.
        area.extend([0; 3]);
    }
    area.resize(area.len().next_multiple_of(4), 0);
    area.extend(cpio(&[("last", b"")]));
    area.extend([0; 100]);
    let files = unpack(&area).unwrap();
    assert_eq!(
        shown(&files),
        [
            ("gzip", &b"gzip"[..]),
            ("gzip-large", &noise(70_001)),
            ("last", b""),
            ("plain/a", b"A"),
            ("plain/b", &noise(1001)),
            ("xz", b"xz"),
            ("xz-large", &noise(70_001)),
            ("zstd", b"zstd"),
            ("zstd-large", &noise(70_001)),
        ]
    );
    assert_eq!(files[1].size(), 70_001);
}

#[test]
fn members_follow_one_another_without_a_gap() {
    let mut area = gzip(&cpio(&[("a", b"1")]));
    area.extend(xz(&cpio(&[("b", b"2")])));
    area.extend(zstd(&cpio(&[("c", b"3")])));
    area.extend(gzip(&cpio(&[("d", b"4")])));
    let files = unpack(&area).unwrap();
    assert_eq!(shown(&files), [("a", &b"1"[..]), ("b", b"2"), ("c", b"3"), ("d", b"4")]);
}

#[test]
fn a_compressed_member_may_hold_several_archives() {
    let mut archives = cpio(&[("a", b"1")]);
    archives.extend([0; 512]);
    archives.extend(cpio(&[("b", b"2")]));
    assert_eq!(shown(&unpack(&gzip(&archives)).unwrap()), [("a", &b"1"[..]), ("b", b"2")]);
}

#[test]
fn the_last_file_of_a_name_counts() {
    let mut area = gzip(&cpio(&[("config.ign", b"old"), ("other", b"")]));
    area.extend(zstd(&cpio(&[("config.ign", b"new")])));
    assert_eq!(shown(&unpack(&area).unwrap()), [("config.ign", &b"new"[..]), ("other", b"")]);
}

#[test]
fn an_empty_area_holds_nothing() {
    assert_eq!(unpack(&vec![0; 256 * 1024]).unwrap(), []);
    assert_eq!(unpack(&[]).unwrap(), []);
}

#[test]
fn what_is_no_archive_is_an_error() {
    let garbage = [
        vec![0, 0, 0, 0, b'x'],
        b"070707".to_vec(),
        [gzip(&cpio(&[])), noise(20)].concat(),
        gzip(&noise(20)),
    ];
    for area in garbage {
        assert!(matches!(unpack(&area), Err(Error::Archive { .. })), "{area:?}");
    }
    let misaligned = [vec![0; 2], cpio(&[("a", b"1")])].concat();
    assert!(matches!(unpack(&misaligned), Err(Error::Archive { offset: 2, .. })));
    for compress in [gzip, xz, zstd] {
        let whole = compress(&cpio(&[("a", &noise(1000))]));
        for len in [7, 20, whole.len() / 2, whole.len() - 1] {
            assert!(matches!(unpack(&whole[..len]), Err(Error::Unpack { .. })), "cut to {len} bytes");
        }
    }
}

#[test]
fn a_bomb_does_not_explode() {
    let zeros = vec![0; 33 << 20];
    for compress in [gzip, zstd] {
        assert!(matches!(unpack(&compress(&zeros)), Err(Error::TooMany { .. })));
    }
    // Nor do many small ones.
    let several = gzip(&vec![0; 10 << 20]).repeat(4);
    assert!(matches!(unpack(&several), Err(Error::TooMany { .. })));
}

#[test]
fn xz_may_not_take_all_memory() {
    let mut options = XzOptions::with_preset(0);
    options.lzma_options.dict_size = 512 << 20;
    let mut writer = XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(&cpio(&[])).unwrap();
    assert!(matches!(unpack(&writer.finish().unwrap()), Err(Error::Unpack { format: "xz", .. })));
}

#[test]
fn what_an_iso_holds_is_shown() {
    let pristine = Iso::coreos().build().bytes;
    let layout = Layout::read(&pristine).unwrap();
    let shown = embedded(&pristine, &layout).unwrap();
    assert_eq!(shown.files, []);
    let arguments = shown.kernel_arguments.unwrap();
    assert_eq!((arguments.current.as_str(), arguments.default.as_str()), (ARGUMENTS, ARGUMENTS));

    let archive = IgnitionArchive::new(b"{\"ignition\":{}}").unwrap();
    let customised = Iso::coreos().falsified("images/ignition.img", archive.as_bytes()).build().bytes;
    let shown = embedded(&customised, &layout).unwrap();
    assert_eq!(shown.files[0].name, "config.ign");
    assert_eq!(shown.files[0].content, &b"{\"ignition\":{}}"[..]);

    let without = eras::x86_64_2020_09().iso.build().bytes;
    let layout = Layout::read(&without).unwrap();
    assert!(embedded(&without, &layout).unwrap().kernel_arguments.is_none());
}

#[test]
fn a_broken_area_is_an_error() {
    let iso = Iso::coreos().falsified("images/ignition.img", b"\x1f\x8bgarbage").build().bytes;
    let layout = Layout::read(&iso).unwrap();
    assert!(matches!(embedded(&iso, &layout), Err(Error::Unpack { format: "gzip", .. })));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..10),
        kind in 0..4_usize,
    ) {
        let archive = cpio(&[("a", b"1"), ("b", &noise(300))]);
        let mut area = [<[u8]>::to_vec, gzip, xz, zstd][kind](&archive);
        for (at, byte) in changes {
            let at = at.index(area.len());
            area[at] = byte;
        }
        let _ = unpack(&area);
    }
}
