//! OpenPGP signatures of OpenShift releases, and the places where they lie.
//!
//! Whoever publishes a release signs a small JSON document that names its digest, an "atomic container signature", and
//! puts the signed message into a store by that digest. [`SignaturePolicy::verify`] takes digests, asks [`Store`]s, and
//! says which keys of the admin's [`Keyring`]s vouch for one of them. What counts as valid is what the cluster-version
//! operator counts (openshift/library-go, `pkg/verify`), with stricter limits.
//!
//! Nothing here knows registries or payloads, and keys are only ever the admin's: one that came with what it signs would
//! prove nothing. The clock is a value.

mod certificate;
mod error;
mod keyring;
mod message;
mod policy;
mod statement;
mod store;

pub use certificate::KeyFault;
pub use error::{Answer, Error, Finding, Refusal, Unacceptable};
pub use keyring::{Keyring, UnusableKeyring};
pub use policy::{Config, SignaturePolicy, Signed, Verification};
pub use store::{InvalidStore, Store, Unreadable};

/// The parsers of foreign bytes, for fuzzing. Not part of the crate's promise.
#[doc(hidden)]
pub mod fuzzing {
    use coreos_names::Sha256;

    use crate::keyring::Keyring;

    /// Judges a signature by a keyring.
    pub fn judge(keyring: &Keyring, signature: &[u8], digest: Sha256, now: std::time::SystemTime) -> bool {
        keyring.judge(signature, digest, now).is_ok()
    }

    /// Reads a keyring.
    pub fn keyring(bytes: &[u8]) -> Option<Keyring> {
        Keyring::read("fuzzed", bytes).ok()
    }

    /// Reads a file of ConfigMaps.
    pub fn config_maps(bytes: &[u8], digest: Sha256) {
        let _ = crate::store::config_map::signatures(bytes, digest);
    }
}
