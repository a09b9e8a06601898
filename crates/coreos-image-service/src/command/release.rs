//! `release …`: looking at releases, and taking their ISOs out.

mod download;
mod extract;
mod inspect;
mod progress;

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use coreos_names::Arch;
use oci_registry::Registry;
use release_payload::{Error, OsStream, Payload, Reference};
use release_signature::SignaturePolicy;

use super::{many, merged, output_argument, required, wants_json};
use crate::settings::{registry, signatures, table};

/// The subcommands.
pub(super) fn command() -> Command {
    let pullspec = || {
        Arg::new("PULLSPEC")
            .required(true)
            .value_parser(value_parser!(Reference))
            .help("the release image, by tag or digest")
    };
    let os_stream = || {
        Arg::new("os-stream")
            .long("os-stream")
            .value_name("STREAM")
            .value_parser(value_parser!(OsStream))
            .help("rhel-9 or rhel-10, of a release that carries both; without it, what its hosts boot from")
    };
    Command::new("release")
        .about("Look at OpenShift releases and take their live ISOs out")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(table::add_flags(
            Command::new("inspect")
                .about("Show a release's version, architectures and live ISOs, and where they would be fetched from")
                .arg(pullspec())
                .arg(os_stream())
                .arg(output_argument()),
            &[table::REGISTRY],
        ))
        .subcommand(table::add_flags(
            Command::new("extract")
                .about("Take a release's live ISOs out of the registry, every byte verified")
                .arg(pullspec())
                .arg(os_stream())
                .arg(
                    Arg::new("arch")
                        .long("arch")
                        .value_name("ARCH")
                        .action(ArgAction::Append)
                        .value_parser(value_parser!(Arch))
                        .help(
                            "x86_64, arm64 (aarch64), ppc64le or s390x, any number of times; without it, all that the \
                             release has",
                        ),
                )
                .arg(
                    Arg::new("to")
                        .long("to")
                        .value_name("DIR")
                        .default_value(".")
                        .value_parser(value_parser!(PathBuf))
                        .help("a directory where the ISOs go, such as a DATA_DIR; those that are there are not fetched again"),
                ),
            &[table::REGISTRY],
        ))
}

/// Runs the subcommand.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let (name, matches) = matches.subcommand().expect("clap requires a subcommand");
    let merged = merged(&[table::REGISTRY], matches);
    let registry = registry::validate(&merged)?;
    let signatures = signatures::policy(signatures::validate(&merged, &registry)?)?;
    let release = Release {
        pullspec: required(matches, "PULLSPEC"),
        os_stream: matches.get_one("os-stream").copied(),
        signatures: signatures.as_ref(),
    };
    match name {
        "inspect" => inspect::inspect(registry, &release, wants_json(matches)),
        "extract" => {
            let (arches, to) = (many(matches, "arch"), required::<PathBuf>(matches, "to"));
            extract::extract(registry, &release, &arches, to)
        }
        _ => unreachable!("clap knows no other subcommand"),
    }
}

/// Which release is asked for, and who has to vouch for it.
struct Release<'a> {
    pullspec: &'a Reference,
    os_stream: Option<OsStream>,
    signatures: Option<&'a SignaturePolicy>,
}

impl Release<'_> {
    async fn resolve(&self, registry: &Registry) -> Result<Payload, Error> {
        let payload = Payload::resolve(registry, self.pullspec, self.signatures).await?;
        Ok(payload.with_os_stream(self.os_stream))
    }
}
