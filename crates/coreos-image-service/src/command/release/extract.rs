//! `release extract`: the live ISOs of a release as files.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use coreos_names::{Arch, ImageKind, Sha256, WithCauses};
use image_store::ImageKey;
use oci_registry::{Config, Registry};
use release_payload::{BootImage, ExtractedIso, LiveIso, Payload};

use super::Release;
use super::download::{self, Download};
use super::progress::tell;
use crate::command::signals::Signals;

/// Brings the ISOs of these architectures, or of all that the release has, into a directory, and prints their paths. One
/// that cannot be had keeps no other from being fetched.
pub(super) fn extract(
    registry: Config,
    release: &Release<'_>,
    arches: &[Arch],
    to: &Path,
) -> anyhow::Result<()> {
    let there = to.metadata().with_context(|| format!("cannot extract into {}", to.display()))?;
    ensure!(there.is_dir(), "{} is not a directory", to.display());
    download::remove_abandoned(to)?;
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let registry = Registry::new(registry)?;
        let extracting = async {
            let payload = release.resolve(&registry).await?;
            let arches = if arches.is_empty() { payload.arches() } else { arches };
            let arches: BTreeSet<_> = arches.iter().copied().collect();
            let mut failed = 0;
            for &arch in &arches {
                match extract_one(&registry, &payload, arch, to).await {
                    Ok(path) => {
                        writeln!(io::stdout(), "{}", path.display()).context("cannot print the path")?;
                    }
                    Err(error) => {
                        failed += 1;
                        tell(format_args!("{arch}: {}", WithCauses(error.as_ref())));
                    }
                }
            }
            ensure!(failed == 0, "{failed} of {} ISOs could not be extracted", arches.len());
            Ok(())
        };
        // An unfinished file is removed when what writes it is dropped.
        let mut signals = Signals::new()?;
        tokio::select! {
            result = extracting => result,
            () = signals.received() => Err(anyhow::anyhow!("interrupted")),
        }
    })
}

async fn extract_one(
    registry: &Registry,
    payload: &Payload,
    arch: Arch,
    to: &Path,
) -> anyhow::Result<PathBuf> {
    if let Some(forecast) = payload.boot_image(arch)
        && let Some(path) = find(to, arch, forecast).await?
    {
        tell(format_args!("{}: already there, sha256 {}", path.display(), forecast.sha256));
        return Ok(path);
    }
    let mut iso = LiveIso::locate(registry, payload, arch).await?;
    let sink = Download::new(to, &format!("{} {arch}", payload.version()))?;
    let ExtractedIso { sink, stated } = iso.extract(registry, sink).await?;
    let path = path(to, arch, &stated);
    tokio::task::spawn_blocking(move || {
        if !sink.publish(&path, &stated)? {
            // Nothing but the component itself tells which ISO it has, where the release announces none.
            let there = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
            is_expected(&path, there, stated.sha256)?;
        }
        Ok(path)
    })
    .await?
}

fn path(directory: &Path, arch: Arch, image: &BootImage) -> PathBuf {
    let key = ImageKey { os_build: image.os_build.clone(), arch, kind: ImageKind::Full };
    directory.join(key.file_name())
}

/// The ISO, if it is there already. Whatever else has its name is left alone.
async fn find(directory: &Path, arch: Arch, image: &BootImage) -> anyhow::Result<Option<PathBuf>> {
    let (path, expected) = (path(directory, arch, image), image.sha256);
    tokio::task::spawn_blocking(move || match File::open(&path) {
        Ok(file) => is_expected(&path, file, expected).map(|()| Some(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    })
    .await?
}

fn is_expected(path: &Path, file: File, expected: Sha256) -> anyhow::Result<()> {
    let actual = image_store::sha256(file).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        actual == expected,
        "{} is there, but its sha256 is {actual}, not {expected}: move it away",
        path.display()
    );
    Ok(())
}
