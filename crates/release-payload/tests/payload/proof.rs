//! What proves an ISO, and what is fetched to prove it.

use coreos_names::{Arch, Sha256};
use test_support::payload::{Content, Flaw, LayerBuilder, StreamMetadata};
use test_support::registry::Request;

use crate::component::{Case, Disproven, Proven, Refused, assert_all, assert_expected, carrying, layer};
use crate::site::{BUILD, ISO, Site, iso, iso_of, noise, release};

const STREAM: &str = "coreos/coreos-stream.json";
const SIDECAR: &str = "coreos/coreos-x86_64.iso.sha256";
const OTHER_BUILD: &str = "418.94.209901010000-0";

fn metadata(build: &str, sha256: Sha256) -> String {
    StreamMetadata::new("rhel-9", build).iso(Arch::X86_64, sha256).to_json().to_string()
}

/// The pieces that images with an ISO are made of.
struct Pieces {
    iso: Content,
    /// Stream metadata that states the ISO's digest, and some that states another.
    right: String,
    wrong: String,
    /// The same as checksums.
    digits: String,
    wrong_digits: String,
}

impl Pieces {
    fn new() -> Self {
        let iso = iso(1);
        let right = metadata(BUILD, iso.sha256());
        let wrong = metadata(OTHER_BUILD, Sha256::from([7; 32]));
        let (digits, wrong_digits) = (iso.sha256().to_string(), "07".repeat(32));
        Self { iso, right, wrong, digits, wrong_digits }
    }

    fn with_iso(&self) -> LayerBuilder {
        layer().content(ISO, self.iso.clone())
    }

    fn with_metadata(&self, json: &str) -> LayerBuilder {
        layer().file(STREAM, json).content(ISO, self.iso.clone())
    }

    fn with_checksum(&self) -> LayerBuilder {
        self.with_iso().file(SIDECAR, &self.digits)
    }
}

fn base() -> LayerBuilder {
    layer().file("etc/os-release", "ID=rhel")
}

fn hiding() -> LayerBuilder {
    layer().whiteout(ISO)
}

#[tokio::test]
async fn stream_metadata_says_the_sha256_of_an_iso() {
    let pieces = Pieces::new();
    let cases: Vec<Case> = vec![
        (
            "metadata beside it",
            vec![base(), pieces.with_metadata(&pieces.right), layer()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata after it",
            vec![pieces.with_iso().file(STREAM, &pieces.right)],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata beside it, although hidden",
            vec![pieces.with_metadata(&pieces.right), hiding()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata beside it against the announcement",
            vec![pieces.with_metadata(&pieces.right)],
            &[Flaw::OtherBootimages],
            Proven(BUILD),
        ),
        (
            "wrong metadata beside it against the announcement",
            vec![pieces.with_metadata(&pieces.wrong)],
            &[],
            Disproven,
        ),
        ("the announcement alone", vec![base(), pieces.with_iso()], &[], Proven(BUILD)),
        ("the announcement, although hidden", vec![pieces.with_iso(), hiding()], &[], Proven(BUILD)),
        (
            "broken metadata beside it, and the announcement",
            vec![pieces.with_metadata("{")],
            &[],
            Proven(BUILD),
        ),
        (
            "metadata below",
            vec![base().file(STREAM, &pieces.right), pieces.with_iso()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata above",
            vec![pieces.with_iso(), base().file(STREAM, &pieces.right)],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "metadata above against the announcement",
            vec![pieces.with_iso(), base().file(STREAM, &pieces.right)],
            &[Flaw::OtherBootimages],
            Proven(BUILD),
        ),
        (
            "right metadata under wrong one",
            vec![base().file(STREAM, &pieces.right), pieces.with_iso(), base().file(STREAM, &pieces.wrong)],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "wrong metadata elsewhere, and a right checksum",
            vec![base().file(STREAM, &pieces.wrong), pieces.with_checksum()],
            &[Flaw::NoBootimages],
            Disproven,
        ),
    ];
    assert_all(&pieces.iso, cases).await;
}

#[tokio::test]
async fn a_checksum_says_it_where_there_is_no_stream_metadata() {
    let pieces = Pieces::new();
    let cases: Vec<Case> = vec![
        (
            "a wrong announcement, and a right checksum",
            vec![pieces.with_checksum()],
            &[Flaw::OtherBootimages],
            Disproven,
        ),
        (
            "a checksum alone",
            vec![base(), pieces.with_checksum(), base()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "a checksum above a wrong one",
            vec![
                pieces.with_iso().file(SIDECAR, &pieces.wrong_digits),
                layer().file(SIDECAR, format!("{}\n", pieces.digits)),
            ],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "a wrong checksum above a right one",
            vec![pieces.with_checksum(), layer().file(SIDECAR, &pieces.wrong_digits)],
            &[Flaw::NoBootimages],
            Disproven,
        ),
        (
            "whiteouts below",
            vec![layer().whiteout("coreos").opaque("coreos"), pieces.with_checksum()],
            &[Flaw::NoBootimages],
            Proven(BUILD),
        ),
        (
            "a hidden checksum",
            vec![pieces.with_checksum(), layer().whiteout(SIDECAR)],
            &[Flaw::NoBootimages],
            Refused("an ISO that cannot be verified is not used"),
        ),
        (
            "a checksum without digits",
            vec![pieces.with_iso().file(SIDECAR, "none")],
            &[Flaw::NoBootimages],
            Refused("an ISO that cannot be verified is not used"),
        ),
        (
            "nothing",
            vec![pieces.with_iso()],
            &[Flaw::NoBootimages],
            Refused("an ISO that cannot be verified is not used"),
        ),
    ];
    assert_all(&pieces.iso, cases).await;
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
        let release = release("4.18.52").iso(Arch::X86_64, iso.clone());
        let built = flaws.iter().fold(release, |release, &flaw| release.flaw(flaw)).build().unwrap();
        let resolved = site.resolve(&site.publish(&built)).await.unwrap();
        site.server.clear_requests();
        let extracted = crate::site::extract(&site.registry, &resolved, Arch::X86_64).await.unwrap();
        assert!(extracted.is_proven());

        let image = &built.machine_os_images().image.images()[0];
        let largest = image.layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
        let mut asked = site.blobs();
        asked.sort();
        let mut expected = [image.config.digest(), largest.content.digest()];
        expected.sort();
        assert_eq!(asked, expected, "{flaws:?}");
        let bytes: u64 = site.server.requests().iter().map(Request::bytes_served).sum();
        let least = largest.content.size();
        assert!(bytes >= least && bytes <= least + least / 100 + (4 << 20), "{bytes} for {least}: {flaws:?}");
    }
}
