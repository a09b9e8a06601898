//! Releases whose `machine-os-images` is made layer by layer, and what comes out of them.

use coreos_names::Arch;
use test_support::payload::{
    Compression, Content, Flaw, Image, ImageBuilder, LayerBuilder, MediaTypes, ReleaseBuilder,
};

use crate::site::{Extracted, Site, release, shown};

pub(crate) fn layer() -> LayerBuilder {
    LayerBuilder::new(Compression::Gzip)
}

pub(crate) fn image(layers: impl IntoIterator<Item = LayerBuilder>) -> Image {
    let layers = layers.into_iter().map(|layer| layer.build().unwrap());
    layers.fold(ImageBuilder::new(MediaTypes::Docker, Arch::X86_64), ImageBuilder::layer).build()
}

/// A release with this image; it announces the ISO unless it is flawed.
pub(crate) fn carrying(iso: &Content, layers: impl IntoIterator<Item = LayerBuilder>) -> ReleaseBuilder {
    release("4.18.52").iso(Arch::X86_64, iso.clone()).machine_os_images(image(layers))
}

/// What is expected of an image.
pub(crate) enum Expected {
    /// The ISO is proven, and of this build.
    Proven(&'static str),
    /// It is not what is stated, which whoever stores it will find out.
    Disproven,
    /// An error with this text.
    Refused(&'static str),
}
pub(crate) use Expected::{Disproven, Proven, Refused};

pub(crate) fn assert_expected(
    what: &str,
    result: Result<Extracted, release_payload::Error>,
    expected: &Expected,
) {
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

/// A way to make an image, its flaws, and what is expected of it.
pub(crate) type Case = (&'static str, Vec<LayerBuilder>, &'static [Flaw], Expected);

pub(crate) async fn assert_all(iso: &Content, cases: Vec<Case>) {
    let site = Site::new().await;
    for (what, layers, flaws, expected) in cases {
        let release = flaws.iter().fold(carrying(iso, layers), |release, &flaw| release.flaw(flaw));
        assert_expected(what, site.take(release).await, &expected);
    }
}
