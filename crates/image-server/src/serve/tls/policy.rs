//! What TLS a listener speaks, in the words of OpenShift's TLS security profiles, which its operators hand down as
//! `TLS_MIN_VERSION` and `TLS_CIPHER_SUITES`.
//!
//! The words are Go's, and so is their meaning: a list of cipher suites is about TLS 1.2 only; those of TLS 1.3 are
//! always on. What is older or weaker than anything rustls has is passed over with a warning, because profiles for
//! old clients name such things beside better ones.

use std::str::FromStr;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};
use thiserror::Error;

/// What TLS a listener speaks. The default is all that is thought safe: TLS 1.2 and 1.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPolicy {
    /// `TLS_MIN_VERSION`
    pub min_version: TlsVersion,
    /// `TLS_CIPHER_SUITES`
    pub cipher_suites: CipherSuites,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0, which is not spoken here.
    Tls10,
    /// TLS 1.1, which is not spoken here.
    Tls11,
    /// TLS 1.2
    #[default]
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// A list of cipher suites. The default is all that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CipherSuites {
    /// `None` for all.
    listed: Option<Vec<CipherSuite>>,
    ignored: Vec<String>,
}

/// A name is no version of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13")]
pub struct InvalidTlsVersion;

/// None of the cipher suites of a list is there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected a list with commas of cipher suites, of which at least one is any of {}", names())]
pub struct NoUsableCipherSuite;

/// Every suite that rustls has with ring, by its IANA name.
const SUITES: [(&str, CipherSuite); 9] = [
    ("TLS_AES_128_GCM_SHA256", CipherSuite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", CipherSuite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

fn names() -> String {
    SUITES.map(|(name, _)| name).join(", ")
}

/// The suite of that name. Go knows two of them by a shorter one, too.
fn suite(name: &str) -> Option<CipherSuite> {
    let is_named = |iana: &str| {
        iana == name
            || iana.strip_suffix("_SHA256").is_some_and(|short| short == name && name.ends_with("1305"))
    };
    SUITES.iter().find(|(iana, _)| is_named(iana)).map(|(_, suite)| *suite)
}

impl FromStr for TlsVersion {
    type Err = InvalidTlsVersion;

    fn from_str(name: &str) -> Result<Self, InvalidTlsVersion> {
        match name {
            "VersionTLS10" => Ok(Self::Tls10),
            "VersionTLS11" => Ok(Self::Tls11),
            "VersionTLS12" => Ok(Self::Tls12),
            "VersionTLS13" => Ok(Self::Tls13),
            _ => Err(InvalidTlsVersion),
        }
    }
}

impl FromStr for CipherSuites {
    type Err = NoUsableCipherSuite;

    fn from_str(list: &str) -> Result<Self, NoUsableCipherSuite> {
        let (mut listed, mut ignored) = (Vec::new(), Vec::new());
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match suite(name) {
                Some(suite) => listed.push(suite),
                None => ignored.push(name.to_owned()),
            }
        }
        match (listed.is_empty(), ignored.is_empty()) {
            (true, true) => Ok(Self::default()),
            (true, false) => Err(NoUsableCipherSuite),
            (false, _) => Ok(Self { listed: Some(listed), ignored }),
        }
    }
}

impl TlsPolicy {
    /// What of it cannot be had, in sentences for the log.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.min_version < TlsVersion::Tls12 {
            warnings.push("TLS_MIN_VERSION: nothing older than TLS 1.2 is spoken here".to_owned());
        }
        if !self.cipher_suites.ignored.is_empty() {
            let ignored = self.cipher_suites.ignored.join(", ");
            warnings.push(format!("TLS_CIPHER_SUITES: ignoring what there is not here: {ignored}"));
        }
        warnings
    }

    /// The versions, the newest first.
    pub(super) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        const NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        const ALL: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        if self.min_version == TlsVersion::Tls13 { NEW } else { ALL }
    }

    /// The provider with these suites only.
    pub(super) fn restrict(&self, mut provider: CryptoProvider) -> CryptoProvider {
        if let Some(listed) = &self.cipher_suites.listed {
            let is_new = |suite: &SupportedCipherSuite| suite.tls13().is_some();
            provider.cipher_suites.retain(|suite| is_new(suite) || listed.contains(&suite.suite()));
        }
        provider
    }
}

#[cfg(test)]
mod tests {
    use super::{CipherSuites, InvalidTlsVersion, NoUsableCipherSuite, SUITES, TlsPolicy, TlsVersion};

    /// The names of the suites that are left of all that there are.
    fn suites(policy: &TlsPolicy) -> Vec<&'static str> {
        let left = policy.restrict(rustls::crypto::ring::default_provider()).cipher_suites;
        let is_left = |suite| left.iter().any(|left| left.suite() == suite);
        SUITES.iter().filter(|(_, suite)| is_left(*suite)).map(|(name, _)| *name).collect()
    }

    fn policy(min_version: &str, cipher_suites: &str) -> TlsPolicy {
        TlsPolicy { min_version: min_version.parse().unwrap(), cipher_suites: cipher_suites.parse().unwrap() }
    }

    #[test]
    fn by_default_there_is_everything_that_the_provider_has() {
        let all = rustls::crypto::ring::default_provider().cipher_suites;
        assert_eq!(all.len(), SUITES.len());
        assert_eq!(suites(&TlsPolicy::default()), SUITES.map(|(name, _)| name));
        assert_eq!(suites(&policy("VersionTLS12", " ,")), SUITES.map(|(name, _)| name));
        assert_eq!(TlsPolicy::default().warnings(), [""; 0]);
    }

    #[test]
    fn a_list_restricts_what_is_older_than_tls_1_3() {
        let new = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
        let listed = policy("VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(suites(&listed), [&new[..], &["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]].concat());
        assert_eq!(suites(&policy("VersionTLS12", new[0])), new);
        // Go's own name for it.
        let short = policy("VersionTLS12", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305");
        assert_eq!(suites(&short), [&new[..], &["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]].concat());
    }

    #[test]
    fn profiles_for_old_clients_are_taken_as_far_as_they_go() {
        let old = policy(
            "VersionTLS10",
            "TLS_RSA_WITH_3DES_EDE_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_CBC_SHA",
        );
        assert_eq!(old.versions().len(), 2);
        assert_eq!(
            old.warnings(),
            [
                "TLS_MIN_VERSION: nothing older than TLS 1.2 is spoken here",
                "TLS_CIPHER_SUITES: ignoring what there is not here: TLS_RSA_WITH_3DES_EDE_CBC_SHA, \
                 TLS_RSA_WITH_AES_128_CBC_SHA",
            ]
        );
        assert_eq!(policy("VersionTLS13", "").versions(), [&rustls::version::TLS13]);
    }

    #[test]
    fn what_is_no_setting_is_refused_and_what_is_one_is_told() {
        for name in ["", "TLS12", "VersionTLS14", "versiontls12"] {
            assert_eq!(name.parse::<TlsVersion>(), Err(InvalidTlsVersion), "{name}");
        }
        assert!(InvalidTlsVersion.to_string().contains("VersionTLS12"));
        for list in ["TLS_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM"] {
            assert_eq!(list.parse::<CipherSuites>(), Err(NoUsableCipherSuite), "{list}");
        }
        assert!(NoUsableCipherSuite.to_string().contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"));
    }
}
