//! What an ISO shall be customised with, as flags.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use live_iso::{Customization, IgnitionArchive, KernelArguments, Ramdisk};

pub(super) const IGNITION: &str = "ignition";
pub(super) const NETWORK_RAMDISK: &str = "network-ramdisk";
pub(super) const KARG: &str = "karg";

/// Adds the flags of these names.
pub(super) fn add_arguments(command: Command, names: &[&str]) -> Command {
    let file = |name: &'static str, help| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    let all = [
        file(IGNITION, "an Ignition config"),
        file(
            NETWORK_RAMDISK,
            "an archive (cpio, compressed or not) to unpack into the initramfs, such as a network configuration",
        ),
        Arg::new(KARG)
            .long(KARG)
            .value_name("ARGUMENT")
            .action(ArgAction::Append)
            .help("a kernel argument to append; can be given more than once")
            .long_help(
                "a kernel argument to append; can be given more than once. It is written as it is, and GRUB reads it \
                 as its script: unquoted, { } | & ; < > end a word, and $ begins a variable",
            ),
    ];
    command.args(all.into_iter().filter(|argument| names.contains(&argument.get_id().as_str())))
}

/// Reads the flags that the command has, and the files they name.
pub(super) fn read(matches: &ArgMatches) -> anyhow::Result<Customization> {
    let file = |name| {
        let path = matches.try_get_one::<PathBuf>(name).ok().flatten();
        path.map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display()))).transpose()
    };
    let ignition = file(IGNITION)?.map(|config| IgnitionArchive::new(&config)).transpose()?;
    let arguments = matches.try_get_many::<String>(KARG).ok().flatten();
    Ok(Customization {
        ignition,
        ramdisk: file(NETWORK_RAMDISK)?.map(|archive| Ramdisk::new(archive.into())),
        kernel_arguments: arguments.map(|arguments| KernelArguments::new(arguments.cloned())).transpose()?,
        ..Customization::default()
    })
}
