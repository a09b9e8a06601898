//! The whole story against an account service and a Vault that speak their protocols over TLS, and a real registry.

use std::fs;

use coreos_names::WithCauses;
use oci_registry::{CheckTarget, Config};
use pull_secret_sync::{Accounts, Error, Identity, Login, Outcome, SecretPlace, Service, Sso, Sync, Vault};
use serde_json::{Value, json};
use test_support::accounts::FakeAccounts;
use test_support::payload::{Artifact, Compression, ImageBuilder, LayerBuilder, MediaTypes};
use test_support::registry::{Certificate, DockerRegistry, TokenRegistry};
use test_support::vault::FakeVault;
use test_support::{NOBODY, install_crypto_provider};

const PLACE: &str = "secret/assisted/image-service";
const FIELD: &str = ".dockerconfigjson";

struct Site {
    certificate: Certificate,
    accounts: FakeAccounts,
    vault: FakeVault,
}

impl Site {
    async fn start() -> Self {
        install_crypto_provider();
        let certificate = Certificate::generate();
        let accounts = FakeAccounts::start(&certificate, pull_secret("first")).await;
        let vault = FakeVault::start(&certificate).await;
        vault.add_token("root");
        Self { certificate, accounts, vault }
    }

    fn sync(&self, login: Login) -> Sync {
        let id = FakeAccounts::CLIENT_ID.to_owned();
        self.sync_as(Identity::Client { id, secret: FakeAccounts::CLIENT_SECRET.into() }, login)
    }

    fn sync_as(&self, identity: Identity, login: Login) -> Sync {
        let ca = Some(self.certificate.ca_pem.as_bytes());
        let (mount, path) = PLACE.split_once('/').unwrap();
        let place = SecretPlace { mount: mount.to_owned(), path: path.to_owned(), field: FIELD.to_owned() };
        Sync {
            sso: Sso::new(self.accounts.token_url().parse().unwrap(), identity, ca).unwrap(),
            accounts: Accounts::new(&self.accounts.url().parse().unwrap(), ca).unwrap(),
            vault: Vault::new(self.vault.url().parse().unwrap(), None, login, place, ca).unwrap(),
            trial: None,
        }
    }

    /// What the latest version in Vault holds.
    fn held(&self) -> Value {
        let versions = self.vault.versions(PLACE);
        let text = versions.last().unwrap().as_ref().unwrap()[FIELD].as_str().unwrap().to_owned();
        serde_json::from_str(&text).unwrap()
    }
}

fn pull_secret(password: &str) -> Value {
    json!({ "auths": { "quay.io": { "auth": password, "email": "a@b.c" } } })
}

fn root() -> Login {
    Login::Token("root".into())
}

/// How it went wrong, which must repeat nothing secret.
async fn failure(sync: &Sync) -> (Error, String) {
    let error = sync.run().await.unwrap_err();
    let text = format!("{} {error:?}", WithCauses(&error));
    for secret in
        [FakeAccounts::CLIENT_SECRET, FakeAccounts::REFRESH_TOKEN, "first", "access-token", "root", "hvs."]
    {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    (error, text)
}

#[tokio::test]
async fn the_first_secret_is_written_and_the_same_not_again() {
    let site = Site::start().await;
    let sync = site.sync(root());
    assert_eq!(sync.run().await.unwrap(), Outcome::Written { version: 1 });
    assert_eq!(site.held(), pull_secret("first"));
    assert_eq!(sync.run().await.unwrap(), Outcome::Unchanged { version: 1 });

    // The same secret, written by hand.
    let by_hand = serde_json::to_string_pretty(&pull_secret("first")).unwrap();
    site.vault.put(PLACE, json!({ FIELD: by_hand }));
    assert_eq!(sync.run().await.unwrap(), Outcome::Unchanged { version: 2 });
}

#[tokio::test]
async fn a_rotated_secret_replaces_the_old_one_and_nothing_beside_it() {
    let site = Site::start().await;
    site.vault.put(PLACE, json!({ FIELD: pull_secret("old").to_string(), "owner": "somebody" }));
    let sync = site.sync(root());
    assert_eq!(sync.run().await.unwrap(), Outcome::Written { version: 2 });
    site.accounts.rotate(pull_secret("second"));
    assert_eq!(sync.run().await.unwrap(), Outcome::Written { version: 3 });
    assert_eq!(site.held(), pull_secret("second"));
    assert_eq!(site.vault.versions(PLACE)[2].as_ref().unwrap()["owner"], "somebody");
}

#[tokio::test]
async fn a_deleted_secret_is_written_after_its_last_version() {
    let site = Site::start().await;
    site.vault.put(PLACE, json!({ FIELD: "old" }));
    site.vault.delete(PLACE);
    assert_eq!(site.sync(root()).run().await.unwrap(), Outcome::Written { version: 2 });
}

#[tokio::test]
async fn a_person_may_be_the_account() {
    let site = Site::start().await;
    let client_id = "cloud-services".to_owned();
    let person = |token: &str| Identity::RefreshToken { client_id: client_id.clone(), token: token.into() };
    let sync = site.sync_as(person(FakeAccounts::REFRESH_TOKEN), root());
    assert_eq!(sync.run().await.unwrap(), Outcome::Written { version: 1 });
    let (error, text) = failure(&site.sync_as(person("expired"), root())).await;
    assert_eq!(error.exit_code(), 11);
    assert!(text.contains("single sign-on at ") && text.contains("Invalid client"), "{text}");
}

#[tokio::test]
async fn machines_log_in_and_again_when_their_token_has_expired() {
    let site = Site::start().await;
    site.vault.add_kubernetes_role("image-service", "jwt-of-the-pod");
    site.vault.add_app_role("role", "secret-id");
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    fs::write(&token_file, "jwt-of-the-pod\n").unwrap();
    let kubernetes = Login::Kubernetes {
        mount: "kubernetes".to_owned(),
        role: "image-service".to_owned(),
        token_file: token_file.clone(),
    };
    let app_role = Login::AppRole {
        mount: "approle".to_owned(),
        role_id: "role".to_owned(),
        secret_id: "secret-id".into(),
    };
    for (login, version) in [(kubernetes.clone(), 1), (app_role, 1)] {
        let before = site.vault.logins();
        let sync = site.sync(login);
        sync.run().await.unwrap();
        sync.run().await.unwrap();
        assert_eq!(site.vault.logins(), before + 1, "a token is used until it expires");
        site.vault.expire_tokens();
        assert_eq!(sync.run().await.unwrap(), Outcome::Unchanged { version });
        assert_eq!(site.vault.logins(), before + 2);
    }

    fs::write(&token_file, "jwt-of-another-pod").unwrap();
    let (error, _) = failure(&site.sync(kubernetes.clone())).await;
    assert!(matches!(error, Error::Refused { service: Service::VaultLogin, status: 403, .. }), "{error}");
    fs::remove_file(&token_file).unwrap();
    let (error, text) = failure(&site.sync(kubernetes)).await;
    assert!(error.exit_code() == 10 && text.contains("/token"), "{text}");
}

#[tokio::test]
async fn what_somebody_else_writes_in_between_is_not_lost() {
    let site = Site::start().await;
    site.vault.put(PLACE, json!({ FIELD: "old" }));
    site.vault.add_rivals([json!({ FIELD: "old", "owner": "a" }), json!({ FIELD: "old", "owner": "b" })]);
    assert_eq!(site.sync(root()).run().await.unwrap(), Outcome::Written { version: 4 });
    let versions = site.vault.versions(PLACE);
    assert_eq!(versions[3].as_ref().unwrap()["owner"], "b");

    site.accounts.rotate(pull_secret("second"));
    site.vault.add_rivals((0..9).map(|n| json!({ FIELD: n.to_string() })));
    let (error, _) = failure(&site.sync(root())).await;
    assert!(matches!(error, Error::Conflict { tries: 5 }), "{error}");
    assert_eq!(error.exit_code(), 18);
}

#[tokio::test]
async fn every_refusal_and_failure_has_its_own_exit_code() {
    let site = Site::start().await;
    let code = async |sync: &Sync| failure(sync).await.0.exit_code();
    let wrong = Identity::Client { id: FakeAccounts::CLIENT_ID.to_owned(), secret: "wrong".into() };
    assert_eq!(code(&site.sync_as(wrong, root())).await, 11);

    let (error, _) = failure(&site.sync(Login::Token("stale".into()))).await;
    assert!(matches!(error, Error::Refused { service: Service::VaultRead, status: 403, .. }), "{error}");
    let app_role =
        Login::AppRole { mount: "approle".to_owned(), role_id: "role".to_owned(), secret_id: "wrong".into() };
    assert_eq!(code(&site.sync(app_role)).await, 13);

    site.accounts.fail_with(403);
    let (error, text) = failure(&site.sync(root())).await;
    assert!(error.exit_code() == 12 && text.contains("The service is in trouble"), "{text}");
    site.accounts.fail_with(502);
    assert_eq!(code(&site.sync(root())).await, 12);

    let site = Site::start().await;
    site.accounts.rotate(json!({ "kind": "Error", "reason": "first" }));
    let (error, _) = failure(&site.sync(root())).await;
    assert!(matches!(error, Error::NoPullSecret(_)), "{error}");
    assert_eq!(error.exit_code(), 16);
    assert_eq!(site.vault.versions(PLACE), []);

    site.accounts.rotate(pull_secret("first"));
    site.vault.seal();
    let (error, text) = failure(&site.sync(root())).await;
    assert!(error.exit_code() == 14 && text.contains("Vault is sealed"), "{text}");

    // Nobody is trusted without a reason.
    let other = Certificate::generate();
    let accounts =
        Accounts::new(&site.accounts.url().parse().unwrap(), Some(other.ca_pem.as_bytes())).unwrap();
    let (error, text) = failure(&Sync { accounts, ..site.sync(root()) }).await;
    assert!(error.exit_code() == 12 && text.contains("invalid peer certificate"), "{text}");
}

fn image() -> Artifact {
    let layer = LayerBuilder::new(Compression::Gzip).file("a", "a").build().unwrap();
    ImageBuilder::new(MediaTypes::Oci, coreos_names::Arch::X86_64).layer(layer).build().into()
}

#[tokio::test]
async fn a_secret_that_does_not_pull_is_not_written() {
    let site = Site::start().await;
    let registry = DockerRegistry::start();
    registry.push("release:4.18", &image());
    let image: CheckTarget = format!("{}/release:4.18", registry.address()).parse().unwrap();
    let config = Config { insecure: [registry.address().parse().unwrap()].into(), ..Config::default() };
    let sync = || Sync { trial: Some((config.clone(), image.clone())), ..site.sync(root()) };

    site.accounts
        .rotate(json!({ "auths": { registry.address(): { "username": "nobody", "password": "first" } } }));
    let (error, text) = failure(&sync()).await;
    assert!(error.exit_code() == 17 && text.contains("Vault keeps what it has"), "{text}");
    assert_eq!(site.vault.versions(PLACE), []);

    site.accounts.rotate(serde_json::from_str(&registry.pull_secret()).unwrap());
    assert_eq!(sync().run().await.unwrap(), Outcome::Written { version: 1 });
}

#[tokio::test]
async fn what_is_pulled_without_a_pull_secret_or_is_not_there_proves_nothing() {
    let site = Site::start().await;
    let (open, closed) = (TokenRegistry::builder().anonymous().start().await, DockerRegistry::start());
    open.publish("release", "4.18", &image());
    site.accounts.rotate(serde_json::from_str(&closed.pull_secret()).unwrap());
    for (registry, reason) in [(open.address(), "anonymous"), (closed.address(), "there is no repository")] {
        let config = Config { insecure: [registry.parse().unwrap()].into(), ..Config::default() };
        let trial = Some((config, format!("{registry}/release").parse().unwrap()));
        let (error, text) = failure(&Sync { trial, ..site.sync(root()) }).await;
        assert!(error.exit_code() == 20 && text.contains(reason), "{text}");
        assert_eq!(site.vault.versions(PLACE), []);
    }
}

#[tokio::test]
async fn a_registry_that_is_away_keeps_only_another_secret_from_being_written() {
    let site = Site::start().await;
    let target: CheckTarget = format!("{NOBODY}/release:4.18").parse().unwrap();
    let config = Config { insecure: [NOBODY.parse().unwrap()].into(), ..Config::default() };
    let sync = Sync { trial: Some((config, target)), ..site.sync(root()) };

    let (error, text) = failure(&sync).await;
    assert!(error.exit_code() == 20 && text.contains("Vault keeps what it has"), "{text}");
    assert_eq!(site.vault.versions(PLACE), []);

    site.vault.put(PLACE, json!({ FIELD: pull_secret("first").to_string() }));
    assert_eq!(sync.run().await.unwrap(), Outcome::Unchanged { version: 1 });
}
