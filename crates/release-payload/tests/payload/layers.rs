//! Which ISO is taken out of which layer, and what proves it.

use coreos_names::{Arch, Sha256};
use release_payload::OsStream;
use test_support::payload::{
    Compression, Content, Flaw, Image, ImageBuilder, Layer, LayerBuilder, MediaTypes, ReleaseBuilder,
    StreamMetadata,
};

use crate::site::{BUILD, Extracted, ISO, Site, iso, iso_of, noise, release, shown};

const STREAM: &str = "coreos/coreos-stream.json";
const SIDECAR: &str = "coreos/coreos-x86_64.iso.sha256";
const OTHER_BUILD: &str = "418.94.209901010000-0";

fn layer() -> LayerBuilder {
    LayerBuilder::new(Compression::Gzip)
}

fn image(layers: impl IntoIterator<Item = LayerBuilder>) -> Image {
    let layers = layers.into_iter().map(|layer| layer.build().unwrap());
    layers.fold(ImageBuilder::new(MediaTypes::Docker, Arch::X86_64), ImageBuilder::layer).build()
}

/// A release with this image; it announces the ISO unless it is flawed.
fn carrying(iso: &Content, layers: impl IntoIterator<Item = LayerBuilder>) -> ReleaseBuilder {
    release("4.18.52").iso(Arch::X86_64, iso.clone()).machine_os_images(image(layers))
}

fn metadata(build: &str, sha256: Sha256) -> String {
    StreamMetadata::new("rhel-9", build).iso(Arch::X86_64, sha256).to_json().to_string()
}

/// What is expected of an image.
enum Expected {
    /// The ISO is proven, and of this build.
    Proven(&'static str),
    /// It is not what is stated, which whoever stores it will find out.
    Disproven,
    /// An error with this text.
    Refused(&'static str),
}
use Expected::{Disproven, Proven, Refused};

fn assert_expected(what: &str, result: Result<Extracted, release_payload::Error>, expected: &Expected) {
    match (result, expected) {
        (Ok(extracted), Proven(build)) => {
            assert!(extracted.is_proven(), "{what}");
            assert_eq!(extracted.stated.os_build.as_str(), *build, "{what}");
        }
        (Ok(extracted), Disproven) => assert!(!extracted.is_proven(), "{what}"),
        (Err(error), Refused(text)) => {
            assert!(shown(&error).contains(text), "{what}: {}", shown(&error));
            assert!(error.is_content() && !error.is_retryable(), "{what}");
        }
        (result, _) => panic!("{what}: {result:?}"),
    }
}

#[tokio::test]
async fn what_says_the_sha256_of_an_iso() {
    let site = Site::new().await;
    let iso = iso(1);
    let right = metadata(BUILD, iso.sha256());
    let wrong = metadata(OTHER_BUILD, Sha256::from([7; 32]));
    let (digits, wrong_digits) = (iso.sha256().to_string(), "07".repeat(32));
    let with_iso = || layer().content(ISO, iso.clone());
    let beside = |json: &str| layer().file(STREAM, json).content(ISO, iso.clone());
    let with_sidecar = || with_iso().file(SIDECAR, &digits);
    let base = || layer().file("etc/os-release", "ID=rhel");
    let hiding = || layer().whiteout(ISO);
    let cases: Vec<(&str, Vec<LayerBuilder>, &[Flaw], Expected)> = vec![
        ("metadata beside it", vec![base(), beside(&right), layer()], &[Flaw::NoBootimages], Proven(BUILD)),
        ("metadata after it", vec![with_iso().file(STREAM, &right)], &[Flaw::NoBootimages], Proven(BUILD)),
        (
            "metadata beside it, although hidden",
            vec![beside(&right), hiding()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata beside it against the announcement",
            vec![beside(&right)],
            &[Flaw::OtherBootimages],
            Proven(BUILD),
        ),
        ("wrong metadata beside it against the announcement", vec![beside(&wrong)], &[], Disproven),
        ("the announcement alone", vec![base(), with_iso()], &[], Proven(BUILD)),
        ("the announcement, although hidden", vec![with_iso(), hiding()], &[], Proven(BUILD)),
        ("broken metadata beside it, and the announcement", vec![beside("{")], &[], Proven(BUILD)),
        (
            "metadata below",
            vec![base().file(STREAM, &right), with_iso()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata above",
            vec![with_iso(), base().file(STREAM, &right)],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata above against the announcement",
            vec![with_iso(), base().file(STREAM, &right)],
            &[Flaw::OtherBootimages],
            Proven(BUILD),
        ),
        (
            "right metadata under wrong one",
            vec![base().file(STREAM, &right), with_iso(), base().file(STREAM, &wrong)],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "wrong metadata elsewhere, and a right checksum",
            vec![base().file(STREAM, &wrong), with_sidecar()],
            &[Flaw::NoBootimages],
            Disproven,
        ),
        (
            "a wrong announcement, and a right checksum",
            vec![with_sidecar()],
            &[Flaw::OtherBootimages],
            Disproven,
        ),
        ("a checksum alone", vec![base(), with_sidecar(), base()], &[Flaw::NoBootimages], Proven(BUILD)),
        (
            "a checksum above a wrong one",
            vec![with_iso().file(SIDECAR, &wrong_digits), layer().file(SIDECAR, format!("{digits}\n"))],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "a wrong checksum above a right one",
            vec![with_sidecar(), layer().file(SIDECAR, &wrong_digits)],
            &[Flaw::NoBootimages],
            Disproven,
        ),
        (
            "whiteouts below",
            vec![layer().whiteout("coreos").opaque("coreos"), with_sidecar()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "a hidden checksum",
            vec![with_sidecar(), layer().whiteout(SIDECAR)],
            &[Flaw::NoBootimages],
            Refused("an ISO that cannot be verified is not used"),
        ),
        (
            "a checksum without digits",
            vec![with_iso().file(SIDECAR, "none")],
            &[Flaw::NoBootimages],
            Refused("an ISO that cannot be verified is not used"),
        ),
        (
            "nothing",
            vec![with_iso()],
            &[Flaw::NoBootimages],
            Refused("an ISO that cannot be verified is not used"),
        ),
    ];
    for (what, layers, flaws, expected) in cases {
        let release = flaws.iter().fold(carrying(&iso, layers), |release, &flaw| release.flaw(flaw));
        assert_expected(what, site.take(release).await, &expected);
    }
}

#[tokio::test]
async fn a_checksum_counts_only_for_what_the_whole_image_has() {
    let site = Site::new().await;
    let iso = iso(1);
    let other = Content::from_bytes(noise(100, 5));
    for (what, upper) in [
        ("a whiteout", layer().whiteout(ISO)),
        ("a whiteout of the directory", layer().whiteout("coreos")),
        ("an opaque directory", layer().opaque("coreos").file(SIDECAR, iso.sha256().to_string())),
        ("an opaque root", layer().file(".wh..wh..opq", "")),
        ("another file", layer().content(ISO, other)),
        ("a link", layer().symlink(ISO, "x")),
        ("a link in place of the directory", layer().symlink("coreos", "usr")),
    ] {
        let lower = layer().content(ISO, iso.clone()).file(SIDECAR, iso.sha256().to_string());
        let release = carrying(&iso, [lower, upper]).flaw(Flaw::NoBootimages);
        assert_expected(
            what,
            site.take(release).await,
            &Refused("removes or replaces coreos/coreos-x86_64.iso"),
        );
    }
    let nameless = iso_of("", 1);
    let lower = layer().content(ISO, nameless.clone()).file(SIDECAR, nameless.sha256().to_string());
    let release = carrying(&nameless, [lower]).flaw(Flaw::NoBootimages);
    assert_expected("an ISO without a name", site.take(release).await, &Refused("says which build"));
}

#[tokio::test]
async fn with_stream_metadata_no_more_than_the_layer_of_the_iso_is_fetched() {
    let site = Site::new().await;
    let iso = Content::from_bytes(noise(12 << 20, 3));
    for flaws in [&[][..], &[Flaw::NoBootimages], &[Flaw::NoStream], &[Flaw::NoStream, Flaw::NoSidecar]] {
        let release = flaws
            .iter()
            .fold(release("4.18.52").iso(Arch::X86_64, iso.clone()), |release, &flaw| release.flaw(flaw));
        let built = release.build().unwrap();
        let payload = site.resolve(&site.publish(&built)).await.unwrap();
        site.server.clear_requests();
        let extracted = crate::site::extract(&site.registry, &payload, Arch::X86_64).await.unwrap();
        assert!(extracted.is_proven());

        let image = &built.machine_os_images().image.images()[0];
        let layer = image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
        let mut blobs = site.blobs();
        blobs.sort();
        let mut expected = [image.config.digest(), layer.content.digest()];
        expected.sort();
        assert_eq!(blobs, expected, "{flaws:?}");
        let fetched: u64 = site.server.requests().iter().map(|request| request.bytes_served()).sum();
        let size = layer.content.size();
        assert!(
            fetched >= size && fetched <= size + size / 100 + (4 << 20),
            "{fetched} for {size}: {flaws:?}"
        );
    }
}

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

#[tokio::test]
async fn both_generations_can_be_had_each_with_its_own_proof() {
    let site = Site::new().await;
    let (nine, ten) = (iso(9), iso(10));
    let both = |version: &str| {
        release(version)
            .iso(Arch::X86_64, nine.clone())
            .coreos10("10.2.20260715-0", [(Arch::X86_64, ten.clone())])
    };
    for (version, stream, expected) in [
        ("4.22.3", None, &nine),
        ("4.22.3", Some(OsStream::Rhel10), &ten),
        ("5.0.0", None, &ten),
        ("5.0.0", Some(OsStream::Rhel9), &nine),
    ] {
        for flaws in [&[][..], &[Flaw::NoStream], &[Flaw::OneAnnouncement], &[Flaw::NoBootimages]] {
            let release = flaws.iter().fold(both(version), |release, &flaw| release.flaw(flaw));
            let extracted = site.take_stream(release, stream).await.unwrap();
            assert_eq!(extracted.content.sha256(), expected.sha256(), "{version} {stream:?} {flaws:?}");
            assert!(extracted.is_proven(), "{version} {stream:?} {flaws:?}");
        }
    }

    let only_nine = || release("5.0.0").iso(Arch::X86_64, nine.clone());
    let only_ten = || release("4.22.3").coreos10("10.2.20260715-0", [(Arch::X86_64, ten.clone())]);
    assert!(
        site.take(only_nine()).await.unwrap().is_proven(),
        "the only one is taken where none is asked for"
    );
    assert!(site.take(only_ten()).await.unwrap().is_proven());
    let error = site.take_stream(only_nine(), Some(OsStream::Rhel10)).await.unwrap_err();
    assert!(shown(&error).contains("holds no coreos/coreos10-x86_64.iso"), "{}", shown(&error));
    let error = site.take_stream(only_ten(), Some(OsStream::Rhel9)).await.unwrap_err();
    assert!(shown(&error).ends_with("holds no coreos/coreos-x86_64.iso"), "{}", shown(&error));
}

#[tokio::test]
async fn the_announcement_of_one_generation_is_never_taken_for_the_other() {
    let site = Site::new().await;
    let release = |version: &str| {
        ReleaseBuilder::new(version, "9.8.20260428-0")
            .iso(Arch::X86_64, iso(9))
            .coreos10("10.2.20260715-0", [(Arch::X86_64, iso(10))])
    };
    for (version, flaws, stream, expected) in [
        ("5.0.0", &[][..], None, Some("10.2.20260715-0")),
        ("5.0.0", &[], Some(OsStream::Rhel9), Some("9.8.20260428-0")),
        ("5.0.0", &[Flaw::OneAnnouncement], None, None),
        ("5.0.0", &[Flaw::OneAnnouncement], Some(OsStream::Rhel9), Some("9.8.20260428-0")),
        ("4.22.0", &[Flaw::OneAnnouncement], None, Some("9.8.20260428-0")),
        ("4.22.0", &[Flaw::OneAnnouncement], Some(OsStream::Rhel10), None),
    ] {
        let release = flaws.iter().fold(release(version), |release, &flaw| release.flaw(flaw));
        let pullspec = site.publish(&release.build().unwrap());
        let payload = site.resolve(&pullspec).await.unwrap().with_os_stream(stream);
        let forecast = payload.boot_image(Arch::X86_64).map(|image| image.os_build.as_str());
        assert_eq!(forecast, expected, "{version} {flaws:?} {stream:?}");
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
