use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use live_iso::{Artifact, Customization, Plan};

use super::Iso;

/// Writes a customised ISO.
pub(super) fn customize(iso: &Iso<'_>, wishes: &Customization, out: &Path) -> anyhow::Result<()> {
    let plan = iso.layout.plan(Artifact::FullIso, wishes);
    iso.write(&plan.with_context(|| format!("cannot customise {}", iso.path.display()))?, &[], out)
}

impl Iso<'_> {
    /// Writes a plan to a file, which appears once it is complete.
    pub(super) fn write(&self, plan: &Plan, nmstate: &[u8], out: &Path) -> anyhow::Result<()> {
        let cannot_write = || format!("cannot write {}", out.display());
        let directory = out.parent().filter(|parent| !parent.as_os_str().is_empty());
        // The mode of an ordinary file, from which the system takes what the umask forbids.
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory.unwrap_or(Path::new(".")))
            .with_context(cannot_write)?;
        plan.write_to(&self.file, nmstate, &mut file).with_context(cannot_write)?;
        file.flush().with_context(cannot_write)?;
        file.persist(out).with_context(cannot_write)?;
        Ok(())
    }
}
