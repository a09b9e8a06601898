//! How it is known that an image is the one that was meant, and what is asked of bytes before they become an image.

use coreos_names::Sha256;
use serde::{Deserialize, Serialize};

/// How it is known that an image is what its source meant it to be. Stronger ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// It is whole and understood: every extent that is needed, and the volume itself, lie within the file. Nobody
    /// stated a digest.
    StructureOnly,
    /// Its SHA-256 is the one that the admin wrote beside its URL.
    AdminSha256,
    /// Its SHA-256 is the one that a digest-verified release payload states.
    Digest,
}

impl Proof {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::StructureOnly, Self::AdminSha256, Self::Digest];

    /// The name shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StructureOnly => "structure-only",
            Self::AdminSha256 => "admin-sha256",
            Self::Digest => "digest",
        }
    }
}

/// What an image must be. Whatever it is, [`live_iso::Layout`] must understand it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The ISO with the SHA-256 that a digest-verified release payload states.
    Release(Sha256),
    /// The ISO with the SHA-256 that the admin wrote beside its URL.
    Admin(Sha256),
    /// Any ISO of that name: nobody stated a digest.
    Structure,
}

impl Expected {
    /// The digest that the image must have.
    pub const fn sha256(self) -> Option<Sha256> {
        match self {
            Self::Release(sha256) | Self::Admin(sha256) => Some(sha256),
            Self::Structure => None,
        }
    }

    /// What an image that is as expected is proven by.
    pub(crate) const fn proof(self) -> Proof {
        match self {
            Self::Release(_) => Proof::Digest,
            Self::Admin(_) => Proof::AdminSha256,
            Self::Structure => Proof::StructureOnly,
        }
    }
}
