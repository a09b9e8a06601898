//! A pull-only client for OCI and Docker registries, in which every byte is verified.
//!
//! A [`Registry`] answers two questions about a [`Reference`]: what its [`Manifest`] says, and what the bytes of a
//! [`Blob`] are. Both are checked against their digests before the caller sees the end of them; nothing turns that
//! off. A place is only a hint, the digest is the truth: it may be a registry, or a folder that some tool has filled.
//! Knows nothing of OpenShift, writes nothing anywhere.
//!
//! Protocol: the OCI distribution and image specifications, Docker's token authentication, containers-auth.json(5).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use oci_registry::{Config, ManifestKind, PullSecret, Reference, Registry};
//!
//! let credentials = PullSecret::parse(&std::fs::read_to_string("pull-secret.json")?)?;
//! let registry = Registry::new(Config { credentials: credentials.into(), ..Config::default() })?;
//! let release: Reference = "quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64".parse()?;
//! let manifest = registry.manifest(&release).await?;
//! if let ManifestKind::Image(image) = &manifest.kind {
//!     let pinned = release.with_digest(manifest.digest);
//!     let mut layer = registry.blob(&pinned, &image.layers[0]).await?;
//!     while let Some(chunk) = layer.chunk().await {
//!         println!("{} verified-so-far bytes", chunk?.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod answer;
mod auth;
mod blob;
mod blocking;
mod bridge;
mod challenge;
mod check;
mod client;
mod clients;
mod credential_source;
mod credentials;
mod credentials_used;
mod deadline;
mod digest;
mod disk;
mod download;
mod endpoint;
mod error;
mod excerpt;
mod experience;
mod host;
mod host_certificates;
mod image_config;
mod manifest;
mod media_type;
mod mirrors;
mod pace;
mod pull_secret;
mod redacted_url;
mod reference;
mod reply;
mod retry;
mod rounds;
mod slots;
mod subject;
mod token;
mod trail;
mod transport;
mod verify;

pub use answer::Answer;
pub use blob::Blob;
pub use bridge::BlobReader;
pub use challenge::Challenge;
pub use check::{CheckTarget, InvalidCheckTarget, Verdict};
pub use client::{Config, Registry};
pub use credential_source::{CredentialSource, PullSecretFile, PullSecretFileError};
pub use credentials::{Credentials, EntryOddity, EntryProblem};
pub use credentials_used::CredentialsUsed;
pub use digest::{Digest, InvalidDigest};
pub use disk::{DiskError, ImageLayout};
pub use error::{Error, FailedSource};
pub use excerpt::Excerpt;
pub use host::{InvalidRegistryHost, RegistryHost};
pub use host_certificates::HostCertificatesError;
pub use image_config::ImageConfig;
pub use manifest::{
    Descriptor, ImageIndex, ImageManifest, InvalidManifest, Manifest, ManifestKind, Platform,
};
pub use mirrors::{
    Blocked, InvalidRegistriesConf, InvalidScope, Location, Mirror, MirrorPull, MirrorRule, Mirrors,
    PullSource, RegistriesConf, Scope,
};
pub use outbound_http::Proxies;
pub use pace::MinRate;
pub use pull_secret::{
    Difference, KeyProblem, Mistake, NearMiss, PullSecret, PullSecretError, PullSecretWarning, UnusableEntry,
    Wrapping,
};
pub use redacted_url::RedactedUrl;
pub use reference::{InvalidReference, Reference};
pub use retry::{ResumePatience, Retry};
pub use subject::Subject;

/// The parsers of foreign bytes, for fuzzing. Not part of the crate's promise.
#[doc(hidden)]
pub mod fuzzing {
    /// Reads `index.json` of an OCI layout and looks for a tag in it, as far as to the digest.
    pub fn oci_index(bytes: &[u8], tag: Option<&str>) -> Option<crate::Digest> {
        crate::disk::tagged(bytes, tag)
    }
}
