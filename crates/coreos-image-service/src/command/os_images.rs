//! `os-images`: the list that assisted-service wants, made from releases.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use clap::{ArgMatches, Command};
use coreos_names::{Arch, OpenshiftVersion, OsBuild, WithCauses};
use oci_registry::Registry;
use release_payload::release_images::{Architectures, ReleaseImage};
use release_payload::{OsImageEntry, Payload, SignaturePolicy};

use super::merged;
use crate::settings::{ReleaseSettings, signatures, table};

/// The subcommand.
pub(super) fn command() -> Command {
    table::add_flags(
        Command::new("os-images").about(
            "Print OS_IMAGES for assisted-service, made from RELEASE_IMAGES: it refuses to start without that list",
        ),
        &[table::RELEASES, table::REGISTRY],
    )
}

/// Prints the list, or every reason why it would not be complete. Fetches nothing large.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let settings = ReleaseSettings::validate(&merged(&[table::RELEASES, table::REGISTRY], matches))?;
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let registry = Registry::new(settings.registry)?;
        let signatures = signatures::policy(settings.signatures)?;
        let mut list = OsImages::default();
        let mut failed = 0;
        for release in &settings.releases {
            if !release.version.payload_has_iso() {
                eprintln!("{}: no live ISO in so old a release; left out", release.pullspec);
            } else if let Err(error) = list.add(&registry, signatures.as_ref(), release).await {
                failed += 1;
                eprintln!("{}: {}", release.pullspec, WithCauses(error.as_ref()));
            }
        }
        ensure!(failed == 0, "{failed} of {} releases cannot be read", settings.releases.len());
        println!("{}", serde_json::to_string_pretty(&list.entries()).context("cannot write the list")?);
        Ok(())
    })
}

/// The entries by what hosts ask for, each with the release it is from.
#[derive(Default)]
struct OsImages(BTreeMap<(OpenshiftVersion, Arch), (ReleaseImage, OsBuild)>);

impl OsImages {
    /// Adds what a release has. Of several releases for one version the newest counts, as when they are served.
    async fn add(
        &mut self,
        registry: &Registry,
        signatures: Option<&SignaturePolicy>,
        release: &ReleaseImage,
    ) -> anyhow::Result<()> {
        let payload = Payload::resolve(registry, &release.pullspec, signatures).await?;
        let payload = payload.with_os_stream(release.os_stream);
        let arches = match &release.architectures {
            Architectures::Listed(arches) => arches.as_slice(),
            Architectures::OfPayload => payload.arches(),
        };
        for &arch in arches {
            let image = payload
                .boot_image(arch)
                .with_context(|| format!("release {} states no live ISO for {arch}", payload.version()))?;
            let key = (release.openshift_version.clone(), arch);
            if self.0.get(&key).is_none_or(|(known, _)| known.version < release.version) {
                self.0.insert(key, (release.clone(), image.os_build.clone()));
            }
        }
        Ok(())
    }

    fn entries(&self) -> Vec<OsImageEntry> {
        let entry = |((openshift_version, arch), (release, os_build)): (
            &(OpenshiftVersion, Arch),
            &(ReleaseImage, OsBuild),
        )| OsImageEntry {
            openshift_version: openshift_version.clone(),
            arch: *arch,
            os_build: os_build.clone(),
            release: release.pullspec.clone(),
        };
        self.0.iter().map(entry).collect()
    }
}
