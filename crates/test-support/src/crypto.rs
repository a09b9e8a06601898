/// Gives the process the crypto provider that the program's front door would install. May be called by every test.
pub fn install_crypto_provider() {
    // The error is the provider installed before, by another test.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
