//! `release …`: looking at releases.

use std::io::{self, Write};

use anyhow::Context;
use coreos_names::{Arch, WithCauses};
use oci_registry::{Config, Reference, Registry};
use release_payload::{LiveIso, Payload};
use release_signature::SignaturePolicy;

use crate::settings::signatures;

/// Prints what a release is and where its ISOs are. Fetches nothing large.
pub(crate) fn inspect(
    registry: Config,
    signatures: Option<release_signature::Config>,
    pullspec: &Reference,
) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let registry = Registry::new(registry)?;
        let signatures: Option<SignaturePolicy> = signatures::policy(signatures)?;
        let payload = Payload::resolve(&registry, pullspec, signatures.as_ref()).await?;
        let mut isos = Vec::new();
        for &arch in payload.arches() {
            isos.push(Listing { arch, iso: find(&registry, &payload, arch).await });
        }
        show(&payload, &isos, &mut io::stdout().lock()).context("cannot write the answer")?;
        let unavailable = isos.iter().filter(|listing| listing.iso.is_err()).count();
        anyhow::ensure!(unavailable == 0, "{unavailable} of {} ISOs are unavailable", isos.len());
        Ok(())
    })
}

/// What is known of the live ISO of an architecture, and its size in bytes.
struct Listing {
    arch: Arch,
    iso: Result<(LiveIso, u64), release_payload::Error>,
}

async fn find(
    registry: &Registry,
    payload: &Payload,
    arch: Arch,
) -> Result<(LiveIso, u64), release_payload::Error> {
    let iso = LiveIso::locate(registry, payload, arch).await?;
    let size = iso.stated_size(registry).await?;
    Ok((iso, size))
}

fn show(payload: &Payload, isos: &[Listing], out: &mut impl Write) -> io::Result<()> {
    let arches: Vec<_> = payload.arches().iter().map(|arch| arch.name()).collect();
    writeln!(out, "release image   {}", payload.pullspec())?;
    writeln!(out, "digest          {}", payload.digest())?;
    match payload.verification() {
        Some(verification) => {
            for signed in &verification.signatures {
                writeln!(out, "signed by       {signed}")?;
            }
        }
        None => writeln!(out, "signature       not checked; see RELEASE_SIGNATURE_KEYS")?,
    }
    writeln!(out, "version         {}", payload.version())?;
    writeln!(out, "architectures   {}", arches.join(", "))?;
    for Listing { arch, iso } in isos {
        writeln!(out, "\n{arch}")?;
        if let Some(image) = payload.boot_image(*arch) {
            writeln!(out, "  RHCOS build   {}", image.os_build)?;
            writeln!(out, "  ISO sha256    {}", image.sha256)?;
        }
        match iso {
            Ok((iso, size)) => {
                writeln!(out, "  ISO size      {size} bytes")?;
                writeln!(out, "  fetched from  {}", iso.image())?;
                if let Some((layer, size)) = iso.largest_layer() {
                    writeln!(out, "  ISO layer     {layer}")?;
                    writeln!(out, "  layer size    {size} bytes, compressed")?;
                }
            }
            Err(error) => writeln!(out, "  unavailable   {}", WithCauses(error))?,
        }
    }
    Ok(())
}
