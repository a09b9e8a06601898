use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use image_server::{Patience, Tls, TlsPolicy};
use reqwest::{Client, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, ProtocolVersion, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
};
use tempfile::TempDir;
use test_support::install_crypto_provider;
use test_support::registry::Certificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::site::{FULL_ISO, Setup, Site, X86_64};

/// The files of a listener, as Kubernetes lays them out: links to a link to a directory.
struct Files {
    directory: TempDir,
    generation: usize,
}

impl Files {
    fn new(certificate: &Certificate) -> Self {
        let mut files = Self { directory: tempfile::tempdir().unwrap(), generation: 0 };
        files.replace(&certificate.certificate_pem, &certificate.key_pem);
        for name in ["tls.crt", "tls.key"] {
            let link = files.directory.path().join(name);
            std::os::unix::fs::symlink(format!("..data/{name}"), link).unwrap();
        }
        files
    }

    fn replace(&mut self, certificate_pem: &str, key_pem: &str) {
        self.generation += 1;
        let directory = self.directory.path();
        let name = format!("..{}", self.generation);
        fs::create_dir(directory.join(&name)).unwrap();
        fs::write(directory.join(&name).join("tls.crt"), certificate_pem).unwrap();
        fs::write(directory.join(&name).join("tls.key"), key_pem).unwrap();
        let new = directory.join("..data_tmp");
        std::os::unix::fs::symlink(name, &new).unwrap();
        fs::rename(new, directory.join("..data")).unwrap();
    }

    fn paths(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("tls.crt"), self.directory.path().join("tls.key"))
    }

    fn load(&self, policy: &TlsPolicy) -> Tls {
        install_crypto_provider();
        let (certificate, key) = self.paths();
        Tls::load(&certificate, &key, policy).unwrap()
    }
}

async fn serve(tls: Tls) -> Site {
    Site::with(Setup { tls: Some(tls), ..Setup::default() }).await
}

async fn site(certificate: &Certificate, policy: &TlsPolicy) -> Site {
    serve(Files::new(certificate).load(policy)).await
}

fn client(certificate: &Certificate) -> reqwest::ClientBuilder {
    let authority = reqwest::Certificate::from_pem(certificate.ca_pem.as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([authority])
}

/// A client with other abilities.
async fn connect(
    site: &Site,
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
    suites: fn(&SupportedCipherSuite) -> bool,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(suites);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.ca_pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::from(site.address.ip());
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

fn any(_: &SupportedCipherSuite) -> bool {
    true
}

#[tokio::test]
async fn https_is_spoken_with_http_1_and_http_2() {
    let certificate = Certificate::generate();
    let site = site(&certificate, &TlsPolicy::default()).await;
    for (client, version) in
        [(client(&certificate).http1_only(), Version::HTTP_11), (client(&certificate), Version::HTTP_2)]
    {
        let response = client.build().unwrap().get(site.url(FULL_ISO)).send().await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(response.bytes().await.unwrap().len(), X86_64.iso.len());
    }
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_1_3_only_if_that_is_the_oldest_wanted() {
    let certificate = Certificate::generate();
    let site_12 = site(&certificate, &TlsPolicy::default()).await;
    let min_version = "VersionTLS13".parse().unwrap();
    let site_13 = site(&certificate, &TlsPolicy { min_version, ..TlsPolicy::default() }).await;
    for (site, versions, spoken) in [
        (&site_12, &[&TLS12][..], Some(ProtocolVersion::TLSv1_2)),
        (&site_12, &[&TLS12, &TLS13], Some(ProtocolVersion::TLSv1_3)),
        (&site_13, &[&TLS12], None),
        (&site_13, &[&TLS12, &TLS13], Some(ProtocolVersion::TLSv1_3)),
    ] {
        let connected = connect(site, &certificate, versions, any).await;
        assert_eq!(connected.ok().and_then(|stream| stream.get_ref().1.protocol_version()), spoken);
    }
}

#[tokio::test]
async fn the_cipher_suites_of_tls_1_2_are_those_of_the_list_and_those_of_1_3_are_always_there() {
    let certificate = Certificate::generate();
    let cipher_suites =
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_RSA_WITH_AES_128_CBC_SHA".parse().unwrap();
    let site = site(&certificate, &TlsPolicy { cipher_suites, ..TlsPolicy::default() }).await;
    let stream = connect(&site, &certificate, &[&TLS12], any).await.unwrap();
    assert_eq!(
        stream.get_ref().1.negotiated_cipher_suite().map(|suite| suite.suite()),
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)
    );
    let others =
        |suite: &SupportedCipherSuite| suite.suite() != CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    assert!(connect(&site, &certificate, &[&TLS12], others).await.is_err());
    let chacha = |suite: &SupportedCipherSuite| suite.suite() == CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
    assert!(connect(&site, &certificate, &[&TLS13], chacha).await.is_ok());
}

#[tokio::test]
async fn a_client_that_speaks_http_to_a_tls_listener_is_told_so() {
    let certificate = Certificate::generate();
    let site = site(&certificate, &TlsPolicy::default()).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(20_000));
    for request in ["GET /live HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &long] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(
            answer,
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_to_those_who_connect_later() {
    let first = Certificate::generate();
    let second = Certificate::generate();
    let mut files = Files::new(&first);
    let site = serve(files.load(&TlsPolicy::default())).await;
    let old = connect(&site, &first, &[&TLS13], any).await.unwrap();
    files.replace(&second.certificate_pem, &second.key_pem);
    while connect(&site, &second, &[&TLS13], any).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(connect(&site, &first, &[&TLS13], any).await.is_err());
    // Who is connected stays so.
    let mut old = old;
    old.write_all(b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    old.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_is_not_shown() {
    let first = Certificate::generate();
    let second = Certificate::generate();
    let third = Certificate::generate();
    let mut files = Files::new(&first);
    let site = serve(files.load(&TlsPolicy::default())).await;
    files.replace(&second.certificate_pem, &first.key_pem);
    let replaced = Instant::now();
    while replaced.elapsed() < Duration::from_secs(2) {
        connect(&site, &first, &[&TLS13], any).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    files.replace(&third.certificate_pem, &third.key_pem);
    while connect(&site, &third, &[&TLS13], any).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_handshake_must_be_complete_in_time() {
    let certificate = Certificate::generate();
    let tls = Some(Files::new(&certificate).load(&TlsPolicy::default()));
    let patience = Patience { handshake: Duration::from_millis(300), ..Patience::default() };
    let site = Site::with(Setup { tls, patience, ..Setup::default() }).await;
    // Nothing; the type of a record; a record of 512 bytes of which none comes.
    for begun in [&b""[..], &[22], &[22, 3, 1, 2, 0]] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
}

#[tokio::test]
async fn a_handshake_does_not_keep_the_service_from_stopping() {
    let certificate = Certificate::generate();
    let tls = Some(Files::new(&certificate).load(&TlsPolicy::default()));
    let patience = Patience { handshake: Duration::from_hours(1), ..Patience::default() };
    let site = Site::with(Setup { tls, patience, ..Setup::default() }).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(&[22]).await.unwrap();
    // This one is accepted later, so the first is already, too.
    connect(&site, &certificate, &[&TLS13], any).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), site.stop()).await.unwrap().unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}
