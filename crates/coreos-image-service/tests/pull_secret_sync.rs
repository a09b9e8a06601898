//! `pull-secret sync` as a CronJob runs it, between an account service and a Vault that speak TLS.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::accounts::FakeAccounts;
use test_support::install_crypto_provider;
use test_support::registry::{Certificate, DockerRegistry};
use test_support::vault::FakeVault;

const PLACE: &str = "kv/assisted/pull-secret";

struct Site {
    directory: TempDir,
    registry: DockerRegistry,
    accounts: FakeAccounts,
    vault: FakeVault,
}

impl Site {
    async fn start() -> Self {
        install_crypto_provider();
        let certificate = Certificate::generate();
        let registry = DockerRegistry::start();
        let pull_secret = serde_json::from_str(&registry.pull_secret()).unwrap();
        let accounts = FakeAccounts::start(&certificate, pull_secret).await;
        let vault = FakeVault::start(&certificate).await;
        vault.add_app_role("role", "the-secret-id");
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), &certificate.ca_pem).unwrap();
        Self { directory, registry, accounts, vault }
    }

    fn command(&self) -> Command {
        let ca = self.directory.path().join("ca.pem");
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        command
            .args(["pull-secret", "sync"])
            .env_clear()
            .env("OCM_BASE_URL", self.accounts.url())
            .env("OCM_TOKEN_URL", self.accounts.token_url())
            .env("OCM_SERVICE_CLIENT_ID", FakeAccounts::CLIENT_ID)
            .env("OCM_SERVICE_CLIENT_SECRET", FakeAccounts::CLIENT_SECRET)
            .env("OCM_TRUSTED_CA_FILE", &ca)
            .env("VAULT_ADDR", self.vault.url())
            .env("VAULT_CACERT", &ca)
            .env("VAULT_APPROLE_ROLE_ID", "role")
            .env("VAULT_APPROLE_SECRET_ID", "the-secret-id")
            .env("VAULT_KV_MOUNT", "kv")
            .env("VAULT_KV_PATH", "assisted/pull-secret")
            .env("PULL_SECRET_SYNC_CHECK", self.registry.address())
            .env("INSECURE_REGISTRIES", self.registry.address());
        command
    }

    /// The exit code and everything that was said, in which nothing is secret.
    async fn run(&self, mut command: Command) -> (Option<i32>, String) {
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let Output { status, stdout, stderr } = output;
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        let pull_secret: Value = serde_json::from_str(&self.registry.pull_secret()).unwrap();
        let entry = pull_secret["auths"][self.registry.address()]["auth"].as_str().unwrap();
        let mut secrets = vec![FakeAccounts::CLIENT_SECRET, "the-secret-id", "access-token-", "hvs.", entry];
        secrets.push("wrong-password");
        for secret in secrets {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
        (status.code(), said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_pull_secret_is_written_once_and_a_rotated_one_again() {
    let site = Site::start().await;
    assert_eq!(site.run(site.command()).await, (Some(0), "written, version 1\n".to_owned()));
    assert_eq!(site.run(site.command()).await, (Some(0), "unchanged, version 1\n".to_owned()));
    let held = site.vault.versions(PLACE)[0].clone().unwrap();
    let held: Value = serde_json::from_str(held[".dockerconfigjson"].as_str().unwrap()).unwrap();
    assert_eq!(held, serde_json::from_str::<Value>(&site.registry.pull_secret()).unwrap());

    let address = site.registry.address();
    site.accounts
        .rotate(json!({ "auths": { address: { "username": "somebody", "password": "wrong-password" } } }));
    let (code, said) = site.run(site.command()).await;
    assert_eq!(code, Some(17));
    let expected = format!("does not pull, so Vault keeps what it has: {address}: wrong credentials");
    assert!(said.contains(&expected), "{said}");
    assert_eq!(site.vault.versions(PLACE).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_party_has_an_exit_code() {
    let site = Site::start().await;
    for (variable, value, code) in [
        ("VAULT_CACERT", "/etc/hostname", 10),
        ("OCM_SERVICE_CLIENT_SECRET", "wrong", 11),
        ("VAULT_APPROLE_ROLE_ID", "nobody", 13),
    ] {
        let mut command = site.command();
        command.env(variable, value);
        let (found, said) = site.run(command).await;
        assert_eq!(found, Some(code), "{variable}: {said}");
    }
    site.accounts.fail_with(503);
    assert_eq!(site.run(site.command()).await.0, Some(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_loop_it_goes_on_after_a_failure_until_it_is_stopped() {
    let site = Site::start().await;
    site.accounts.fail_with(503);
    let log = site.directory.path().join("log");
    let mut command = site.command();
    command.env("PULL_SECRET_SYNC_INTERVAL", "100ms").stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let logged = || std::fs::read_to_string(&log).unwrap();
    let wait_for = |text: &'static str| {
        let start = std::time::Instant::now();
        while !logged().contains(text) {
            assert!(start.elapsed() < std::time::Duration::from_mins(1), "{text} is not in {}", logged());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    wait_for("\"exit.code\":12");
    site.accounts.recover();
    wait_for("was written into Vault");
    let kill = format!("kill {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert!(child.wait().unwrap().success(), "{}", logged());
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
    let output = command.args(["pull-secret", "sync"]).env_clear().env("OCM_BASE_URL", "http://x").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "whose pull secret is it?",
        "exactly one way into Vault",
        "OCM_BASE_URL",
        "VAULT_ADDR",
        "VAULT_KV_PATH",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}
