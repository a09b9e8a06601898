use std::io::Write;

use super::*;

/// A member with this header; what is not a file has no contents.
fn header(kind: u8, name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    // Set by hand: the crate refuses the names that a hostile archive has.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

/// A header, the contents and their padding.
fn member(kind: u8, name: &str, contents: &[u8]) -> Vec<u8> {
    with_contents(&header(kind, name, contents.len() as u64), contents)
}

fn with_contents(header: &tar::Header, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [header.as_bytes().as_slice(), contents].concat();
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    member(b'0', name, contents)
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::new();
    for (keyword, value) in records {
        let record = |length: usize| format!("{length} {keyword}={value}\n");
        let length = (1..1000).find(|&length| record(length).len() == length).unwrap();
        text += &record(length);
    }
    member(b'x', "PaxHeaders/x", text.as_bytes())
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 2 * BLOCK]].concat()
}

fn read_up_to(layer: &[u8], limit: u64) -> io::Result<Vec<(Member, Vec<u8>)>> {
    let mut members = Vec::new();
    for_each_member(layer, limit, |member, contents| {
        let mut bytes = Vec::new();
        contents.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, member.size);
        members.push((member.clone(), bytes));
        Ok::<_, io::Error>(ControlFlow::Continue(()))
    })?;
    Ok(members)
}

fn read(layer: &[u8]) -> io::Result<Vec<(Member, Vec<u8>)>> {
    read_up_to(layer, MAX_INFLATED)
}

/// Names and contents of the files.
fn files(layer: &[u8]) -> io::Result<Vec<(String, String)>> {
    let members = read(layer)?.into_iter().filter(|(member, _)| member.kind == Kind::File);
    Ok(members.map(|(member, bytes)| (member.name, String::from_utf8(bytes).unwrap())).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|&(name, contents)| (name.to_owned(), contents.to_owned())).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a zstd decoder passes over.
fn skippable_frame(contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(contents.len()).unwrap().to_le_bytes();
    [&[0x5a, 0x2a, 0x4d, 0x18], &length[..], contents].concat()
}

#[test]
fn every_packing_is_read_in_one_piece_or_several() {
    let plain = archive(&[file("./coreos/a", b"one"), file("/coreos//b", b"two"), file("c", b"")]);
    let expected = pairs(&[("coreos/a", "one"), ("coreos/b", "two"), ("c", "")]);
    let (first, second) = plain.split_at(700);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for (what, layer) in [
        ("none", plain.clone()),
        ("gzip", gzip(&plain)),
        ("gzip in two members", [gzip(first), gzip(second)].concat()),
        ("gzip with an empty member", [gzip(first), gzip(b""), gzip(second)].concat()),
        ("zstd", zstd(&plain)),
        ("zstd in two frames", [zstd(first), zstd(second)].concat()),
        (
            "zstd with skippable frames",
            [
                skippable_frame(b"size"),
                zstd(first),
                skippable_frame(b""),
                zstd(second),
                skippable_frame(b"x"),
            ]
            .concat(),
        ),
    ] {
        assert_eq!(files(&layer).unwrap(), expected, "{what}");
    }
}

#[test]
fn packings_that_are_not_read_are_named() {
    for (magic, name) in [(&b"BZh91AY&SY\x01\x02"[..], "bzip2"), (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46", "xz")]
    {
        let error = read(magic).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains(&format!("packed with {name};")), "{error}");
    }
    assert_eq!(files(&archive(&[file("BZh9", b"x")])).unwrap(), pairs(&[("BZh9", "x")]));
}

#[test]
fn what_ends_early_is_an_error_under_every_packing() {
    let whole = archive(&[file("a", &[b'7'; 5000])]);
    for length in [1, 511, 513, 2048, 5511, 5600] {
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
    let noise: Vec<u8> = (0..5000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let whole = archive(&[file("a", &noise)]);
    for packed in [gzip(&whole), zstd::encode_all(&whole[..], 1).unwrap()] {
        assert!(read(&packed[..packed.len() / 2]).is_err());
    }
    assert_eq!(read(b"").unwrap(), []);
    assert_eq!(read(&file("a", b"x")).unwrap().len(), 1, "the end may go without saying");
}

#[test]
fn a_bomb_is_given_up() {
    let layer = gzip(&archive(&[file("a", &vec![0; 1 << 20])]));
    let error = read_up_to(&layer, 1 << 18).unwrap_err();
    assert!(error.to_string().contains("more than 262144 bytes"), "{error}");
    assert!(read_up_to(&layer, 2 << 20).is_ok());
}

#[test]
fn extended_headers_say_names_and_sizes() {
    let long = format!("coreos/{}.iso", "x".repeat(200));
    let longer = format!("{long}\0junk");
    let wrong_size = with_contents(&header(b'0', "coreos/y", 3), b"nine bytes");
    let layer = archive(&[
        pax(&[("mtime", "1700000000.5"), ("path", "./coreos/a.iso"), ("uid", "2097152")]),
        file("coreos/truncated", b"pax"),
        member(b'L', "././@LongLink", longer.as_bytes()),
        file("coreos/x", b"gnu"),
        pax(&[("size", "10")]),
        wrong_size,
        member(b'g', "global", b"17 path=elsewhere\n"),
        file("coreos/z", b"plain"),
        pax(&[("path", "")]),
        file("coreos/last", b"own"),
    ]);
    let expected = pairs(&[
        ("coreos/a.iso", "pax"),
        (&long, "gnu"),
        ("coreos/y", "nine bytes"),
        ("coreos/z", "plain"),
        ("coreos/last", "own"),
    ]);
    assert_eq!(files(&layer).unwrap(), expected);
}

#[test]
fn the_prefix_of_ustar_belongs_to_the_name() {
    let mut header = tar::Header::new_ustar();
    header.set_path(format!("{}/b.iso", "a".repeat(120))).unwrap();
    header.set_size(1);
    header.set_cksum();
    let found = files(&archive(&[with_contents(&header, b"x")])).unwrap();
    assert_eq!(found, pairs(&[(&format!("{}/b.iso", "a".repeat(120)), "x")]));
}

#[test]
fn what_is_no_file_is_told_apart_and_has_no_contents() {
    let mut link = header(b'1', "coreos/hard", 4096);
    link.set_link_name_literal("etc/shadow").unwrap();
    link.set_cksum();
    let mut symlink = header(b'2', "coreos/soft", 0);
    symlink.set_link_name_literal("../x").unwrap();
    symlink.set_cksum();
    let layer = archive(&[
        link.as_bytes().to_vec(),
        symlink.as_bytes().to_vec(),
        header(b'5', "coreos/", 0).as_bytes().to_vec(),
        header(b'0', "old/", 0).as_bytes().to_vec(),
        header(b'6', "coreos/pipe", 99).as_bytes().to_vec(),
        member(b'7', "contiguous", b"x"),
        member(b'Z', "unknown", b"x"),
    ]);
    let found: Vec<_> =
        read(&layer).unwrap().into_iter().map(|(member, _)| (member.name, member.kind)).collect();
    let expected = [
        ("coreos/hard", Kind::HardLink("etc/shadow".to_owned())),
        ("coreos/soft", Kind::Symlink("../x".to_owned())),
        ("coreos", Kind::Directory),
        ("old", Kind::Directory),
        ("coreos/pipe", Kind::Other),
        ("contiguous", Kind::File),
        ("unknown", Kind::Other),
    ]
    .map(|(name, kind)| (name.to_owned(), kind));
    assert_eq!(found, expected);
}

#[test]
fn sparse_files_of_every_format_are_known_as_such() {
    let mut old = header(b'S', "coreos/old.iso", 3);
    old.as_mut_bytes()[482] = 1;
    old.set_cksum();
    let (mut more, last) = ([0; BLOCK], [0; BLOCK]);
    more[504] = 1;
    let old =
        [old.as_bytes().as_slice(), &more, &last, &with_contents(&header(b'0', "", 0), b"abc")[BLOCK..]]
            .concat();
    let layer = archive(&[
        old,
        pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.name", "coreos/new.iso")]),
        file("GNUSparseFile.0/new.iso", b"map"),
        file("after", b"x"),
    ]);
    let found: Vec<_> =
        read(&layer).unwrap().into_iter().map(|(member, _)| (member.name, member.kind)).collect();
    let expected =
        [("coreos/old.iso", Kind::SparseFile), ("coreos/new.iso", Kind::SparseFile), ("after", Kind::File)];
    assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

#[test]
fn names_that_lead_elsewhere_are_left_out() {
    let layer = archive(&[
        file("../coreos/a", b"1"),
        file("coreos/../b", b"2"),
        file("..", b"3"),
        file("./", b""),
        pax(&[("path", "/../../coreos/c")]),
        file("x", b"4"),
        member(b'L', "././@LongLink", b"\xff\xfe"),
        file("x", b"5"),
        file("//coreos/./d", b"6"),
        file("a..b", b"7"),
    ]);
    assert_eq!(files(&layer).unwrap(), pairs(&[("coreos/d", "6"), ("a..b", "7")]));
}

#[test]
fn what_a_header_claims_costs_nothing() {
    let huge = u64::MAX >> 2;
    for header in [
        header(b'L', "x", huge),
        header(b'x', "x", huge),
        header(b'g', "x", huge),
        header(b'0', "coreos/x.iso", huge),
        header(b'0', "coreos/x.iso", u64::MAX),
        header(b'Z', "x", u64::MAX - 511),
    ] {
        assert!(read(header.as_bytes()).is_err());
    }
    let layer = archive(&[pax(&[("size", "18446744073709551615")]), file("x", b"")]);
    assert!(read(&layer).is_err());
    let mut negative = header(b'0', "x", 0);
    negative.as_mut_bytes()[124..136].fill(0xff);
    negative.set_cksum();
    assert!(read(negative.as_bytes()).is_err());
}

#[test]
fn a_size_in_base_256_is_read() {
    let mut large = header(b'0', "x", 0);
    large.as_mut_bytes()[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    large.set_cksum();
    assert_eq!(files(&archive(&[with_contents(&large, b"abc")])).unwrap(), pairs(&[("x", "abc")]));
}

#[test]
fn a_damaged_header_is_an_error() {
    let mut layer = archive(&[file("a", b"x"), file("b", b"y")]);
    layer[1024] ^= 1;
    let error = read(&layer).unwrap_err();
    assert!(error.to_string().contains("not a tar archive"), "{error}");
}

#[test]
fn damage_is_an_error_and_never_worse() {
    let mut sparse = header(b'S', "coreos/old.iso", 3);
    sparse.as_mut_bytes()[482] = 1;
    sparse.set_cksum();
    let whole = archive(&[
        pax(&[("path", "coreos/coreos-x86_64.iso"), ("size", "10")]),
        with_contents(&header(b'0', "x", 3), b"nine bytes"),
        member(b'L', "././@LongLink", &[b'n'; 300]),
        file("n", b"gnu"),
        with_contents(&sparse, &[0; BLOCK + 3]),
        file("coreos/coreos-stream.json", b"{\"architectures\":{}}"),
        file("coreos/.wh.coreos-x86_64.iso", b""),
    ]);
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut refused = 0;
    for round in 0..4000 {
        let mut damaged = whole.clone();
        for _ in 0..=random(3) {
            let place = random(damaged.len());
            damaged[place] = u8::try_from(random(256)).unwrap();
        }
        // Most damage to a header is found by its sum; what is not must do no harm either.
        if round % 2 == 0 {
            for header in damaged.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
                let mut mended = tar::Header::from_byte_slice(header).clone();
                mended.set_cksum();
                header.copy_from_slice(mended.as_bytes());
            }
        }
        damaged.truncate(damaged.len() - random(2) * random(whole.len()));
        refused += usize::from(read_up_to(&damaged, 1 << 20).is_err());
        crate::live_iso::walk_unverified(&damaged, 1 << 20);
    }
    assert!((1000..4000).contains(&refused), "{refused} of 4000");
}
