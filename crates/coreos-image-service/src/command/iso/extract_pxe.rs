//! `iso extract-pxe`: the files to boot from over the network, the initrd with what a request would put in.

use std::fs;
use std::path::Path;

use anyhow::Context;
use live_iso::{Artifact, Customization, PlanError};

use super::Iso;

/// Writes the files that a host boots over the network with, named as in today's ISOs: the kernel of an s390x ISO whose
/// file is called `kernel.img` becomes `vmlinuz`, too.
pub(super) fn extract_pxe(
    iso: &Iso<'_>,
    wishes: Customization,
    nmstate: Option<&[u8]>,
    directory: &Path,
) -> anyhow::Result<()> {
    let wishes = Customization { nmstate_len: nmstate.map(|archive| archive.len() as u64), ..wishes };
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let pristine = Customization::default();
    for (artifact, name, customization) in [
        (Artifact::Kernel, "vmlinuz", &pristine),
        (Artifact::Initrd, "initrd.img", &wishes),
        (Artifact::Rootfs, "rootfs.img", &pristine),
        (Artifact::InitrdAddrSize, "initrd.addrsize", &wishes),
        (Artifact::InsFile, "generic.ins", &pristine),
    ] {
        match iso.layout.plan(artifact, customization) {
            Ok(plan) => iso.write(&plan, nmstate.unwrap_or_default(), &directory.join(name))?,
            // Only s390x has all of them.
            Err(PlanError::NoSuchArtifact { .. }) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot customise {}", iso.path.display()));
            }
        }
    }
    Ok(())
}
