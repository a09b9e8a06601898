use std::fmt;
use std::str::FromStr;

use coreos_names::{InvalidSha256, Sha256};
use sha2::Digest as _;

/// The digest of a manifest or blob, written `sha256:<64 hexadecimal digits>`.
///
/// SHA-256 is the only algorithm registries use for OpenShift's images; any other is refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Sha256);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::new(sha2::Sha256::digest(bytes)))
    }

    /// The bare hash.
    pub const fn sha256(self) -> Sha256 {
        self.0
    }
}

impl From<Sha256> for Digest {
    fn from(sha256: Sha256) -> Self {
        Self(sha256)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// The text is not a digest this client can verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDigest {
    /// No `<algorithm>:` in front.
    #[error("invalid digest {0:?}: expected sha256:<64 hexadecimal digits>")]
    NoAlgorithm(String),
    /// An algorithm other than SHA-256.
    #[error("unsupported digest algorithm {0:?}: only sha256 is known")]
    Algorithm(String),
    /// The algorithm is SHA-256, the rest is not.
    #[error(transparent)]
    Sha256(#[from] InvalidSha256),
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        const SHOWN: usize = 80;
        match text.split_once(':') {
            Some(("sha256", hex)) => Ok(Self(hex.parse()?)),
            Some((algorithm, _)) => Err(InvalidDigest::Algorithm(algorithm.chars().take(SHOWN).collect())),
            None => Err(InvalidDigest::NoAlgorithm(text.chars().take(SHOWN).collect())),
        }
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, InvalidDigest};
    use proptest::prelude::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let shown = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), shown);
        assert_eq!(shown.parse(), Ok(Digest::of(b"")));
    }

    #[test]
    fn other_algorithms_are_refused_by_name() {
        let text = format!("sha512:{}", "0".repeat(128));
        assert_eq!(text.parse::<Digest>(), Err(InvalidDigest::Algorithm("sha512".to_owned())));
        assert!(matches!("".parse::<Digest>(), Err(InvalidDigest::NoAlgorithm(_))));
        assert!(matches!("sha256:12".parse::<Digest>(), Err(InvalidDigest::Sha256(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: [u8; 32]) {
            let digest = Digest::from(coreos_names::Sha256::from(bytes));
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            let json = serde_json::to_string(&digest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }
    }
}
