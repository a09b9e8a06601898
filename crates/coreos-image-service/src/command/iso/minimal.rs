use std::path::Path;

use anyhow::Context;
use clap::{Arg, ArgMatches, value_parser};
use live_iso::{Customization, RootfsUrl};

use super::{Iso, required};

const ROOTFS_URL: &str = "rootfs-url";

pub(super) fn rootfs_url_argument() -> Arg {
    Arg::new(ROOTFS_URL)
        .long(ROOTFS_URL)
        .value_name("URL")
        .required(true)
        .value_parser(value_parser!(RootfsUrl))
        .help("where a host that has booted the minimal ISO fetches its root file system (images/pxeboot/rootfs.img)")
}

/// Writes the ISO without its root file system, customised.
pub(super) fn minimal(
    iso: &Iso<'_>,
    matches: &ArgMatches,
    wishes: &Customization,
    out: &Path,
) -> anyhow::Result<()> {
    let plan = iso.layout.minimal(required::<RootfsUrl>(matches, ROOTFS_URL), None);
    let plan = plan.and_then(|minimal| minimal.plan(wishes));
    iso.write(
        &plan.with_context(|| format!("cannot make a minimal image of {}", iso.path.display()))?,
        &[],
        out,
    )
}
