//! Where signatures are found, and what is said when they are not.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coreos_names::{Sha256, WithCauses};
use release_signature::{Config, Error, Keyring, Refusal, SignaturePolicy, Store, Verification};
use rustix::fs::{CWD, FileType, Mode};
use tempfile::TempDir;
use test_support::gpg::{Gpg, statement};
use test_support::install_crypto_provider;
use test_support::origin::{Fault, File, OriginServer};
use test_support::payload::Content;
use test_support::registry::Certificate;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(468_216)
}

fn digest(byte: u8) -> Sha256 {
    Sha256::from([byte; 32])
}

/// A publisher, and a signature of theirs for the digest `abab…`.
struct Publisher {
    keyring: Keyring,
    signature: Vec<u8>,
    by_another: Vec<u8>,
}

impl Publisher {
    fn new() -> Self {
        install_crypto_provider();
        let gpg = Gpg::new();
        let [key, other] = ["Publisher", "Other"].map(|user| gpg.key(user, "ed25519"));
        let document = statement(&format!("sha256:{}", digest(0xab)));
        Self {
            keyring: Keyring::read("publisher.gpg", &gpg.export(&[&key])).unwrap(),
            signature: gpg.sign(&[&key], &document),
            by_another: gpg.sign(&[&other], &document),
        }
    }

    async fn ask(&self, stores: &[&str], digests: &[Sha256]) -> Result<Verification, Refusal> {
        self.ask_trusting(None, stores, digests).await
    }

    async fn ask_trusting(
        &self,
        ca: Option<Vec<u8>>,
        stores: &[&str],
        digests: &[Sha256],
    ) -> Result<Verification, Refusal> {
        let config = Config {
            keyrings: vec![self.keyring.clone()],
            stores: stores.iter().map(|store| store.parse().unwrap()).collect(),
            trusted_ca_pem: ca,
            user_agent: "test".to_owned(),
        };
        SignaturePolicy::new(config).unwrap().verify(digests, now()).await
    }
}

fn path(digest: Sha256, number: u32) -> String {
    format!("/release/sha256={digest}/signature-{number}")
}

fn publish(server: &OriginServer, digest: Sha256, number: u32, signature: &[u8]) {
    server.publish(&path(digest, number), File::new(Content::from_bytes(signature.to_vec())));
}

fn asked(server: &OriginServer) -> Vec<String> {
    server.requests().into_iter().map(|request| request.path).collect()
}

#[tokio::test]
async fn a_server_is_asked_for_one_number_after_the_other() {
    let publisher = Publisher::new();
    let server = OriginServer::start().await;
    let store = server.url("/release");
    publish(&server, digest(0xab), 1, &publisher.by_another);
    publish(&server, digest(0xab), 2, &publisher.signature);
    publish(&server, digest(0xab), 3, &publisher.signature);
    let verification = publisher.ask(&[&store], &[digest(0xab)]).await.unwrap();
    assert_eq!(verification.signatures[0].store, store);
    assert_eq!(asked(&server), [path(digest(0xab), 1), path(digest(0xab), 2)]);

    // A number that fails is passed over, the first that is missing is the end.
    server.clear_requests();
    server.inject("signature-1", Fault::Status(500, Vec::new()));
    assert!(publisher.ask(&[&store], &[digest(0xab)]).await.is_ok());
    server.clear_requests();
    let refusal = publisher.ask(&[&store], &[digest(0xcd)]).await.unwrap_err();
    assert_eq!(asked(&server), [path(digest(0xcd), 1), path(digest(0xcd), 2)]);
    let text = refusal.to_string();
    assert!(
        text.contains(&format!("sha256={}/signature-1 was answered with status 500", digest(0xcd))),
        "{text}"
    );
    assert!(refusal.is_retryable());
}

#[tokio::test]
async fn nine_numbers_are_asked_for_and_no_more() {
    let publisher = Publisher::new();
    let server = OriginServer::start().await;
    for number in 1..=12 {
        publish(&server, digest(0xab), number, &publisher.by_another);
    }
    publish(&server, digest(0xab), 10, &publisher.signature);
    let refusal = publisher.ask(&[&server.url("/release")], &[digest(0xab)]).await.unwrap_err();
    assert_eq!(asked(&server).len(), 9);
    assert_eq!(refusal.answers[0].findings.len(), 9);
    assert!(!refusal.is_retryable());
}

#[tokio::test]
async fn stores_are_asked_in_turn_and_each_answer_is_told() {
    let publisher = Publisher::new();
    let [first, second] = [OriginServer::start().await, OriginServer::start().await];
    let silent = "http://127.0.0.1:1/signatures";
    let stores = [silent, &first.url("/release"), &second.url("/release")];
    publish(&second, digest(0xab), 1, &publisher.signature);
    let verification = publisher.ask(&stores, &[digest(0xab)]).await.unwrap();
    assert_eq!(verification.signatures[0].store, second.url("/release"));
    assert_eq!(asked(&first), [path(digest(0xab), 1)]);

    let refusal = publisher.ask(&stores, &[digest(0xcd), digest(0xef)]).await.unwrap_err();
    assert!(refusal.is_retryable(), "nobody answered at one of them");
    let text = WithCauses(&refusal).to_string();
    for part in [
        &format!("the release sha256:{} or sha256:{} has no valid signature", digest(0xcd), digest(0xef)),
        "of a key in publisher.gpg; ",
        &format!("{silent}: sha256={}/signature-1 cannot be fetched: ", digest(0xcd)),
        &format!("{} has no signature of it; ", first.url("/release")),
        "RELEASE_SIGNATURE_STORES",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    // Who is silent is not asked again for the other digest.
    assert!(!text.contains(&format!("sha256={}/signature-1 cannot be fetched", digest(0xef))), "{text}");
}

#[tokio::test]
async fn a_signature_over_any_of_the_digests_will_do() {
    let publisher = Publisher::new();
    let server = OriginServer::start().await;
    publish(&server, digest(0xab), 1, &publisher.signature);
    let stores = [&*server.url("/release")];
    let verification = publisher.ask(&stores, &[digest(0xcd), digest(0xab)]).await.unwrap();
    assert_eq!(verification.signatures[0].digest, digest(0xab));
    // It is for the digest that it names, wherever it lies.
    publish(&server, digest(0xcd), 1, &publisher.signature);
    let text = publisher.ask(&stores, &[digest(0xcd)]).await.unwrap_err().to_string();
    assert!(text.contains("it is for the digest \"sha256:abab"), "{text}");
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let publisher = Publisher::new();
    let server = OriginServer::start().await;
    publish(&server, digest(0xab), 1, &publisher.signature);
    server.inject_once("signature-1", Fault::Redirect(server.url(&path(digest(0xab), 1))));
    assert!(publisher.ask(&[&server.url("/release")], &[digest(0xab)]).await.is_ok());
    server.inject("signature-1", Fault::Redirect(server.url(&path(digest(0xab), 1))));
    server.clear_requests();
    let text = WithCauses(&publisher.ask(&[&server.url("/release")], &[digest(0xab)]).await.unwrap_err())
        .to_string();
    assert!(text.contains("too many redirects"), "{text}");
    assert!(asked(&server).len() < 10);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let publisher = Publisher::new();
    let server = OriginServer::start().await;
    let large = Content::from_bytes(vec![0; 8 << 20]);
    server.publish(&path(digest(0xab), 1), File::new(large).chunked());
    publish(&server, digest(0xab), 2, &publisher.signature);
    assert!(publisher.ask(&[&server.url("/release")], &[digest(0xab)]).await.is_ok());
    let sent = server.requests()[0].bytes_served();
    assert!(sent < 8 << 20, "{sent}");
}

#[tokio::test]
async fn a_private_ca_is_trusted_where_it_is_configured() {
    let publisher = Publisher::new();
    let certificate = Certificate::generate();
    let server = OriginServer::start_tls(&certificate).await;
    publish(&server, digest(0xab), 1, &publisher.signature);
    let stores = [&*server.url("/release")];
    assert!(publisher.ask(&stores, &[digest(0xab)]).await.is_err());
    let ca = Some(certificate.ca_pem.as_bytes().to_vec());
    assert!(publisher.ask_trusting(ca, &stores, &[digest(0xab)]).await.is_ok());
}

#[tokio::test]
async fn a_server_may_be_its_own_authority() {
    let publisher = Publisher::new();
    let [own, other] = [Certificate::self_signed(), Certificate::self_signed()];
    let server = OriginServer::start_tls(&own).await;
    publish(&server, digest(0xab), 1, &publisher.signature);
    let stores = [&*server.url("/release")];
    for (named, is_trusted) in [(&own, true), (&other, false)] {
        let ca = Some(named.ca_pem.as_bytes().to_vec());
        assert_eq!(publisher.ask_trusting(ca, &stores, &[digest(0xab)]).await.is_ok(), is_trusted);
    }
}

#[tokio::test]
async fn text_without_certificates_is_refused_at_the_start() {
    install_crypto_provider();
    for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let config = Config {
            keyrings: Vec::new(),
            stores: Vec::new(),
            trusted_ca_pem: Some(pem.into()),
            user_agent: "test".to_owned(),
        };
        let error = SignaturePolicy::new(config).unwrap_err();
        assert!(matches!(error, Error::TrustedCa(_)), "{pem:?}: {error:?}");
    }
}

/// Asks a directory after it was filled.
async fn in_directory(publisher: &Publisher, fill: impl FnOnce(&Path)) -> Result<Verification, Refusal> {
    let directory = TempDir::new().unwrap();
    fill(directory.path());
    publisher.ask(&[directory.path().to_str().unwrap()], &[digest(0xab)]).await
}

#[tokio::test]
async fn directories_are_read_as_mirroring_tools_write_them() {
    let publisher = Publisher::new();
    let whole = digest(0xab).to_string();
    let base64 = STANDARD.encode(&publisher.signature);
    let config_map = format!(
        r#"{{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {{"name": "sha256-{whole}", "namespace": "openshift-config-managed",
        "labels": {{"release.openshift.io/verification-signatures": ""}}}}, "binaryData": {{"sha256-{whole}-1": "{base64}"}}}}"#
    );
    let yaml = format!("apiVersion: v1\nkind: ConfigMap\nbinaryData:\n  sha256-{whole}-1: {base64}\n");
    for (name, content) in [
        (format!("sha256={whole}/signature-1"), publisher.signature.clone()),
        (format!("4.18.52-x86_64-sha256-{whole}"), publisher.signature.clone()),
        (format!("sha256-{whole}-1"), publisher.signature.clone()),
        (format!("signature-sha256-{}.json", &whole[..16]), config_map.clone().into_bytes()),
        ("signature-configmap.json".to_owned(), config_map.into_bytes()),
        ("signature-configmap.yaml".to_owned(), yaml.into_bytes()),
    ] {
        let verification = in_directory(&publisher, |directory| {
            let file = directory.join(&name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &content).unwrap();
            // Others are no hindrance.
            fs::write(directory.join(format!("sha256-{whole}-2")), &publisher.by_another).unwrap();
            fs::write(directory.join("broken.json"), "{").unwrap();
        });
        assert!(verification.await.is_ok(), "{name}");
        let directory = TempDir::new().unwrap();
        let file = directory.path().join(Path::new(&name).file_name().unwrap());
        fs::write(&file, &content).unwrap();
        let url = format!("file://{}", file.display());
        assert!(publisher.ask(&[&url], &[digest(0xab)]).await.is_ok(), "{url}");
    }
}

#[tokio::test]
async fn what_a_directory_lacks_is_told() {
    let publisher = Publisher::new();
    let text = in_directory(&publisher, |_| {}).await.unwrap_err().to_string();
    assert!(text.contains(" has no signature of it; "), "{text}");
    let refusal = publisher.ask(&["/nowhere/at/all"], &[digest(0xab)]).await.unwrap_err();
    assert!(refusal.to_string().contains("/nowhere/at/all: it cannot be read: No such file"), "{refusal}");
    let refusal = in_directory(&publisher, |directory| {
        fs::write(directory.join("broken.yaml"), "a: [").unwrap();
        fs::write(directory.join(format!("sha256-{}", digest(0xab))), vec![0; 60 << 10]).unwrap();
        fs::create_dir(directory.join("signatures.json")).unwrap();
    });
    let text = refusal.await.unwrap_err().to_string();
    assert!(text.contains("broken.yaml is no list of ConfigMaps with signatures: "), "{text}");
    assert!(text.contains(&format!("sha256-{} has more than 51200 bytes", digest(0xab))), "{text}");
    assert!(!text.contains("signatures.json"), "{text}");
}

#[tokio::test]
async fn what_is_no_file_holds_nobody_up() {
    let publisher = Publisher::new();
    let fill = |directory: &Path| {
        let numbered = directory.join(format!("sha256={}", digest(0xab)));
        fs::create_dir_all(numbered.join("signature-2")).unwrap();
        // Nobody will ever write into it.
        let pipe = numbered.join("signature-1");
        rustix::fs::mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        numbered
    };
    let text = in_directory(&publisher, |directory| drop(fill(directory))).await.unwrap_err().to_string();
    for number in [1, 2] {
        assert!(text.contains(&format!("/signature-{number} is not a regular file")), "{text}");
    }
    let verification = in_directory(&publisher, |directory| {
        fs::write(fill(directory).join("signature-3"), &publisher.signature).unwrap();
    });
    assert!(verification.await.is_ok());
}

#[tokio::test]
async fn a_damaged_signature_in_a_config_map_harms_no_other() {
    let publisher = Publisher::new();
    let (whole, base64) = (digest(0xab), STANDARD.encode(&publisher.signature));
    let yaml =
        format!("kind: ConfigMap\nbinaryData:\n  sha256-{whole}-1: '%'\n  sha256-{whole}-2: {base64}\n");
    let verification = in_directory(&publisher, |directory| {
        fs::write(directory.join("signatures.yaml"), yaml).unwrap();
    });
    assert!(verification.await.is_ok());
}

#[tokio::test]
async fn default_stores_are_those_of_the_publisher() {
    let stores = Store::openshift();
    assert!(stores.iter().all(|store| store.to_string().ends_with("/signatures/openshift/release")));
}
