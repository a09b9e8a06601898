//! Layers as they should not be.

use coreos_names::Arch;
use test_support::payload::{
    Compression, Content, Flaw, ImageBuilder, Layer, LayerBuilder, MediaTypes, StreamMetadata,
};

use crate::component::{Disproven, Proven, Refused, assert_expected, carrying, image, layer};
use crate::site::{BUILD, ISO, Site, iso, noise, release};

#[tokio::test]
async fn what_only_has_the_name_of_an_iso_is_none() {
    let site = Site::new().await;
    let iso = iso(1);
    let target = || layer().content("coreos/target", iso.clone());
    for (what, layers, expected) in [
        (
            "a hard link",
            vec![target().hardlink(ISO, "coreos/target")],
            "only as a hard link to \"coreos/target\"",
        ),
        ("a symbolic link", vec![target().symlink(ISO, "target")], "only as a symbolic link to \"target\""),
        ("a link upwards", vec![layer().symlink(ISO, "../../etc/shadow")], "only as a symbolic link"),
        ("a sparse file", vec![layer().blocks(sparse())], "only as a sparse file"),
        ("a directory", vec![layer().directory(ISO)], "only as a directory"),
        (
            "a way up",
            vec![layer().content("coreos/../coreos/coreos-x86_64.iso", iso.clone())],
            "holds no coreos/",
        ),
        (
            "another directory",
            vec![layer().content("x/coreos/coreos-x86_64.iso", iso.clone())],
            "holds no coreos/",
        ),
        (
            "another architecture",
            vec![layer().content("coreos/coreos-s390x.iso", iso.clone())],
            "holds no coreos/",
        ),
    ] {
        let mut layers = layers;
        layers.push(layer().file("usr/bin/oc", "oc"));
        assert_expected(what, site.take(carrying(&iso, layers)).await, &Refused(expected));
    }

    let link_in_largest =
        layer().content("target", Content::from_bytes(noise(400_000, 9))).symlink(ISO, "target");
    let names = layer().content("./coreos/./coreos-x86_64.iso", iso.clone());
    let release = carrying(&iso, [link_in_largest, names]);
    assert_expected("a link in a larger layer", site.take(release).await, &Proven(BUILD));
    let absolute = carrying(&iso, [layer().content("/coreos/coreos-x86_64.iso", iso.clone())]);
    assert_expected("an absolute name", site.take(absolute).await, &Proven(BUILD));
}

#[tokio::test]
async fn an_iso_that_is_there_twice_must_be_the_same() {
    let site = Site::new().await;
    let (right, other, third) = (iso(1), iso(2), iso(3));
    let twice = |contents: &[&Content]| {
        let add = |layer: LayerBuilder, content: &&Content| layer.content(ISO, (*content).clone());
        carrying(&right, [contents.iter().fold(layer(), add)])
    };
    for (what, contents, expected) in [
        ("the same", [&right, &right, &right], Proven(BUILD)),
        ("another later", [&right, &right, &other], Refused("more than once, with different contents")),
        ("another first", [&other, &right, &right], Disproven),
        ("others", [&right, &other, &third], Refused("more than once, with different contents")),
    ] {
        assert_expected(what, site.take(twice(&contents)).await, &expected);
    }
}

#[tokio::test]
async fn of_isos_in_several_layers_the_proven_one_is_taken() {
    let site = Site::new().await;
    let (right, wrong, other) = (iso(1), iso(2), iso(3));
    let stream = StreamMetadata::new("rhel-9", BUILD).iso(Arch::X86_64, right.sha256()).to_json().to_string();
    let with = |iso: &Content| layer().content(ISO, iso.clone());
    let large = |layer: LayerBuilder| layer.content("usr/pad", Content::from_bytes(noise(400_000, 9)));
    for (what, layers, flaws, expected) in [
        ("the announced one above", vec![large(with(&wrong)), with(&right)], &[][..], Proven(BUILD)),
        ("the announced one below", vec![with(&right), large(with(&wrong))], &[], Proven(BUILD)),
        (
            "one with stream metadata",
            vec![large(with(&wrong)), with(&right).file("coreos/coreos-stream.json", &stream)],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        ("neither", vec![large(with(&wrong)), with(&other)], &[], Disproven),
    ] {
        let release = flaws.iter().fold(carrying(&right, layers), |release, &flaw| release.flaw(flaw));
        assert_expected(what, site.take(release).await, &expected);
    }
}

#[tokio::test]
async fn layers_that_lie_are_content_errors() {
    let site = Site::new().await;
    let iso = iso(1);
    let huge = {
        let mut header = vec![0; 512];
        header[..ISO.len()].copy_from_slice(ISO.as_bytes());
        header[156] = b'0';
        header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0]);
        checked(header)
    };
    let packed = |bytes: &[u8]| {
        let content = Content::from_bytes(bytes.to_vec());
        let diff_id = content.sha256();
        let layer = Layer { content, compression: Compression::None, diff_id };
        ImageBuilder::new(MediaTypes::Docker, Arch::X86_64).layer(layer).build()
    };
    let gzip = layer().content(ISO, iso.clone()).build().unwrap().content.bytes().unwrap();
    for (what, image, expected) in [
        ("a huge size", image([layer().blocks(huge)]), "claims to have 9151314442816847872 bytes"),
        ("bzip2", packed(b"BZh91AY&SY\x01\x02\x03"), "packed with bzip2"),
        ("xz", packed(b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4"), "packed with xz"),
        ("half a gzip file", packed(&gzip[..gzip.len() / 2]), "cannot unpack layer"),
        ("noise", packed(&noise(4096, 1)), "not a tar archive"),
        ("an empty file", packed(b""), "holds no coreos/"),
    ] {
        let release = release("4.18.52").iso(Arch::X86_64, iso.clone()).machine_os_images(image);
        assert_expected(what, site.take(release).await, &Refused(expected));
    }
}

/// A member of GNU's old sparse format with the ISO's name.
fn sparse() -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..ISO.len()].copy_from_slice(ISO.as_bytes());
    header[156] = b'S';
    header[124..136].copy_from_slice(b"00000000003\0");
    header[257..265].copy_from_slice(b"ustar  \0");
    let mut blocks = checked(header);
    blocks.extend(b"abc");
    blocks.resize(1024, 0);
    blocks
}

/// The header with its checksum.
fn checked(mut header: Vec<u8>) -> Vec<u8> {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}
