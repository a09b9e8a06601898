//! What TLS a listener speaks, in the words of OpenShift's TLS security profiles, which its operators hand down as
//! `TLS_MIN_VERSION` and `TLS_CIPHER_SUITES`.
//!
//! The words are Go's, and so is their meaning: a list of cipher suites is about TLS 1.2 only; those of TLS 1.3 are
//! always on. OpenSSL's names are understood, too, because the profiles are written in them. What is older or weaker than anything rustls has is passed over with a warning, because profiles for
//! old clients name such things beside better ones. Where a list has nothing else, TLS 1.3 is all that is spoken.

use std::convert::Infallible;
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

/// The suite of that name. Go knows two of them by a shorter one, too, and OpenSSL those of TLS 1.2 by one of its own.
fn suite(name: &str) -> Option<CipherSuite> {
    let is_named = |iana: &str| {
        iana == name
            || openssl_name(iana).is_some_and(|openssl| openssl == name)
            || iana.strip_suffix("_SHA256").is_some_and(|short| short == name && name.ends_with("1305"))
    };
    SUITES.iter().find(|(iana, _)| is_named(iana)).map(|(_, suite)| *suite)
}

/// `ECDHE-RSA-AES128-GCM-SHA256` is what OpenSSL calls `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
fn openssl_name(iana: &str) -> Option<String> {
    let (exchange, cipher) = iana.strip_prefix("TLS_")?.split_once("_WITH_")?;
    let cipher = cipher
        .strip_suffix("_POLY1305_SHA256")
        .map_or_else(|| cipher.replace("AES_", "AES"), |cipher| format!("{cipher}_POLY1305"));
    Some(format!("{exchange}-{cipher}").replace('_', "-"))
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
    type Err = Infallible;

    fn from_str(list: &str) -> Result<Self, Infallible> {
        let (mut listed, mut ignored) = (Vec::new(), Vec::new());
        for name in list.split([',', ':']).map(str::trim).filter(|name| !name.is_empty()) {
            match suite(name) {
                Some(suite) => listed.push(suite),
                None => ignored.push(name.to_owned()),
            }
        }
        let is_empty = listed.is_empty() && ignored.is_empty();
        Ok(Self { listed: (!is_empty).then_some(listed), ignored })
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
        if !self.has_tls12() && self.min_version < TlsVersion::Tls13 {
            warnings
                .push("TLS_CIPHER_SUITES: without any suite of TLS 1.2, only TLS 1.3 is spoken".to_owned());
        }
        warnings
    }

    /// Whether any suite of TLS 1.2 is left.
    fn has_tls12(&self) -> bool {
        let is_tls12 = |suite: &CipherSuite| {
            SUITES.iter().any(|(iana, known)| known == suite && openssl_name(iana).is_some())
        };
        self.cipher_suites.listed.as_ref().is_none_or(|listed| listed.iter().any(is_tls12))
    }

    /// The versions, the newest first.
    pub(super) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        const NEW: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        const ALL: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        if self.min_version == TlsVersion::Tls13 || !self.has_tls12() { NEW } else { ALL }
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
    use super::{InvalidTlsVersion, SUITES, TlsPolicy, TlsVersion};

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
    }

    #[test]
    fn a_list_without_a_suite_of_tls_1_2_leaves_tls_1_3() {
        for list in ["TLS_RSA_WITH_AES_128_CBC_SHA", "NULL", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM"] {
            let policy = policy("VersionTLS12", list);
            assert_eq!(policy.versions(), [&rustls::version::TLS13], "{list}");
            assert_eq!(suites(&policy).len(), 3, "{list}");
            let warning = "TLS_CIPHER_SUITES: without any suite of TLS 1.2, only TLS 1.3 is spoken";
            assert_eq!(policy.warnings().last().map(String::as_str), Some(warning), "{list}");
        }
        assert_eq!(policy("VersionTLS13", "TLS_AES_128_GCM_SHA256").warnings(), [""; 0]);
    }

    #[test]
    fn the_names_of_openssl_are_understood() {
        let openssl = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
                       ECDHE-RSA-AES256-GCM-SHA384,ECDHE-ECDSA-CHACHA20-POLY1305,ECDHE-RSA-CHACHA20-POLY1305";
        let all = policy("VersionTLS12", openssl);
        assert_eq!(suites(&all), SUITES.map(|(name, _)| name));
        assert_eq!(all.warnings(), [""; 0]);
        let two = policy("VersionTLS12", "ECDHE-RSA-AES128-GCM-SHA256,DHE-RSA-AES128-GCM-SHA256");
        assert_eq!(suites(&two).len(), 4);
        assert_eq!(
            two.warnings(),
            ["TLS_CIPHER_SUITES: ignoring what there is not here: DHE-RSA-AES128-GCM-SHA256"]
        );
    }
}
