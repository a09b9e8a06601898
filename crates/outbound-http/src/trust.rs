//! Whom to trust over TLS: the system's CAs, and those that an admin named.
//!
//! Small sites often have one self-signed certificate that is its own CA: what `openssl req -x509` makes. It is shown by
//! the server and named as the CA at the same time. Webpki, like RFC 5280, wants a server to be no CA; Go does not
//! mind. So a certificate that was named byte for byte is accepted if it is valid now and for that host, and the
//! server proves to have its key.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime, pem};
use rustls::server::{ParsedCertificate, VerifierBuilderError};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier as SystemVerifier;

/// CA certificates that an admin named.
#[derive(Clone, Debug)]
pub struct NamedCas {
    certificates: Vec<CertificateDer<'static>>,
    /// Trusts these and no others. Made at once, so that a certificate that cannot be used is an error here.
    alone: Arc<WebPkiServerVerifier>,
}

/// Who has to vouch for servers.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Whom the system trusts.
    System,
    /// Those of the system, or these.
    Beside(NamedCas),
    /// These and no others.
    Alone(NamedCas),
    /// Nobody: any certificate will do.
    Anybody,
}

/// The text names nobody to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCas {
    /// It is not PEM.
    #[error("the CA certificates are not in PEM format")]
    NotPem(#[source] pem::Error),
    /// PEM of something else, or nothing.
    #[error("there is no CA certificate")]
    None,
    /// A certificate that is none, or not fit to be trusted.
    #[error("a CA certificate cannot be used")]
    Certificate(#[source] Error),
}

impl NamedCas {
    /// Reads a bundle of PEM. Text between the certificates is skipped.
    ///
    /// # Panics
    ///
    /// If the process has no crypto provider installed.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, InvalidCas> {
        let certificates: Vec<_> =
            CertificateDer::pem_slice_iter(bundle).collect::<Result<_, _>>().map_err(InvalidCas::NotPem)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(InvalidCas::Certificate)?;
        }
        let alone = WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
        let alone = alone.build().map_err(|error| match error {
            VerifierBuilderError::NoRootAnchors => InvalidCas::None,
            error => InvalidCas::Certificate(Error::General(error.to_string())),
        })?;
        Ok(Self { certificates, alone })
    }

    /// Trusts these and no others.
    pub fn alone(self) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Verifier { named: self.certificates, authorities: self.alone })
    }

    /// Trusts these, and the system's as they are now.
    pub fn beside_the_systems(self) -> Arc<dyn ServerCertVerifier> {
        match SystemVerifier::new_with_extra_roots(self.certificates.iter().cloned(), provider()) {
            Ok(authorities) => {
                Arc::new(Verifier { named: self.certificates, authorities: Arc::new(authorities) })
            }
            // Of the system's, unusable ones are left out; these were read before.
            Err(_) => self.alone(),
        }
    }
}

/// What a client speaks that has no certificate of its own and trusts whom `verifier` does. Which protocols it offers is left to the
/// caller.
///
/// # Panics
///
/// If the process has no crypto provider installed.
pub fn tls_config(verifier: Arc<dyn ServerCertVerifier>) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("every provider has cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::clone(CryptoProvider::get_default().expect("the front door installs a crypto provider"))
}

/// Accepts what known authorities vouch for, and the named certificates themselves.
#[derive(Debug)]
struct Verifier {
    named: Vec<CertificateDer<'static>>,
    authorities: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // That it is a CA is among what rustls has no word for. What comes before, such as its dates, has one.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.named.iter().any(|named| named == end_entity) =>
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
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
