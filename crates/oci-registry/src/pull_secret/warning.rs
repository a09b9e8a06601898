//! What a pull secret says that it should not, though it can be used.

use super::{KeyProblem, UnusableEntry};
use crate::EntryOddity;

/// Something about a pull secret that its author should mend. It can be used all the same, without the entry that is
/// named if there is one. Nothing secret can be in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullSecretWarning {
    /// There is something around it.
    #[error("the pull secret {0}")]
    Wrapped(Wrapping),
    /// An entry is of no use.
    #[error(transparent)]
    Unusable(UnusableEntry),
    /// An entry is used, but others would stumble over it.
    #[error("pull secret entry {key:?} {oddity}")]
    Odd {
        /// The entry's key.
        key: String,
        /// What is wrong with it.
        oddity: EntryOddity,
    },
    /// An entry's key is not what it seems to be.
    #[error("pull secret entry {key:?} {problem}")]
    Key {
        /// The key as it is written, without user and password.
        key: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// `credHelpers`: the credentials for a registry lie with another program.
    #[error(
        "the pull secret names a credential helper for {registry:?}: helpers are not supported, give this registry an entry in \"auths\""
    )]
    Helper {
        /// The registry.
        registry: String,
    },
    /// `credsStore`: the credentials for all registries lie with another program.
    #[error(
        "the pull secret names a credential store (\"credsStore\"): stores are not supported, so blank entries in \"auths\" have no credentials"
    )]
    Store,
}

/// What is around a pull secret, and is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrapping {
    /// U+FEFF at the front.
    #[error("begins with a byte order mark: save the file as UTF-8 without one")]
    ByteOrderMark,
    /// JSON in quotes, as in install-config.yaml.
    #[error("has quotes around it: leave them out")]
    Quotes,
    /// The whole text in base64.
    #[error("is in base64: decode it by `base64 -d`")]
    Base64,
    /// YAML with the map `auths`.
    #[error("is YAML: write it as JSON")]
    Yaml,
    /// A manifest of a Secret.
    #[error(
        "is the manifest of a Kubernetes Secret: give the contents of its key alone, as `oc extract` does"
    )]
    Secret,
    /// A manifest of a Secret that Kubernetes would refuse.
    #[error(
        "is the manifest of a Kubernetes Secret with plain text in \"data\": that belongs to \"stringData\""
    )]
    PlainData,
    /// An install-config.yaml.
    #[error("is an install-config: give the value of its \"pullSecret\" alone")]
    InstallConfig,
    /// Entries without the map `auths` around them, as in the file `.dockercfg` of old.
    #[error("has no map \"auths\" around its entries: write {{\"auths\":{{…}}}}")]
    NoAuths,
}
