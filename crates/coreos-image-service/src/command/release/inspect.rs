//! `release inspect`: what a release is, and which ISOs it has.

use std::io::{self, Write};

use anyhow::Context;
use coreos_names::{Arch, WithCauses};
use oci_registry::{Config, Registry};
use release_payload::{BootImage, LiveIso, Payload};
use serde_json::{Value, json};

use super::Release;

/// Prints what a release is and where its ISOs are, perhaps as JSON. Fetches nothing large.
pub(super) fn inspect(registry: Config, release: &Release<'_>, as_json: bool) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let registry = Registry::new(registry)?;
        let payload = release.resolve(&registry).await?;
        let mut isos = Vec::new();
        for &arch in payload.arches() {
            isos.push(Listing { arch, iso: find(&registry, &payload, arch).await });
        }
        let mut out = io::stdout().lock();
        let shown = if as_json {
            writeln!(out, "{:#}", json(&payload, &isos))
        } else {
            show(&payload, &isos, &mut out)
        };
        shown.context("cannot write the answer")?;
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
    let mut iso = LiveIso::locate(registry, payload, arch).await?;
    let size = iso.stated_size(registry).await?;
    Ok((iso, size))
}

impl Listing {
    /// What the release announces of the ISO, of the generation that was found if any was.
    fn forecast<'a>(&'a self, payload: &'a Payload) -> Option<&'a BootImage> {
        self.iso.as_ref().map_or_else(|_| payload.boot_image(self.arch), |(iso, _)| iso.forecast())
    }
}

/// What programs read. The fields are promised in docs/RELEASES.md.
fn json(payload: &Payload, isos: &[Listing]) -> Value {
    let isos = isos.iter().map(|listing| {
        let forecast = listing.forecast(payload);
        let mut shown = json!({
            "cpu_architecture": listing.arch.name(),
            "version": forecast.map(|image| image.os_build.to_string()),
            "sha256": forecast.map(|image| image.sha256.to_string()),
        });
        match &listing.iso {
            Ok((iso, size)) => {
                shown["size"] = (*size).into();
                shown["image"] = iso.image().to_string().into();
                if let Some((digest, size)) = iso.largest_layer() {
                    shown["layer"] = json!({ "digest": digest.to_string(), "size": size });
                }
            }
            Err(error) => shown["error"] = WithCauses(error).to_string().into(),
        }
        shown
    });
    let signatures = payload.verification().map(|verification| {
        let signatures = verification.signatures.iter().map(|signed| {
            json!({
                "key_id": signed.key_id,
                "user_id": signed.user_id,
                "store": signed.store,
                "digest": format!("sha256:{}", signed.digest),
            })
        });
        signatures.collect::<Vec<_>>()
    });
    json!({
        "release_image": payload.pullspec().to_string(),
        "digest": payload.digest().to_string(),
        "signatures": signatures,
        "version": payload.version().to_string(),
        "cpu_architectures": payload.arches().iter().map(|arch| arch.name()).collect::<Vec<_>>(),
        "isos": isos.collect::<Vec<_>>(),
    })
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
        None => writeln!(out, "signature       not checked")?,
    }
    writeln!(out, "version         {}", payload.version())?;
    writeln!(out, "architectures   {}", arches.join(", "))?;
    for listing in isos {
        writeln!(out, "\n{}", listing.arch)?;
        if let Some(image) = listing.forecast(payload) {
            writeln!(out, "  RHCOS build   {}", image.os_build)?;
            writeln!(out, "  ISO sha256    {}", image.sha256)?;
        }
        match &listing.iso {
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
