//! What a minimal image is made from. It is read together with the layout, so that making one reads nothing.

use std::sync::Arc;

use coreos_names::WithCauses;

use super::boot_config::{self, BootConfig};
use crate::embed_headers::EmbedHeaders;
use crate::read_at::Source;
use crate::volume::Head;
use crate::{Error, Extent, File, ReadAt, Volume};

/// Real files have up to 4 KiB.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// Real images have one or two.
const CONFIGS_MAX: usize = 8;
/// Real images have none.
const OTHER_CONFIGS_MAX: usize = 64;

/// What other tools pack minimal images with: of no use in one.
const PACKED_MINIMAL_ISO: &str = "coreos/miniso.dat";
pub(super) const KARGS: &str = "coreos/kargs.json";

/// All of an ISO that a minimal image of it has and that is not just copied. Read once, some 20 to 200 KiB.
pub(crate) struct MinimalSource {
    pub(super) head: Head,
    pub(super) packed_minimal_iso: Option<Extent>,
    pub(super) configs: Vec<BootConfig>,
    pub(super) kargs_json: Option<(Extent, Vec<u8>)>,
    pub(super) headers: EmbedHeaders,
    /// The file that holds the default kernel arguments of which [`EmbedHeaders`] tell.
    pub(super) default_arguments: Option<Extent>,
}

impl MinimalSource {
    /// Reads it. That an ISO has no such parts, or too much of them, is no error of the ISO, but a reason.
    pub(crate) fn read<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
        headers: EmbedHeaders,
    ) -> Result<Result<Arc<Self>, Arc<str>>, Error> {
        match Self::find(source, volume, headers) {
            Ok(found) => Ok(Ok(Arc::new(found))),
            Err(error) if error.is_read_failure() => Err(error),
            Err(error) => Ok(Err(WithCauses(&error).to_string().into())),
        }
    }

    fn find<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
        headers: EmbedHeaders,
    ) -> Result<Self, Error> {
        let head = Head::read(source)?;
        let file = |path| volume.find(path).map(File::extent).transpose();
        let configs = boot_configs(source, volume)?;
        let kargs_json = match file(KARGS)? {
            Some(extent) => Some((extent, source.read(KARGS, extent, TEXT_BYTES_MAX)?)),
            None => None,
        };
        let default_arguments = headers.kernel_arguments.as_ref().and_then(|header| {
            let starts_there =
                |extent: &Extent| extent.offset == header.default_arguments.offset && extent.len > 0;
            volume.files().filter_map(|file| file.extent().ok()).find(starts_there)
        });
        Ok(Self {
            head,
            packed_minimal_iso: file(PACKED_MINIMAL_ISO)?.filter(|extent| extent.len > 0),
            configs,
            kargs_json,
            headers,
            default_arguments,
        })
    }
}

/// The configurations of boot loaders. It is an error if there is one that nobody here knows how to edit: with the boot
/// loader that reads it, the image would not boot.
fn boot_configs<R: ReadAt + ?Sized>(
    source: &Source<'_, R>,
    volume: &Volume,
) -> Result<Vec<BootConfig>, Error> {
    let mut configs: Vec<BootConfig> = Vec::new();
    let mut others = Vec::new();
    for file in volume.files().filter(|file| BootConfig::is_at(file.path()) && file.size() > 0) {
        let extent = file.extent()?;
        if configs.iter().any(|config| config.extent == extent) {
            continue;
        }
        if configs.len() == CONFIGS_MAX {
            let what = "configurations of boot loaders";
            return Err(Error::TooMany { what, max: CONFIGS_MAX as u64 });
        }
        let text = String::from_utf8(source.read(file.path(), extent, TEXT_BYTES_MAX)?)
            .map_err(|_| Error::Malformed { what: file.path().to_owned(), problem: "it is no text" })?;
        match BootConfig::new(file.path(), extent, text) {
            Some(config) => configs.push(config),
            None => others.push(file),
        }
    }
    let is_other = |file: &&File| {
        !BootConfig::is_at(file.path()) && BootConfig::may_be_at(file.path()) && file.size() <= TEXT_BYTES_MAX
    };
    others.extend(volume.files().filter(is_other));
    if others.len() > OTHER_CONFIGS_MAX {
        let what = "files that may be configurations of boot loaders";
        return Err(Error::TooMany { what, max: OTHER_CONFIGS_MAX as u64 });
    }
    for file in others {
        let extent = file.extent()?;
        if configs.iter().any(|config| config.extent == extent) {
            continue;
        }
        let text = source.read(file.path(), extent, TEXT_BYTES_MAX)?;
        if boot_config::names_kernel(&String::from_utf8_lossy(&text)) {
            let problem = "it starts a kernel in a way that is not understood";
            return Err(Error::Malformed { what: file.path().to_owned(), problem });
        }
    }
    Ok(configs)
}

/// Its bytes are of no use in a log.
impl std::fmt::Debug for MinimalSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MinimalSource").field("head", &self.head).finish_non_exhaustive()
    }
}
