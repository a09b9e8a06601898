use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate for `127.0.0.1` and `localhost`, signed by an authority that nobody knows yet.
#[derive(Debug)]
pub struct Certificate {
    /// The authority, to be trusted.
    pub ca_pem: String,
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
    signed: rcgen::Certificate,
    key: KeyPair,
}

impl Certificate {
    /// Makes both.
    pub fn generate() -> Self {
        let key = || KeyPair::generate().expect("keys can be made");
        let mut authority = CertificateParams::new(Vec::new()).expect("no name is wrong");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate for self-signed if it has its issuer's name.
        authority.distinguished_name.push(DnType::CommonName, "authority");
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority can be made");

        let names = ["127.0.0.1", "localhost"].map(str::to_owned).to_vec();
        let params = CertificateParams::new(names).expect("both are names");
        let key = key();
        let signed = params.signed_by(&key, &authority).expect("a certificate can be made");
        Self {
            ca_pem: authority.pem(),
            certificate_pem: signed.pem(),
            key_pem: key.serialize_pem(),
            signed,
            key,
        }
    }

    /// Makes one that is its own authority, as `openssl req -x509` does.
    pub fn self_signed() -> Self {
        Self::self_signed_for("127.0.0.1", rcgen::date_time_ymd(4096, 1, 1).into())
    }

    /// The same for another host, and until another date.
    pub fn self_signed_for(host: &str, not_after: std::time::SystemTime) -> Self {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("it is a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = not_after.into();
        let key = KeyPair::generate().expect("keys can be made");
        let signed = params.self_signed(&key).expect("a certificate can be made");
        Self {
            ca_pem: signed.pem(),
            certificate_pem: signed.pem(),
            key_pem: key.serialize_pem(),
            signed,
            key,
        }
    }

    pub(crate) fn listener(&self, tcp: TcpListener) -> TlsListener {
        self.listener_for(tcp, None)
    }

    /// One that speaks only with clients of this authority, if there is one.
    pub(crate) fn listener_for(
        &self,
        tcp: TcpListener,
        client_ca: Option<&CertificateDer<'static>>,
    ) -> TlsListener {
        crate::install_crypto_provider();
        let chain = vec![self.signed.der().clone()];
        let key = self.key.serialize_der().try_into().expect("a key that was just made");
        let config = match client_ca {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(client_ca) => {
                let mut roots = RootCertStore::empty();
                roots.add(client_ca.clone()).expect("an authority that was just made");
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                ServerConfig::builder().with_client_cert_verifier(verifier.expect("there is an authority"))
            }
        };
        let config = config.with_single_cert(chain, key);
        TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(config.expect("key and certificate match"))) }
    }
}

/// A certificate that a client shows, and the authority that a server knows it by.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: String,
    authority: CertificateDer<'static>,
}

impl ClientCertificate {
    /// Makes both.
    pub fn generate() -> Self {
        let key = || KeyPair::generate().expect("keys can be made");
        let mut authority = CertificateParams::new(Vec::new()).expect("no name is wrong");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "authority of clients");
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority can be made");

        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        params.distinguished_name.push(DnType::CommonName, "puller");
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        let key = key();
        let signed = params.signed_by(&key, &authority).expect("a certificate can be made");
        Self {
            certificate_pem: signed.pem(),
            key_pem: key.serialize_pem(),
            authority: authority.der().clone(),
        }
    }

    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        self.authority.clone()
    }
}

/// Speaks TLS with whoever connects. One after the other: a test has few clients.
pub(crate) struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.tcp).await;
            // Clients that do not trust us break off here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
