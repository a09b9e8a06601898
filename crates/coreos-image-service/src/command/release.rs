//! `release …`: looking at releases.

use anyhow::Context;
use coreos_names::WithCauses;
use oci_registry::{Config, Reference, Registry};
use release_payload::{LiveIso, Payload};

/// Prints what a release is and where its ISOs are. Fetches nothing large.
pub(crate) fn inspect(registry: Config, pullspec: &Reference) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let registry = Registry::new(registry)?;
        let payload = Payload::resolve(&registry, pullspec).await?;
        println!("release image   {}", payload.pullspec());
        println!("digest          {}", payload.digest());
        println!("version         {}", payload.version());
        let arches: Vec<_> = payload.arches().iter().map(|arch| arch.name()).collect();
        println!("architectures   {}", arches.join(", "));
        let mut failures = 0;
        for &arch in payload.arches() {
            println!("\n{arch}");
            if let Some(image) = payload.boot_image(arch) {
                println!("  RHCOS build   {}", image.os_build);
                println!("  ISO sha256    {}", image.sha256);
            }
            match LiveIso::locate(&registry, &payload, arch).await {
                Ok(iso) => {
                    println!("  fetched from  {}", iso.image());
                    if let Some((layer, size)) = iso.largest_layer() {
                        println!("  ISO layer     {layer}");
                        println!("  layer size    {size} bytes, compressed");
                    }
                }
                Err(error) => {
                    failures += 1;
                    println!("  unavailable   {}", WithCauses(&error));
                }
            }
        }
        anyhow::ensure!(failures == 0, "{failures} of {} ISOs are unavailable", payload.arches().len());
        Ok(())
    })
}
