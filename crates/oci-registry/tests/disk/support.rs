//! What these tests have in common: images, a client, and reading everything of an image.

use std::io::Read as _;
use std::path::Path;

use coreos_names::{Arch, WithCauses};
use oci_registry::{Config, Descriptor, DiskError, Error, ManifestKind, Reference, Registry};
use test_support::payload::{
    Artifact, Compression, Content, Image, ImageBuilder, Index, LayerBuilder, MediaTypes,
};

pub(crate) const REPOSITORY: &str = "openshift/release";
pub(crate) const TAG: &str = "4.18.52-x86_64";

/// An image with a layer that is read in several pieces.
pub(crate) fn image(media_types: MediaTypes, arch: Arch) -> Image {
    let noise: Vec<u8> = (0..400_000_u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let low = LayerBuilder::new(Compression::Gzip).file("etc/os-release", "ID=rhel\n").build();
    let high = LayerBuilder::new(Compression::Gzip).file(&format!("coreos/{arch}.iso"), noise).build();
    ImageBuilder::new(media_types, arch)
        .layer(low.expect("a layer can be built"))
        .layer(high.expect("a layer can be built"))
        .build()
}

pub(crate) fn list(media_types: MediaTypes) -> Artifact {
    let images = [Arch::X86_64, Arch::Arm64].map(|arch| image(media_types, arch));
    Index::new(media_types, images.to_vec()).into()
}

/// A folder as `oc` writes it, and the image in it.
pub(crate) fn oc_mirror(folder: &Path) -> Image {
    let image = image(MediaTypes::Docker, Arch::X86_64);
    Artifact::from(image.clone()).write_oc(folder, REPOSITORY, TAG).expect("it can be written");
    image
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The repository in a folder, without tag and digest.
pub(crate) fn in_folder(folder: &Path) -> Reference {
    reference(&format!("file://{}/{REPOSITORY}", folder.display()))
}

/// A client with neither credentials nor a place to ask over the network.
pub(crate) fn client() -> Registry {
    test_support::install_crypto_provider();
    Registry::new(Config::default()).expect("a client")
}

pub(crate) fn descriptor(content: &Content) -> Descriptor {
    Descriptor {
        digest: content.sha256().into(),
        size: content.size(),
        media_type: String::new(),
        platform: None,
    }
}

pub(crate) fn read(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    content.open().expect("it is there").read_to_end(&mut bytes).expect("it can be read");
    bytes
}

/// Takes every byte of an artifact from where a reference leads to, and compares.
pub(crate) async fn assert_whole(reference: &Reference, artifact: &Artifact) {
    let client = client();
    let manifest = client.manifest(reference).await.unwrap_or_else(|error| panic!("{}", WithCauses(&error)));
    assert_eq!(manifest.digest.to_string(), artifact.digest());
    assert_eq!(manifest.size, artifact.manifest().size());
    for image in artifact.images() {
        let reference = reference.with_digest(image.manifest.sha256().into());
        let manifest = client.manifest(&reference).await.expect("each image is there");
        let ManifestKind::Image(parsed) = manifest.kind else { panic!("an image is none") };
        let config = client.config(&reference, &parsed).await.expect("its configuration is there");
        assert!(["amd64", "arm64"].contains(&config.architecture.as_str()));
        assert_eq!(parsed.layers.len(), image.layers.len());
        for (parsed, layer) in parsed.layers.iter().zip(&image.layers) {
            let blob = client.blob(&reference, parsed).await.expect("its layers are there");
            assert_eq!(blob.bytes(64 << 20).await.expect("they are right"), read(&layer.content));
        }
    }
}

/// Why a folder did not give something.
pub(crate) fn problem(error: Error) -> DiskError {
    let shown = WithCauses(&error).to_string();
    match error {
        Error::Disk { source, .. } => source,
        _ => panic!("{shown}"),
    }
}
