//! Releases with two generations of the operating system.

use coreos_names::Arch;
use release_payload::OsStream;
use test_support::payload::{Flaw, ReleaseBuilder};

use crate::site::{Site, iso, release, shown};

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
    assert!(
        shown(&error).ends_with("holds no coreos/coreos10-x86_64.iso, so no live ISO of rhel-10"),
        "{}",
        shown(&error)
    );
    let error = site.take_stream(only_ten(), Some(OsStream::Rhel9)).await.unwrap_err();
    assert!(shown(&error).contains("holds no coreos/coreos-x86_64.iso, so no"), "{}", shown(&error));
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
