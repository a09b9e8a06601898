//! The story: account, Vault, registry, Vault.

use oci_registry::{CheckTarget, PullSecret, Registry, Verdict};
use serde_json::Value;

use crate::vault::Written;
use crate::{Accounts, Error, Sso, Vault};

/// How often a write is tried that somebody else's comes before.
const TRIES: u32 = 5;

/// Everybody who has a part in it.
#[derive(Debug)]
pub struct Sync {
    /// Who says who we are.
    pub sso: Sso,
    /// Who gives out the pull secret.
    pub accounts: Accounts,
    /// Who keeps it.
    pub vault: Vault,
    /// How the pull secret is tried, credentials aside, and on what. `None`: not at all.
    pub trial: Option<(oci_registry::Config, CheckTarget)>,
}

/// How it ended. Either way Vault holds the account's pull secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did before.
    Unchanged {
        /// Since this version.
        version: u64,
    },
    /// It does now.
    Written {
        /// As this version.
        version: u64,
    },
}

impl Sync {
    /// Does it once.
    pub async fn run(&self) -> Result<Outcome, Error> {
        let token = self.sso.access_token().await?;
        let (pull_secret, document) = self.accounts.pull_secret(&token).await?;
        let mut untried = Some(pull_secret);
        for _ in 0..TRIES {
            let mut held = self.vault.read().await?;
            if holds(held.fields.get(self.vault.field()), &document) {
                return Ok(Outcome::Unchanged { version: held.version });
            }
            if let Some(pull_secret) = untried.take() {
                self.try_out(pull_secret).await?;
            }
            held.fields.insert(self.vault.field().to_owned(), document.to_string().into());
            match self.vault.write(&held.fields, held.version).await? {
                Written::Version(version) => {
                    let kept = self.vault.read().await?;
                    // Somebody else may have written since; then it is theirs to be kept.
                    let is_kept =
                        kept.version > version || holds(kept.fields.get(self.vault.field()), &document);
                    return if is_kept { Ok(Outcome::Written { version }) } else { Err(Error::NotKept) };
                }
                Written::Conflict => {
                    tracing::info!("somebody else wrote the secret in Vault; reading it again");
                }
            }
        }
        Err(Error::Conflict { tries: TRIES })
    }

    /// A rotated secret that does not pull would replace one that may.
    async fn try_out(&self, pull_secret: PullSecret) -> Result<(), Error> {
        let Some((config, target)) = &self.trial else { return Ok(()) };
        let config = oci_registry::Config { credentials: pull_secret.into(), ..config.clone() };
        let verdict = Registry::new(config).map_err(Error::Registry)?.check(target).await;
        let (target, verdict) = (target.clone(), Box::new(verdict));
        match *verdict {
            Verdict::Accepted { .. } => Ok(()),
            Verdict::UntrustedCertificate(_) | Verdict::Unreachable(_) | Verdict::Failed(_) => {
                Err(Error::NotTried { target, verdict })
            }
            // What anybody may pull, and what is not there, says nothing of a pull secret.
            _ if verdict.is_ok() => Err(Error::NotTried { target, verdict }),
            _ => Err(Error::DoesNotPull { target, verdict }),
        }
    }
}

/// Whether a field holds this pull secret. How it is written does not matter.
fn holds(field: Option<&Value>, document: &Value) -> bool {
    match field {
        Some(Value::String(text)) => serde_json::from_str::<Value>(text).is_ok_and(|held| held == *document),
        Some(other) => other == document,
        None => false,
    }
}
