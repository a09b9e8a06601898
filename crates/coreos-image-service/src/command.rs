//! The command line: which subcommand was asked for, and with which settings.

mod iso;
mod operator;
mod os_images;
mod pull_secret;
mod release;
mod serve;
mod signals;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::settings::{Merged, OperatorSettings, ServeSettings, table};
use crate::telemetry;

/// The settings of the service.
const SERVE: [&[table::Setting]; 4] = [table::RELEASES, table::SERVE, table::REGISTRY, table::LOGGING];

/// Runs the subcommand that the arguments name; without one, the service.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let matches = command_line().try_get_matches_from(arguments)?;
    match matches.subcommand() {
        Some(("release", matches)) => release::run(matches),
        Some(("os-images", matches)) => os_images::run(matches),
        Some(("pull-secret", matches)) => pull_secret::run(matches),
        Some(("iso", matches)) => iso::run(matches),
        Some(("operator", matches)) => operate(matches),
        Some(("serve", matches)) => serve(matches),
        _ => serve(&matches),
    }
}

fn serve(matches: &ArgMatches) -> anyhow::Result<()> {
    let merged = merged(&SERVE, matches);
    telemetry::init(ServeSettings::log_level(&merged));
    serve::serve(ServeSettings::validate(&merged)?)
}

fn operate(matches: &ArgMatches) -> anyhow::Result<()> {
    if matches.get_flag("print-crd") {
        return operator::print_crd();
    }
    let merged = merged(&[table::OPERATOR, table::LOGGING], matches);
    telemetry::init(ServeSettings::log_level(&merged));
    operator::run(OperatorSettings::validate(&merged)?)
}

fn merged(tables: &[&'static [table::Setting]], matches: &ArgMatches) -> Merged {
    Merged::new(tables, matches, |variable| std::env::var_os(variable))
}

fn required<'a, T: Clone + Send + Sync + 'static>(matches: &'a ArgMatches, name: &str) -> &'a T {
    matches.get_one(name).expect("clap requires the argument")
}

/// The values of an argument that may be given any number of times.
fn many<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches.get_many(name).into_iter().flatten().cloned().collect()
}

/// Whether the answer is for people or for programs.
fn output_argument() -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_parser(["text", "json"])
        .default_value("text")
        .help("for people or for programs")
}

/// Whether the answer is for programs.
fn wants_json(matches: &ArgMatches) -> bool {
    required::<String>(matches, "output") == "json"
}

fn command_line() -> Command {
    let serve = table::add_flags(Command::new("serve").about("Serve images; the default"), &SERVE);
    let operator = table::add_flags(Command::new("operator"), &[table::OPERATOR, table::LOGGING])
        .about("Keep an image service in Kubernetes told of the releases that the hub uses")
        .arg(
            Arg::new("print-crd")
                .long("print-crd")
                .action(ArgAction::SetTrue)
                .help("print the CustomResourceDefinition of CoreosImageService, and end"),
        );
    table::add_flags(Command::new("coreos-image-service"), &SERVE)
        .about("Serves bare-metal hosts their CoreOS live ISO, given only a release image and a pull secret")
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(release::command())
        .subcommand(os_images::command())
        .subcommand(pull_secret::command())
        .subcommand(iso::command())
        .subcommand(operator)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command_line().debug_assert();
    }
}
