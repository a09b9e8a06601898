//! A registry in this process, and ISOs small enough to be made by the dozen.

use std::io::{self, Write};
use std::time::Duration;

use coreos_names::{Arch, WithCauses};
use oci_registry::{Config, PullSecret, Registry, ResumePatience, Retry};
use release_payload::{BootImage, Error, IsoSink, LiveIso, OsStream, Payload};
use test_support::payload::{Content, Release, ReleaseBuilder};
use test_support::registry::TokenRegistry;

pub(crate) const BUILD: &str = "418.94.202511191518-0";
pub(crate) const REPOSITORY: &str = "mirror/ocp-release";
pub(crate) const ISO: &str = "coreos/coreos-x86_64.iso";

/// Bytes that no compression makes smaller, other ones for every seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (seed << 7 | 1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// What an ISO begins with, and then noise.
pub(crate) fn iso_of(volume_id: &str, seed: u64) -> Content {
    let mut bytes = noise(200_000, seed);
    bytes[32768..32776].copy_from_slice(b"\x01CD001\x01\0");
    bytes[32808..32840].copy_from_slice(format!("{volume_id:32}").as_bytes());
    Content::from_bytes(bytes)
}

pub(crate) fn iso(seed: u64) -> Content {
    iso_of(&format!("rhcos-{BUILD}"), seed)
}

/// A release whose components' origin is a place where nobody listens, as in a site without internet.
pub(crate) fn release(version: &str) -> ReleaseBuilder {
    ReleaseBuilder::new(version, BUILD)
        .component_repository("127.0.0.1:1/openshift-release-dev/ocp-v4.0-art-dev")
}

/// A client for a registry without TLS.
pub(crate) fn client(address: &str, pull_secret: &str) -> Registry {
    client_of(&[address], pull_secret)
}

/// The same for several.
pub(crate) fn client_of(addresses: &[&str], pull_secret: &str) -> Registry {
    test_support::install_crypto_provider();
    let config = Config {
        credentials: PullSecret::parse(pull_secret).unwrap().into(),
        insecure: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        retry: Retry { tries: 2, first_delay: Duration::from_millis(1), ..Retry::default() },
        resume: ResumePatience { longest_outage: Duration::ZERO, ..ResumePatience::default() },
        ..Config::default()
    };
    Registry::new(config).unwrap()
}

/// Takes everything.
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(crate) Vec<u8>);

impl IsoSink for Memory {
    fn begin(&mut self, _: u64) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What came out: the statement, and the bytes that have to be what it says.
#[derive(Debug)]
pub(crate) struct Extracted {
    pub(crate) stated: BootImage,
    pub(crate) content: Content,
}

impl Extracted {
    pub(crate) fn is_proven(&self) -> bool {
        self.content.sha256() == self.stated.sha256
    }
}

pub(crate) async fn extract(registry: &Registry, payload: &Payload, arch: Arch) -> Result<Extracted, Error> {
    let mut iso = LiveIso::locate(registry, payload, arch).await?;
    let extracted = iso.extract(registry, Memory::default()).await?;
    Ok(Extracted { stated: extracted.stated, content: Content::from_bytes(extracted.sink.0) })
}

/// The text of an error with all its causes.
pub(crate) fn shown(error: &Error) -> String {
    WithCauses(error).to_string()
}

pub(crate) struct Site {
    pub(crate) server: TokenRegistry,
    pub(crate) registry: Registry,
}

impl Site {
    pub(crate) async fn new() -> Self {
        test_support::install_crypto_provider();
        let server = TokenRegistry::builder().anonymous().start().await;
        let registry = client(server.address(), r#"{"auths":{}}"#);
        Self { server, registry }
    }

    /// Mirrors a release into one repository. Returns the pullspec.
    pub(crate) fn publish(&self, release: &Release) -> String {
        for component in &release.components {
            self.server.publish(REPOSITORY, &component.tag, &component.image);
        }
        self.server.publish(REPOSITORY, &release.tag, &release.image);
        self.pullspec(&release.tag)
    }

    pub(crate) fn pullspec(&self, tag: &str) -> String {
        format!("{}/{REPOSITORY}:{tag}", self.server.address())
    }

    pub(crate) async fn resolve(&self, pullspec: &str) -> Result<Payload, Error> {
        Payload::resolve(&self.registry, &pullspec.parse().unwrap(), None).await
    }

    /// The ISO of a release for x86_64.
    pub(crate) async fn take(&self, release: ReleaseBuilder) -> Result<Extracted, Error> {
        self.take_stream(release, None).await
    }

    pub(crate) async fn take_stream(
        &self,
        release: ReleaseBuilder,
        stream: Option<OsStream>,
    ) -> Result<Extracted, Error> {
        let pullspec = self.publish(&release.build().unwrap());
        let payload = self.resolve(&pullspec).await?.with_os_stream(stream);
        self.server.clear_requests();
        extract(&self.registry, &payload, Arch::X86_64).await
    }

    /// The digests of the blobs that were asked for.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let requests = self.server.requests();
        requests.iter().filter_map(|request| Some(request.path.split_once("/blobs/")?.1.to_owned())).collect()
    }
}
