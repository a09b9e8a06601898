//! `iso …`: looking at ISO files, and making customised ones. All of it is the server's own code at work on files.

mod customize;
mod extract_pxe;
mod inspect;
mod minimal;
mod wishes;

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use live_iso::{Layout, Plan};

use super::required;

/// The subcommands.
pub(super) fn command() -> Command {
    let output = |help| {
        Arg::new("OUT")
            .short('o')
            .long("output")
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    Command::new("iso")
        .about("Look at CoreOS live ISOs and customise them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("inspect")
                .about("Show what an ISO is, and what is embedded in it")
                .arg(iso_argument())
                .arg(
                    Arg::new("ignition")
                        .long("ignition")
                        .action(ArgAction::SetTrue)
                        .help("print the embedded Ignition config, secrets and all, and nothing else"),
                ),
        )
        .subcommand(
            wishes::add_arguments(
                Command::new("customize")
                    .about("Embed an Ignition config, a network configuration, kernel arguments"),
                &[wishes::IGNITION, wishes::NETWORK_RAMDISK, wishes::KARG],
            )
            .arg(iso_argument())
            .arg(output("the customised ISO; a file of that name is replaced once the new one is complete")),
        )
        .subcommand(
            wishes::add_arguments(
                Command::new("minimal")
                    .about("Make the small ISO whose root file system is fetched from a URL"),
                &[wishes::IGNITION, wishes::NETWORK_RAMDISK, wishes::KARG],
            )
            .arg(minimal::rootfs_url_argument())
            .arg(nmstate_argument())
            .arg(iso_argument())
            .arg(output("the minimal ISO; a file of that name is replaced once the new one is complete")),
        )
        .subcommand(
            wishes::add_arguments(
                Command::new("extract-pxe").about("Take out what a host needs to boot over the network"),
                &[wishes::IGNITION, wishes::NETWORK_RAMDISK],
            )
            .arg(nmstate_argument())
            .arg(iso_argument())
            .arg(output("a directory for the files")),
        )
}

/// Runs the subcommand.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("inspect", matches)) => inspect::inspect(&Iso::open(matches)?, matches.get_flag("ignition")),
        Some(("customize", matches)) => {
            customize::customize(&Iso::open(matches)?, &wishes::read(matches)?, output(matches))
        }
        Some(("minimal", matches)) => {
            let iso = Iso::open(matches)?;
            let nmstate = iso.nmstate(matches)?;
            let url = minimal::rootfs_url(matches);
            minimal::minimal(&iso, url, &wishes::read(matches)?, nmstate.as_deref(), output(matches))
        }
        Some(("extract-pxe", matches)) => {
            let iso = Iso::open(matches)?;
            let nmstate = iso.nmstate(matches)?;
            extract_pxe::extract_pxe(&iso, wishes::read(matches)?, nmstate.as_deref(), output(matches))
        }
        _ => unreachable!("clap requires a subcommand"),
    }
}

fn iso_argument() -> Arg {
    Arg::new("ISO").required(true).value_parser(value_parser!(PathBuf)).help("a CoreOS live ISO")
}

fn output(matches: &ArgMatches) -> &Path {
    required::<PathBuf>(matches, "OUT")
}

fn nmstate_argument() -> Arg {
    Arg::new("nmstate").long("nmstate").action(ArgAction::SetTrue).help(
        "put nmstatectl, taken out of the ISO, into the initramfs: from OpenShift 4.18 on network configurations need it",
    )
}

/// An ISO file, understood.
struct Iso<'a> {
    path: &'a Path,
    file: File,
    layout: Layout,
}

impl<'a> Iso<'a> {
    fn open(matches: &'a ArgMatches) -> anyhow::Result<Self> {
        let path = required::<PathBuf>(matches, "ISO");
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let layout = Layout::read(&file).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, file, layout })
    }

    /// The archive of nmstatectl, if it is asked for.
    fn nmstate(&self, matches: &ArgMatches) -> anyhow::Result<Option<Vec<u8>>> {
        if !matches.get_flag("nmstate") {
            return Ok(None);
        }
        let nmstatectl = live_iso::nmstatectl(&self.file, &self.layout)
            .with_context(|| format!("cannot take nmstatectl out of {}", self.path.display()))?;
        Ok(Some(live_iso::nmstate_archive(&nmstatectl)))
    }
    /// Writes a plan to a file, which appears once it is complete and on the disk.
    fn write(&self, plan: &Plan, nmstate: &[u8], out: &Path) -> anyhow::Result<()> {
        let cannot_write = || format!("cannot write {}", out.display());
        let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        // The mode of an ordinary file, from which the system takes what the umask forbids.
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory.unwrap_or(Path::new(".")))
            .with_context(cannot_write)?;
        plan.write_to(&self.file, nmstate, &mut file).with_context(cannot_write)?;
        // Otherwise the name could outlive a loss of power, and the bytes not.
        file.as_file().sync_all().with_context(cannot_write)?;
        file.persist(out).with_context(cannot_write)?;
        Ok(())
    }
}
