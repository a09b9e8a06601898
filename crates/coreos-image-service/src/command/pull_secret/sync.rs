//! `pull-secret sync`: the account's pull secret is brought into Vault, once or again and again.

use std::time::Duration;

use anyhow::Context;
use clap::Command;
use coreos_names::WithCauses;
use pull_secret_sync::{Accounts, Error, Outcome, Sso, Sync, Vault};

use crate::command::signals::Signals;
use crate::settings::{PullSecretSyncSettings, table};

/// The settings that count.
pub(crate) const TABLES: [&[table::Setting]; 2] = [table::PULL_SECRET_SYNC, table::LOGGING];

/// How soon a run that failed is tried again, unless the next one comes sooner.
const SOON: Duration = Duration::from_mins(5);

pub(crate) fn command() -> Command {
    let sync = Command::new("sync")
        .about("Bring the account's pull secret from the account service into Vault, if it differs and pulls")
        .after_help(
            "Exit codes: 0 Vault holds the account's pull secret; 10 a file or certificate cannot be used; 11 single \
             sign-on; 12 the account service; 13 Vault's login; 14 reading and 15 writing Vault; 16 what was given out is \
             no pull secret; 17 it does not pull; 18 somebody else keeps writing; 19 Vault did not keep it; 20 the \
             registry on which it is tried does not answer, or not to the point; 64 settings.",
        );
    table::add_flags(sync, &TABLES)
}

/// Does it once and says what has become of it, or as often as asked for until it is stopped.
pub(crate) fn sync(settings: PullSecretSyncSettings) -> anyhow::Result<()> {
    let interval = settings.interval;
    let sync = parties(settings)?;
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let Some(interval) = interval else {
            match sync.run().await? {
                Outcome::Unchanged { version } => println!("unchanged, version {version}"),
                Outcome::Written { version } => println!("written, version {version}"),
            }
            return Ok(());
        };
        let mut signals = Signals::new()?;
        tokio::select! {
            () = again_and_again(&sync, interval) => {}
            () = signals.received() => tracing::info!("stopping"),
        }
        Ok(())
    })
}

async fn again_and_again(sync: &Sync, interval: Duration) {
    loop {
        let wait = match sync.run().await {
            Ok(Outcome::Unchanged { version }) => {
                tracing::info!(version, "Vault holds the account's pull secret");
                interval
            }
            Ok(Outcome::Written { version }) => {
                tracing::info!(version, "the account's pull secret was written into Vault");
                interval
            }
            Err(error) => {
                let wait = interval.min(SOON);
                tracing::error!(
                    error = %WithCauses(&error), exit.code = error.exit_code(), retry.seconds = wait.as_secs(),
                    "the pull secret in Vault may not be the account's"
                );
                wait
            }
        };
        tokio::time::sleep(wait).await;
    }
}

fn parties(settings: PullSecretSyncSettings) -> Result<Sync, Error> {
    let PullSecretSyncSettings {
        token_url, identity, accounts, vault, vault_namespace, login, place, ..
    } = settings;
    let (accounts_ca, vault_ca) = (settings.accounts_ca_pem.as_deref(), settings.vault_ca_pem.as_deref());
    Ok(Sync {
        sso: Sso::new(token_url, identity, accounts_ca)?,
        accounts: Accounts::new(&accounts, accounts_ca)?,
        vault: Vault::new(vault, vault_namespace, login, place, vault_ca)?,
        trial: Some((settings.registry, settings.target)),
    })
}
