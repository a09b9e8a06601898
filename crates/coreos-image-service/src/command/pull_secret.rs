//! `pull-secret …`: whether a pull secret is what it should be.

mod sync;

use std::io::{self, Write};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use oci_registry::{CheckTarget, Config, PullSecret, Reference, Registry, Verdict};
use serde_json::json;
use tokio::task::JoinSet;

use super::{many, merged, output_argument, wants_json};
use crate::settings::{PullSecretSettings, PullSecretSyncSettings, ServeSettings, table};
use crate::telemetry;

/// The settings that count.
const TABLES: [&[table::Setting]; 3] = [table::RELEASES, table::REGISTRY, table::LOGGING];

/// Every pull secret of console.redhat.com has this entry.
const TELEMETRY: &str = "cloud.openshift.com";

/// Registries asked at the same time.
const AT_A_TIME: usize = 16;

/// The subcommands.
pub(super) fn command() -> Command {
    let check = Command::new("check")
        .about("Tell what is wrong with a pull secret, and try it at every registry it has an entry for")
        .after_help(
            "Tried are the entries of the pull secret and the images of RELEASE_IMAGES, or what is named instead. \
             A registry that is named without a repository tells only whether it knows the credentials; a \
             repository or an image, whether it may be pulled. Exit code 0: nothing has to be mended.",
        )
        .arg(
            Arg::new("registry")
                .long("registry")
                .value_name("HOST[:PORT][/REPOSITORY]")
                .action(ArgAction::Append)
                .value_parser(value_parser!(CheckTarget))
                .help("a registry, or a repository in it, to try; may be given several times"),
        )
        .arg(
            Arg::new("PULLSPEC")
                .action(ArgAction::Append)
                .value_parser(value_parser!(Reference))
                .help("an image to try, by tag or digest"),
        )
        .arg(output_argument());
    Command::new("pull-secret")
        .about("Look at pull secrets")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(table::add_flags(check, &TABLES))
        .subcommand(sync::command())
}

/// Runs the subcommand.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("sync", matches)) => {
            let merged = merged(&sync::TABLES, matches);
            telemetry::init(ServeSettings::log_level(&merged));
            sync::sync(PullSecretSyncSettings::validate(&merged)?)
        }
        Some((_, matches)) => run_check(matches),
        None => unreachable!("clap requires a subcommand"),
    }
}

fn run_check(matches: &ArgMatches) -> anyhow::Result<()> {
    let merged = merged(&TABLES, matches);
    if merged.text("LOGLEVEL").is_some() {
        telemetry::init(ServeSettings::log_level(&merged));
    }
    let settings = PullSecretSettings::validate(&merged)?;
    let images = many(matches, "PULLSPEC").into_iter().map(CheckTarget::Image);
    let named = many(matches, "registry").into_iter().chain(images).collect();
    check(settings, named, wants_json(matches))
}

/// Shows what is wrong with the pull secret, tries it, and fails unless all is well.
fn check(settings: PullSecretSettings, named: Vec<CheckTarget>, as_json: bool) -> anyhow::Result<()> {
    let secret = settings.registry.credentials.current();
    let checks =
        if named.is_empty() { Check::of_all(&secret, settings.releases) } else { Check::of_named(named) };
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let checks = runtime.block_on(try_out(settings.registry, checks));
    // A look-up of a host that nobody waits for any more would be waited for.
    runtime.shutdown_background();
    let checks = checks?;
    let warnings: Vec<_> = secret.warnings().map(|warning| warning.to_string()).collect();
    let out = &mut io::stdout().lock();
    let show = if as_json { show_json } else { show };
    show(&warnings, &checks, out).context("cannot write the answer")?;
    let bad = checks.iter().filter(|check| !check.is_ok()).count();
    anyhow::ensure!(bad == 0, "{bad} of {} checks have found something to be mended", checks.len());
    Ok(())
}

/// Something to be tried, or not, and what has come of it.
struct Check {
    /// As people know it.
    name: String,
    target: Option<CheckTarget>,
    /// Whether it is the key of an entry, and perhaps only the beginning of repositories' names.
    key: bool,
    verdict: Option<Verdict>,
}

impl Check {
    fn new(target: CheckTarget) -> Self {
        Self { name: target.to_string(), target: Some(target), key: false, verdict: None }
    }

    fn of_named(targets: Vec<CheckTarget>) -> Vec<Self> {
        targets.into_iter().map(Self::new).collect()
    }

    /// Every entry of the pull secret and every image; an entry that an image already tries is not tried by itself
    /// if it is for a part of a registry.
    fn of_all(secret: &PullSecret, mut images: Vec<Reference>) -> Vec<Self> {
        images.sort();
        images.dedup();
        let entry_of = |image: &Reference| match secret.lookup(image) {
            Ok(found) => found.map(|(key, _)| key.to_owned()),
            Err(entry) => Some(entry.key),
        };
        let tried_by_images: Vec<_> = images.iter().filter_map(entry_of).collect();
        let tried = |key: &&str| !(key.contains('/') && tried_by_images.iter().any(|tried| tried == key));
        let of_key = |key: &str| {
            // An entry for a part of Docker Hub may not be for the repository of the same name.
            let target = key.parse().ok().filter(|target| match target {
                CheckTarget::Registry(host) => host.as_str() != TELEMETRY,
                CheckTarget::Repository(reference) | CheckTarget::Image(reference) => {
                    !secret.lookup(reference).is_ok_and(|found| found.is_some_and(|(found, _)| found != key))
                }
            });
            Self { name: key.to_owned(), target, key: true, verdict: None }
        };
        let entries = secret.keys().filter(tried).map(of_key);
        entries.chain(images.iter().cloned().map(CheckTarget::Image).map(Self::new)).collect()
    }

    fn is_ok(&self) -> bool {
        self.verdict.as_ref().is_none_or(Verdict::is_ok)
    }

    fn verdict(&self) -> &'static str {
        self.verdict.as_ref().map_or("not-tried", Verdict::name)
    }

    fn message(&self) -> String {
        match &self.verdict {
            None if self.name == TELEMETRY => {
                "not tried: this entry is for telemetry, not for images".to_owned()
            }
            None => "not tried: name an image in it".to_owned(),
            Some(verdict @ Verdict::NoPullAccess { .. }) if self.key => format!(
                "{verdict}; if that is only the beginning of repositories' names, name an image to be tried"
            ),
            Some(verdict) => verdict.to_string(),
        }
    }
}

async fn try_out(config: Config, mut checks: Vec<Check>) -> anyhow::Result<Vec<Check>> {
    let registry = Registry::new(config)?;
    for some in checks.chunks_mut(AT_A_TIME) {
        let mut running = JoinSet::new();
        for (index, check) in some.iter().enumerate() {
            if let Some(target) = check.target.clone() {
                let registry = registry.clone();
                running.spawn(async move { (index, registry.check(&target).await) });
            }
        }
        for (index, verdict) in running.join_all().await {
            some[index].verdict = Some(verdict);
        }
    }
    Ok(checks)
}

fn show(warnings: &[String], checks: &[Check], out: &mut dyn Write) -> io::Result<()> {
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
    for check in checks {
        writeln!(out, "{:width$}  {}", check.name, check.message())?;
    }
    Ok(())
}

fn show_json(warnings: &[String], checks: &[Check], out: &mut dyn Write) -> io::Result<()> {
    let checks: Vec<_> = checks
        .iter()
        .map(|check| {
            json!({
                "target": check.name,
                "entry": check.verdict.as_ref().and_then(Verdict::entry),
                "verdict": check.verdict(),
                "ok": check.is_ok(),
                "message": check.message(),
            })
        })
        .collect();
    serde_json::to_writer_pretty(&mut *out, &json!({"warnings": warnings, "checks": checks}))?;
    writeln!(out)
}
