//! The one place that chooses the TLS implementation, see docs/decisions/0001-crypto-provider.md.

/// Makes every TLS client and server of this process use ring.
pub(crate) fn install_provider() {
    // Fails only if one is installed already, and nothing else in this program installs any.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
