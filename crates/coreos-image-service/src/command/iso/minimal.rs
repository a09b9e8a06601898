//! `iso minimal`: the ISO without its root file system, customised, as the server makes it.

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

pub(super) fn rootfs_url(matches: &ArgMatches) -> &RootfsUrl {
    required(matches, ROOTFS_URL)
}

/// Writes the ISO without its root file system, customised.
pub(super) fn minimal(
    iso: &Iso<'_>,
    rootfs_url: &RootfsUrl,
    wishes: &Customization,
    nmstate: Option<&[u8]>,
    out: &Path,
) -> anyhow::Result<()> {
    let plan = iso.layout.minimal(rootfs_url, nmstate.map(|archive| archive.len() as u64));
    let plan = plan.and_then(|minimal| minimal.plan(wishes));
    // Each reason says that it is about a minimal ISO, or about a wish.
    let plan = plan.with_context(|| iso.path.display().to_string())?;
    iso.write(&plan, nmstate.unwrap_or_default(), out)
}
