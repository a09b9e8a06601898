use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{CertificateError, ClientConnection, Error, ServerConfig, ServerConnection};

use super::{InvalidCas, NamedCas, tls_config};

fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn self_signed(name: &str, is_ca: bool) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (params(name, is_ca).self_signed(&key).unwrap(), key)
}

fn named(certificate: &Certificate) -> NamedCas {
    NamedCas::from_pem(certificate.pem().as_bytes()).unwrap()
}

/// Lets a client that trusts whom `verifier` does shake hands with `registry.lab`.
fn shake_hands(
    verifier: Arc<dyn ServerCertVerifier>,
    shown: &Certificate,
    key: &KeyPair,
) -> Result<(), Error> {
    let shown: Vec<CertificateDer<'static>> = vec![shown.der().clone()];
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(shown, key.into()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let name = ServerName::try_from("registry.lab").unwrap();
    let mut client = ClientConnection::new(Arc::new(tls_config(verifier)), name).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        client.process_new_packets()?;
    }
    server.writer().write_all(b"hello").unwrap();
    let mut bytes = Vec::new();
    server.write_tls(&mut bytes).unwrap();
    client.read_tls(&mut &bytes[..]).unwrap();
    client.process_new_packets()?;
    let mut said = [0; 5];
    client.reader().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
    Ok(())
}

#[test]
fn what_a_named_authority_signed_is_trusted() {
    install_crypto_provider();
    let (authority, authority_key) = self_signed("authority.lab", true);
    let authority_params = params("authority.lab", true);
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_params(&authority_params, &authority_key);
    let shown = params("registry.lab", false).signed_by(&key, &issuer).unwrap();
    for verifier in [named(&authority).alone(), named(&authority).beside_the_systems()] {
        assert_eq!(shake_hands(verifier, &shown, &key), Ok(()));
    }
    let (other, _) = self_signed("authority.lab", true);
    assert!(shake_hands(named(&other).beside_the_systems(), &shown, &key).is_err());
}

#[test]
fn a_server_may_show_the_named_certificate_itself() {
    install_crypto_provider();
    for is_ca in [true, false] {
        let (shown, key) = self_signed("registry.lab", is_ca);
        for verifier in [named(&shown).alone(), named(&shown).beside_the_systems()] {
            assert_eq!(shake_hands(verifier, &shown, &key), Ok(()), "a CA: {is_ca}");
        }
    }
}

#[test]
fn the_named_certificate_itself_has_to_be_for_the_server_and_valid_now() {
    install_crypto_provider();
    let (shown, key) = self_signed("other.lab", true);
    let refused = shake_hands(named(&shown).alone(), &shown, &key);
    assert!(matches!(refused, Err(Error::InvalidCertificate(_))), "{refused:?}");

    let key = KeyPair::generate().unwrap();
    let mut expired = params("registry.lab", true);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let shown = expired.self_signed(&key).unwrap();
    let refused = shake_hands(named(&shown).alone(), &shown, &key);
    let is_expired = |error: &CertificateError| {
        matches!(error, CertificateError::Expired | CertificateError::ExpiredContext { .. })
    };
    assert!(matches!(&refused, Err(Error::InvalidCertificate(error)) if is_expired(error)), "{refused:?}");
}

#[test]
fn text_without_certificates_is_refused() {
    install_crypto_provider();
    for text in ["", "text", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(matches!(NamedCas::from_pem(text.as_bytes()), Err(InvalidCas::None)), "{text:?}");
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(NamedCas::from_pem(broken.as_bytes()), Err(InvalidCas::Certificate(_))));
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    assert!(matches!(NamedCas::from_pem(cut.as_bytes()), Err(InvalidCas::NotPem(_))));
}
