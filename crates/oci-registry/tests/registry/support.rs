//! What these tests have in common: an image, a client for a registry, and a look at everything an error would show.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use coreos_names::{Arch, WithCauses};
use oci_registry::{
    Config, Descriptor, Error, ImageManifest, ManifestKind, PullSecret, Reference, Registry, ResumePatience,
    Retry,
};
use test_support::payload::{Artifact, Compression, Content, Image, ImageBuilder, LayerBuilder, MediaTypes};
use test_support::registry::{TokenRegistry, TokenRegistryBuilder};

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "hunter2-and-colons::";
pub(crate) const REPOSITORY: &str = "openshift/release";

/// Bytes that no compression makes smaller, and always the same ones.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// An image with a small layer and one of more than a MiB above it.
pub(crate) fn image(media_types: MediaTypes, compression: Compression) -> Image {
    let low = LayerBuilder::new(compression).directory("etc").file("etc/os-release", "ID=rhel\n").build();
    let high = LayerBuilder::new(compression).file("coreos/coreos-x86_64.iso", noise(1_500_000)).build();
    ImageBuilder::new(media_types, Arch::X86_64)
        .label("io.openshift.release", "4.18.52")
        .layer(low.expect("a layer can be built"))
        .layer(high.expect("a layer can be built"))
        .build()
}

pub(crate) fn builder() -> TokenRegistryBuilder {
    TokenRegistry::builder().user(USER, PASSWORD)
}

/// A registry with the image in it, and the image.
pub(crate) async fn serve(builder: TokenRegistryBuilder) -> (TokenRegistry, Image) {
    let registry = builder.start().await;
    let image = image(MediaTypes::Docker, Compression::Gzip);
    registry.publish(REPOSITORY, "4.18.52-x86_64", &Artifact::from(image.clone()));
    (registry, image)
}

pub(crate) fn pull_secret(key: &str, user: &str, password: &str) -> PullSecret {
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    PullSecret::parse(&format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#)).expect("a pull secret")
}

/// What suits plain HTTP at these places, with no waiting between tries.
pub(crate) fn config(credentials: PullSecret, insecure: &[&str]) -> Config {
    test_support::install_crypto_provider();
    let insecure: BTreeSet<_> = insecure.iter().map(|host| host.parse().expect("a host")).collect();
    let retry = Retry { first_delay: Duration::ZERO, ..Retry::default() };
    let resume = ResumePatience {
        longest_outage: Duration::from_secs(10),
        first_delay: Duration::from_millis(1),
        ..ResumePatience::default()
    };
    Config { credentials: credentials.into(), insecure, retry, resume, ..Config::default() }
}

/// Gives up a download that does not get on.
pub(crate) fn impatient(config: Config) -> Config {
    let resume = ResumePatience { longest_outage: Duration::ZERO, ..config.resume };
    Config { resume, ..config }
}

/// A client that may pull everything.
pub(crate) fn client(registry: &TokenRegistry) -> Registry {
    client_with(registry, pull_secret(registry.address(), USER, PASSWORD))
}

pub(crate) fn client_with(registry: &TokenRegistry, credentials: PullSecret) -> Registry {
    Registry::new(config(credentials, &[registry.address()])).expect("a client")
}

pub(crate) fn reference(address: &str) -> Reference {
    format!("{address}/{REPOSITORY}:4.18.52-x86_64").parse().expect("a reference")
}

pub(crate) fn descriptor(content: &Content) -> Descriptor {
    Descriptor {
        digest: content.sha256().into(),
        size: content.size(),
        media_type: String::new(),
        platform: None,
    }
}

/// The upper, larger layer.
pub(crate) fn layer(image: &Image) -> Descriptor {
    descriptor(&image.layers[1].content)
}

pub(crate) fn image_of(kind: ManifestKind) -> ImageManifest {
    match kind {
        ManifestKind::Image(image) => image,
        ManifestKind::Index(index) => panic!("an index: {index:?}"),
    }
}

pub(crate) fn read(content: &Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    content.open().expect("it is there").read_to_end(&mut bytes).expect("it can be read");
    bytes
}

/// Everything an error could show: its words, those of its causes, and what a debugger would print.
pub(crate) fn shown(error: &Error) -> String {
    format!("{} {error:?}", WithCauses(error))
}

/// How many requests went to a path that ends so.
pub(crate) fn count(registry: &TokenRegistry, path_end: &str) -> usize {
    registry.requests().iter().filter(|request| request.path.ends_with(path_end)).count()
}
