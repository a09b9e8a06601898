//! Between whom the pull secret is kept the same, and how everybody is asked.

use std::time::Duration;

use oci_registry::CheckTarget;
use pull_secret_sync::{Identity, Login, SecretPlace};
use url::Url;

use super::serve::Span;
use super::{InvalidSettings, Merged, Problems, registry};

const CLIENT: &str = "cloud-services";

/// Everything that `pull-secret sync` needs to know, checked.
#[derive(Debug)]
pub(crate) struct PullSecretSyncSettings {
    pub(crate) token_url: Url,
    pub(crate) identity: Identity,
    pub(crate) accounts: Url,
    pub(crate) accounts_ca_pem: Option<Vec<u8>>,
    pub(crate) vault: Url,
    pub(crate) vault_namespace: Option<String>,
    pub(crate) vault_ca_pem: Option<Vec<u8>>,
    pub(crate) login: Login,
    pub(crate) place: SecretPlace,
    /// How the pull secret is tried, and on what.
    pub(crate) registry: oci_registry::Config,
    pub(crate) target: CheckTarget,
    /// How long to wait between two runs. `None`: there is only one.
    pub(crate) interval: Option<Duration>,
}

impl PullSecretSyncSettings {
    pub(crate) fn validate(merged: &Merged) -> Result<Self, InvalidSettings> {
        let mut problems = merged.problems();
        let read = Self::read(merged, &mut problems);
        problems.finish(read)
    }

    fn read(merged: &Merged, problems: &mut Problems) -> Option<Self> {
        let text = |variable: &str, default: &str| merged.text(variable).unwrap_or(default).to_owned();
        let identity = identity(merged, problems);
        let login = login(merged, problems);
        let token_url = url(
            "OCM_TOKEN_URL",
            &text(
                "OCM_TOKEN_URL",
                "https://sso.redhat.com/auth/realms/redhat-external/protocol/openid-connect/token",
            ),
            problems,
        );
        let accounts = url("OCM_BASE_URL", &text("OCM_BASE_URL", "https://api.openshift.com"), problems);
        let vault = required(merged, "VAULT_ADDR", "the address of Vault", problems)
            .and_then(|address| url("VAULT_ADDR", &address, problems));
        let path = required(merged, "VAULT_KV_PATH", "the path of the secret in Vault", problems);
        let target =
            merged.text("PULL_SECRET_SYNC_CHECK").unwrap_or("quay.io/openshift-release-dev/ocp-v4.0-art-dev");
        let target =
            target.parse().map_err(|error| problems.add(format!("PULL_SECRET_SYNC_CHECK: {error}"))).ok();
        let interval = merged.parsed_if_given::<Span>("PULL_SECRET_SYNC_INTERVAL", problems);
        let mut pem = |variable| merged.file(variable, problems).map(String::into_bytes);
        let (accounts_ca_pem, vault_ca_pem) = (pem("OCM_TRUSTED_CA_FILE"), pem("VAULT_CACERT"));
        let registry = registry::trust(merged, problems);
        Some(Self {
            token_url: token_url?,
            identity: identity?,
            accounts: accounts?,
            accounts_ca_pem,
            vault: vault?,
            vault_namespace: merged.text("VAULT_NAMESPACE").map(str::to_owned),
            vault_ca_pem,
            login: login?,
            place: SecretPlace {
                mount: text("VAULT_KV_MOUNT", "secret"),
                path: path?,
                field: text("VAULT_KV_FIELD", ".dockerconfigjson"),
            },
            registry,
            target: target?,
            interval: interval.map(|Span(interval)| interval),
        })
    }
}

fn identity(merged: &Merged, problems: &mut Problems) -> Option<Identity> {
    let given = ["OCM_SERVICE_CLIENT_ID", "OCM_SERVICE_CLIENT_SECRET", "OCM_REFRESH_TOKEN"]
        .map(|variable| merged.text(variable));
    match given {
        // As in other clients of the account service, a service account goes before a person.
        [Some(id), Some(secret), _] => Some(Identity::Client { id: id.to_owned(), secret: secret.into() }),
        [None, None, Some(token)] => {
            Some(Identity::RefreshToken { client_id: CLIENT.to_owned(), token: token.into() })
        }
        [id, secret, _] => {
            problems.add(match (id, secret) {
                (Some(_), None) => {
                    "OCM_SERVICE_CLIENT_SECRET is missing beside OCM_SERVICE_CLIENT_ID".to_owned()
                }
                (None, Some(_)) => {
                    "OCM_SERVICE_CLIENT_ID is missing beside OCM_SERVICE_CLIENT_SECRET".to_owned()
                }
                _ => "whose pull secret is it? give OCM_SERVICE_CLIENT_ID and OCM_SERVICE_CLIENT_SECRET, or \
                      OCM_REFRESH_TOKEN"
                    .to_owned(),
            });
            None
        }
    }
}

fn login(merged: &Merged, problems: &mut Problems) -> Option<Login> {
    let text = |variable: &str, default: &str| merged.text(variable).unwrap_or(default).to_owned();
    let given = ["VAULT_TOKEN", "VAULT_KUBERNETES_ROLE", "VAULT_APPROLE_ROLE_ID"]
        .map(|variable| merged.text(variable));
    match given {
        [Some(token), None, None] => Some(Login::Token(token.into())),
        [None, Some(role), None] => Some(Login::Kubernetes {
            mount: text("VAULT_KUBERNETES_MOUNT", "kubernetes"),
            role: role.to_owned(),
            token_file: text(
                "VAULT_KUBERNETES_TOKEN_FILE",
                "/var/run/secrets/kubernetes.io/serviceaccount/token",
            )
            .into(),
        }),
        [None, None, Some(role_id)] => {
            let secret_id =
                required(merged, "VAULT_APPROLE_SECRET_ID", "the secret of the AppRole", problems)?;
            Some(Login::AppRole {
                mount: text("VAULT_APPROLE_MOUNT", "approle"),
                role_id: role_id.to_owned(),
                secret_id: secret_id.into(),
            })
        }
        _ => {
            problems.add(
                "give exactly one way into Vault: VAULT_TOKEN, VAULT_KUBERNETES_ROLE or VAULT_APPROLE_ROLE_ID"
                    .to_owned(),
            );
            None
        }
    }
}

fn required(merged: &Merged, variable: &str, what: &str, problems: &mut Problems) -> Option<String> {
    let text = merged.text(variable).map(str::to_owned);
    if text.is_none() {
        problems.add(format!("{variable} is missing: {what}"));
    }
    text
}

/// A URL that secrets may be sent to.
fn url(variable: &str, text: &str, problems: &mut Problems) -> Option<Url> {
    let url = Url::parse(text.trim()).ok().filter(|url| url.scheme() == "https" && url.has_host());
    if url.is_none() {
        // What was typed may hold a password.
        problems.add(format!("{variable} is not an https:// URL"));
    }
    url
}
