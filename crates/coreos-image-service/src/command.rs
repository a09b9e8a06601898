//! The command line: which subcommand was asked for, and with which settings.

mod iso;
mod operator;
mod release;
mod serve;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::settings::{Merged, OperatorSettings, ServeSettings, registry, table};
use crate::telemetry;

/// Runs the subcommand that the arguments name; without one, the service.
pub(crate) fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<()> {
    let matches = command_line().try_get_matches_from(arguments)?;
    match matches.subcommand() {
        Some(("release", matches)) => match matches.subcommand() {
            Some(("inspect", matches)) => {
                let registry = registry::validate(&merged(&[table::REGISTRY], matches))?;
                release::inspect(registry, required(matches, "PULLSPEC"))
            }
            _ => unreachable!("clap requires a subcommand"),
        },
        Some(("iso", matches)) => iso::run(matches),
        Some(("operator", matches)) => operate(matches),
        Some(("serve", matches)) => serve(matches),
        _ => serve(&matches),
    }
}

fn serve(matches: &ArgMatches) -> anyhow::Result<()> {
    let merged = merged(&[table::SERVE, table::REGISTRY], matches);
    telemetry::init(ServeSettings::log_level(&merged));
    serve::serve(ServeSettings::validate(&merged)?)
}

fn operate(matches: &ArgMatches) -> anyhow::Result<()> {
    if matches.get_flag("print-crd") {
        return operator::print_crd();
    }
    let merged = merged(&[table::OPERATOR], matches);
    telemetry::init(ServeSettings::log_level(&merged));
    operator::run(OperatorSettings::validate(&merged)?)
}

fn merged(tables: &[&'static [table::Setting]], matches: &ArgMatches) -> Merged {
    Merged::new(tables, matches, |variable| std::env::var_os(variable))
}

fn required<'a, T: Clone + Send + Sync + 'static>(matches: &'a ArgMatches, name: &str) -> &'a T {
    matches.get_one(name).expect("clap requires the argument")
}

fn command_line() -> Command {
    let release = Command::new("release")
        .about("Look at OpenShift releases")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(table::add_flags(
            Command::new("inspect")
                .about("Show a release's version, architectures and live ISOs, and where they would be fetched from")
                .arg(
                    Arg::new("PULLSPEC")
                        .required(true)
                        .value_parser(value_parser!(release_payload::Reference))
                        .help("the release image, by tag or digest"),
                ),
            &[table::REGISTRY],
        ));
    let tables = [table::SERVE, table::REGISTRY];
    let serve = table::add_flags(Command::new("serve").about("Serve images; the default"), &tables);
    let operator = table::add_flags(Command::new("operator"), &[table::OPERATOR])
        .about("Keep an image service in Kubernetes told of the releases that the hub uses")
        .arg(
            Arg::new("print-crd")
                .long("print-crd")
                .action(ArgAction::SetTrue)
                .help("print the CustomResourceDefinition of CoreosImageService, and end"),
        );
    table::add_flags(Command::new("coreos-image-service"), &tables)
        .about("Serves bare-metal hosts their CoreOS live ISO, given only a release image and a pull secret")
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(release)
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
