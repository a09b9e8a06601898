//! Certificates that belong to one host: whom to trust there, and who we are there.

use std::fs;
use std::path::Path;

use oci_registry::{Config, Error, HostCertificatesError, PullSecret, Registry};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use test_support::payload::{Artifact, Compression, MediaTypes};
use test_support::registry::{Certificate, ClientCertificate, DockerRegistry, Fault, TokenRegistry};

use crate::support::{REPOSITORY, builder, config, image, layer, pull_secret, reference, serve, shown};

const TAG: &str = "4.18.52-x86_64";

fn anonymous() -> test_support::registry::TokenRegistryBuilder {
    TokenRegistry::builder().anonymous()
}

/// Puts files into the directory of a host.
fn lay_down(certs_dir: &Path, host: &str, files: &[(&str, &str)]) {
    let directory = certs_dir.join(host);
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
}

fn client_with(certs_dirs: &[&Path]) -> Registry {
    let certs_dirs = certs_dirs.iter().map(|&dir| dir.to_owned()).collect();
    Registry::new(Config { certs_dirs, ..config(PullSecret::default(), &[]) }).unwrap()
}

#[tokio::test]
async fn an_authority_is_trusted_at_its_host_and_nowhere_else() {
    let (first, _) = serve(anonymous().tls()).await;
    let (second, _) = serve(anonymous().tls()).await;
    let certs = TempDir::new().unwrap();
    let client = client_with(&[Path::new("/nonexistent"), certs.path()]);

    let error = client.manifest(&reference(first.address())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    // Found without a restart.
    lay_down(certs.path(), first.address(), &[("ca.crt", first.ca_pem()), ("README", "not looked at")]);
    client.manifest(&reference(first.address())).await.unwrap();
    // The right authority at the wrong host.
    lay_down(certs.path(), "other.test:5000", &[("ca.crt", second.ca_pem())]);
    let error = client.manifest(&reference(second.address())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_trusted_where_it_is_named() {
    let (server, _) = serve(anonymous().tls_by(Certificate::self_signed())).await;
    let certs = TempDir::new().unwrap();
    client_with(&[certs.path()]).manifest(&reference(server.address())).await.unwrap_err();
    lay_down(certs.path(), server.address(), &[("domain.crt", server.ca_pem())]);
    client_with(&[certs.path()]).manifest(&reference(server.address())).await.unwrap();

    let everywhere = Some(server.ca_pem().into());
    let config = Config { trusted_ca_pem: everywhere, ..config(PullSecret::default(), &[]) };
    Registry::new(config).unwrap().manifest(&reference(server.address())).await.unwrap();
}

#[tokio::test]
async fn the_first_directory_that_knows_a_host_counts() {
    let (server, _) = serve(anonymous().tls()).await;
    let [first, second] = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    lay_down(second.path(), server.address(), &[("ca.crt", server.ca_pem())]);
    client_with(&[first.path(), second.path()]).manifest(&reference(server.address())).await.unwrap();
    lay_down(first.path(), server.address(), &[("ca.crt", &Certificate::generate().ca_pem)]);
    let error =
        client_with(&[first.path(), second.path()]).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn docker_registry_is_trusted_by_its_directory() {
    let server = DockerRegistry::start_with_tls();
    server
        .push(&format!("{REPOSITORY}:{TAG}"), &Artifact::from(image(MediaTypes::Docker, Compression::Gzip)));
    let certs = TempDir::new().unwrap();
    lay_down(certs.path(), server.address(), &[("ca.crt", server.ca_pem())]);
    let credentials = PullSecret::parse(&server.pull_secret()).unwrap();
    let config = Config { certs_dirs: vec![certs.path().to_owned()], ..config(credentials, &[]) };
    for http1_only in [false, true] {
        let client = Registry::new(Config { http1_only, ..config.clone() }).unwrap();
        client.manifest(&reference(server.address())).await.unwrap();
    }
    assert!(server.log().contains("HTTP/2.0") && server.log().contains("HTTP/1.1"));
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_host() {
    let own = ClientCertificate::generate();
    let (server, image) = serve(anonymous().tls_with_clients(&own)).await;
    let certs = TempDir::new().unwrap();
    let authority = ("ca.crt", server.ca_pem());
    lay_down(certs.path(), server.address(), &[authority]);
    let error = client_with(&[certs.path()]).manifest(&reference(server.address())).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. } | Error::Transport { .. }), "{error:?}");
    assert!(server.requests().is_empty());

    let stranger = ClientCertificate::generate();
    let pair = [("client.cert", stranger.certificate_pem.as_str()), ("client.key", &stranger.key_pem)];
    lay_down(certs.path(), server.address(), &pair);
    client_with(&[certs.path()]).manifest(&reference(server.address())).await.unwrap_err();
    assert!(server.requests().is_empty());

    let pair = [("client.cert", own.certificate_pem.as_str()), ("client.key", &own.key_pem)];
    lay_down(certs.path(), server.address(), &pair);
    let client = client_with(&[certs.path()]);
    client.manifest(&reference(server.address())).await.unwrap();
    let blob = client.blob(&reference(server.address()), &layer(&image)).await.unwrap();
    blob.bytes(u64::MAX).await.unwrap();
}

#[tokio::test]
async fn certificates_that_are_replaced_are_used_without_a_restart() {
    let own = ClientCertificate::generate();
    let (server, _) = serve(anonymous().tls_with_clients(&own)).await;
    let certs = TempDir::new().unwrap();
    let stranger = ClientCertificate::generate();
    let client = client_with(&[certs.path()]);
    for (pair, accepted) in [(&stranger, false), (&own, true)] {
        let files = [
            ("ca.crt", server.ca_pem()),
            ("client.cert", pair.certificate_pem.as_str()),
            ("client.key", &pair.key_pem),
        ];
        lay_down(certs.path(), server.address(), &files);
        assert_eq!(client.manifest(&reference(server.address())).await.is_ok(), accepted);
    }
}

#[tokio::test]
async fn a_client_certificate_does_not_go_along_with_a_redirect() {
    let own = ClientCertificate::generate();
    let (server, image) = serve(anonymous().tls_with_clients(&own)).await;
    let (elsewhere, _) = serve(anonymous().tls_with_clients(&own)).await;
    let digest = layer(&image).digest;
    let target = format!("https://{}/v2/{REPOSITORY}/blobs/{digest}", elsewhere.address());
    server.inject(&format!("/blobs/{digest}"), Fault::Redirect(target));
    let certs = TempDir::new().unwrap();
    let pair = [("client.cert", own.certificate_pem.as_str()), ("client.key", &own.key_pem)];
    lay_down(certs.path(), server.address(), &[&pair[..], &[("ca.crt", server.ca_pem())]].concat());
    lay_down(certs.path(), elsewhere.address(), &[("ca.crt", elsewhere.ca_pem())]);
    let error =
        client_with(&[certs.path()]).blob(&reference(server.address()), &layer(&image)).await.unwrap_err();
    assert!(shown(&error).contains(elsewhere.address()), "{error:?}");
    assert!(elsewhere.requests().is_empty(), "it speaks with nobody who shows no certificate");
}

#[tokio::test]
async fn a_broken_file_is_named_and_harms_its_host_only() {
    let own = ClientCertificate::generate();
    let other = ClientCertificate::generate();
    let (server, _) = serve(anonymous().tls()).await;
    let (plain, _) = serve(builder()).await;
    let (certificate, key) = (own.certificate_pem.as_str(), own.key_pem.as_str());
    for (files, named) in [
        (&[("ca.crt", "")] as &[_], "ca.crt cannot be used: there is no CA certificate"),
        (
            &[("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")],
            "ca.crt cannot be used: a CA certificate cannot be used",
        ),
        (&[("a.cert", certificate)], "a.cert is of no use without "),
        (&[("a.key", key)], "a.key is of no use without "),
        (&[("a.cert", "x"), ("a.key", key)], "a.cert and its key are no client certificate"),
        (&[("a.cert", certificate), ("a.key", "x")], "a.cert and its key are no client certificate"),
        (&[("a.cert", certificate), ("a.key", &other.key_pem)], "a.cert cannot be used with its key"),
    ] {
        let certs = TempDir::new().unwrap();
        lay_down(certs.path(), server.address(), files);
        let client = client_with(&[certs.path()]);
        let error = client.manifest(&reference(server.address())).await.unwrap_err();
        assert!(matches!(error, Error::HostCertificates { .. }) && !error.is_retryable(), "{error:?}");
        let words = shown(&error);
        assert!(words.contains(&format!("cannot talk to https://{}/v2/", server.address())), "{words}");
        assert!(words.contains(named), "{words}");
        assert!(!words.contains("PRIVATE KEY"));

        // Mended without a restart.
        fs::remove_dir_all(certs.path().join(server.address())).unwrap();
        lay_down(certs.path(), server.address(), &[("ca.crt", server.ca_pem())]);
        client.manifest(&reference(server.address())).await.unwrap();
    }
    // Others do not care.
    let certs = TempDir::new().unwrap();
    lay_down(certs.path(), server.address(), &[("ca.crt", "")]);
    let credentials = pull_secret(plain.address(), crate::support::USER, crate::support::PASSWORD);
    let config =
        Config { certs_dirs: vec![certs.path().to_owned()], ..config(credentials, &[plain.address()]) };
    let trusting = Registry::new(config).unwrap();
    trusting.manifest(&reference(plain.address())).await.unwrap();
    let error = trusting.manifest(&reference(server.address())).await.unwrap_err();
    let Error::HostCertificates { source: HostCertificatesError::Authorities { path, .. }, .. } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(path, certs.path().join(server.address()).join("ca.crt"));
}

#[tokio::test]
async fn a_pipe_among_the_certificates_holds_nobody_up() {
    let (server, _) = serve(anonymous().tls()).await;
    let certs_dir = TempDir::new().unwrap();
    lay_down(certs_dir.path(), server.address(), &[("a.crt", server.ca_pem())]);
    let pipe = certs_dir.path().join(server.address()).join("b.crt");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let (client, image) = (client_with(&[certs_dir.path()]), reference(server.address()));
    let error = client.manifest(&image).await.unwrap_err();
    assert!(matches!(error, Error::HostCertificates { .. }), "{error:?}");
    assert!(
        shown(&error).contains(&format!("cannot read {}: it is not a file", pipe.display())),
        "{error:?}"
    );
    fs::remove_file(&pipe).unwrap();
    client.manifest(&image).await.unwrap();
}
