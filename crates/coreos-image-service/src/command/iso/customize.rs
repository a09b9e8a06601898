//! `iso customize`: the ISO with what a request would put in, as the server makes it.

use std::path::Path;

use anyhow::Context;
use live_iso::{Artifact, Customization};

use super::Iso;

/// Writes a customised ISO.
pub(super) fn customize(iso: &Iso<'_>, wishes: &Customization, out: &Path) -> anyhow::Result<()> {
    let plan = iso.layout.plan(Artifact::FullIso, wishes);
    iso.write(&plan.with_context(|| format!("cannot customise {}", iso.path.display()))?, &[], out)
}
