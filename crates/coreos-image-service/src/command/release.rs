//! `release …`: looking at releases, and taking their ISOs out.

mod extract;
mod inspect;
mod progress;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use coreos_names::Arch;
use release_payload::Reference;

use super::{many, merged, required};
use crate::settings::{registry, table};

/// The subcommands.
pub(super) fn command() -> Command {
    let pullspec = || {
        Arg::new("PULLSPEC")
            .required(true)
            .value_parser(value_parser!(Reference))
            .help("the release image, by tag or digest")
    };
    Command::new("release")
        .about("Look at OpenShift releases and take their live ISOs out")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(table::add_flags(
            Command::new("inspect")
                .about("Show a release's version, architectures and live ISOs, and where they would be fetched from")
                .arg(pullspec())
                .arg(
                    Arg::new("output")
                        .short('o')
                        .long("output")
                        .value_parser(["text", "json"])
                        .default_value("text")
                        .help("for people or for programs"),
                ),
            &[table::REGISTRY],
        ))
        .subcommand(table::add_flags(
            Command::new("extract")
                .about("Take a release's live ISOs out of the registry, every byte verified")
                .arg(pullspec())
                .arg(
                    Arg::new("arch")
                        .long("arch")
                        .action(ArgAction::Append)
                        .value_parser(value_parser!(Arch))
                        .help("an architecture, any number of times; without it, all that the release has"),
                )
                .arg(
                    Arg::new("to")
                        .long("to")
                        .value_name("DIR")
                        .default_value(".")
                        .value_parser(value_parser!(PathBuf))
                        .help("where the ISOs go, such as a DATA_DIR; those that are there are not fetched again"),
                ),
            &[table::REGISTRY],
        ))
}

/// Runs the subcommand.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (name, matches) = matches.subcommand().expect("clap requires a subcommand");
    let registry = registry::validate(&merged(&[table::REGISTRY], matches))?;
    let pullspec = required(matches, "PULLSPEC");
    match name {
        "inspect" => inspect::inspect(registry, pullspec, required::<String>(matches, "output") == "json"),
        "extract" => {
            extract::extract(registry, pullspec, &many(matches, "arch"), required::<PathBuf>(matches, "to"))
        }
        _ => unreachable!("clap knows no other subcommand"),
    }
}
