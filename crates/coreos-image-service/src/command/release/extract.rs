//! `release extract`: the live ISOs of a release as files.

use std::fs::{File, Permissions};
use std::io::{self, Seek as _, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use coreos_names::{Arch, ImageKind, Sha256, WithCauses};
use image_store::ImageKey;
use live_iso::Layout;
use oci_registry::{Config, Registry};
use release_payload::{BootImage, ExtractedIso, IsoSink, LiveIso, Payload};
use rustix::fs::FallocateFlags;
use sha2::Digest as _;
use tempfile::NamedTempFile;

use super::Release;
use super::progress::Progress;
use crate::command::signals::Signals;

/// Brings the ISOs of these architectures, or of all that the release has, into a directory, and prints their paths. One
/// that cannot be had keeps no other from being fetched.
pub(super) fn extract(
    registry: Config,
    release: &Release<'_>,
    arches: &[Arch],
    to: &Path,
) -> anyhow::Result<()> {
    ensure!(to.is_dir(), "{} is not a directory", to.display());
    tokio::runtime::Runtime::new().context("cannot start")?.block_on(async {
        let registry = Registry::new(registry)?;
        let extracting = async {
            let payload = release.resolve(&registry).await?;
            let arches = if arches.is_empty() { payload.arches() } else { arches };
            let mut failed = 0;
            for &arch in arches {
                match extract_one(&registry, &payload, arch, to).await {
                    Ok(path) => println!("{}", path.display()),
                    Err(error) => {
                        failed += 1;
                        eprintln!("{arch}: {}", WithCauses(error.as_ref()));
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
        eprintln!("{}: already there, sha256 {}", path.display(), forecast.sha256);
        return Ok(path);
    }
    let mut iso = LiveIso::locate(registry, payload, arch).await?;
    let sink = Download::new(to, &format!("{} {arch}", payload.version()))?;
    let ExtractedIso { sink, stated } = iso.extract(registry, sink).await?;
    let to = to.to_owned();
    tokio::task::spawn_blocking(move || sink.publish(&to, arch, &stated)).await?
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

/// An ISO on its way, under a name that says so.
struct Download {
    file: NamedTempFile,
    hasher: sha2::Sha256,
    progress: Progress,
}

impl Download {
    fn new(directory: &Path, name: &str) -> anyhow::Result<Self> {
        let file = tempfile::Builder::new()
            .prefix(".extracting-")
            .suffix(".iso")
            // The mode of an ordinary file, from which the system takes what the umask forbids.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)
            .with_context(|| format!("cannot write into {}", directory.display()))?;
        Ok(Self { file, hasher: sha2::Sha256::new(), progress: Progress::new(name) })
    }

    /// Gives the file its name, if it is what the release states.
    fn publish(self, directory: &Path, arch: Arch, stated: &BootImage) -> anyhow::Result<PathBuf> {
        let Self { file, hasher, progress } = self;
        drop(progress);
        let actual = Sha256::new(hasher.finalize());
        ensure!(
            actual == stated.sha256,
            "the ISO's sha256 is {actual}; the release states {}",
            stated.sha256
        );
        Layout::read(file.as_file()).context("the ISO is none that can be served")?;
        let path = path(directory, arch, stated);
        let cannot_write = || format!("cannot write {}", path.display());
        // Otherwise the name could outlive a loss of power, and the bytes not.
        file.as_file().sync_all().with_context(cannot_write)?;
        match file.persist_noclobber(&path) {
            // Nothing but the component itself tells which ISO it has, where the release announces none.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                let there = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
                is_expected(&path, there, stated.sha256)?;
                return Ok(path);
            }
            persisted => persisted.with_context(cannot_write)?,
        };
        File::open(directory).and_then(|directory| directory.sync_all()).with_context(cannot_write)?;
        Ok(path)
    }
}

impl IsoSink for Download {
    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.file.as_file_mut().set_len(0)?;
        self.file.rewind()?;
        self.hasher = sha2::Sha256::new();
        self.progress.begin(size);
        // A disk that is too small says so before a gigabyte has come. Not every file system can tell.
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, size) {
            Err(rustix::io::Errno::NOSPC) => Err(rustix::io::Errno::NOSPC.into()),
            _ => Ok(()),
        }
    }
}

impl Write for Download {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.file.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.progress.add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
