//! TLS towards a service whose CA the admin named.
//!
//! Small sites often have one self-signed certificate that is its own CA: what `openssl req -x509` makes. It is shown by
//! the service and given as the CA at the same time. Webpki, like RFC 5280, wants a service to be no CA; Go does not
//! mind. So a certificate that was named byte for byte is accepted if it is valid now and for that host, and the
//! service proves to have its key.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::InvalidAssistedService;

/// A client that trusts the certificates of this PEM file, and no others.
pub(super) fn tls_client(pem: &[u8]) -> Result<ClientConfig, InvalidAssistedService> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(InvalidAssistedService::Certificates)?;
    if certificates.is_empty() {
        return Err(InvalidAssistedService::NoCertificate);
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(InvalidAssistedService::Certificate)?;
    }
    let webpki = WebPkiServerVerifier::builder(roots.into()).build().map_err(|error| match error {
        VerifierBuilderError::NoRootAnchors => InvalidAssistedService::NoCertificate,
        error => InvalidAssistedService::Certificate(Error::General(error.to_string())),
    })?;
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NamedCertificates { webpki, certificates }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What webpki accepts, and the named certificates themselves.
#[derive(Debug)]
struct NamedCertificates {
    webpki: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // That it is a CA is among what rustls has no word for. What comes before, such as its dates, has one.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.iter().any(|named| named == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
