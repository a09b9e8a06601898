//! What is in the embed areas of an ISO now. It may differ from what was there when the [`Layout`] was read, so it is
//! read anew.

use crate::initramfs::{self, EmbeddedFile};
use crate::read_at::Source;
use crate::{Error, Layout, ReadAt};

/// Real areas have 256 KiB.
const AREA_BYTES_MAX: u64 = 64 << 20;

/// What is embedded in an ISO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// The files in the Ignition area, sorted by name.
    pub files: Vec<EmbeddedFile>,
    /// The kernel arguments, if the ISO has an area for them.
    pub kernel_arguments: Option<EmbeddedKernelArguments>,
}

/// The kernel arguments in an ISO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedKernelArguments {
    /// Those that it boots with.
    pub current: String,
    /// Those that it was built with.
    pub default: String,
}

/// Reads what is embedded in an ISO now, be it the one that `layout` was read from or a customised copy.
pub fn embedded<R: ReadAt + ?Sized>(iso: &R, layout: &Layout) -> Result<Embedded, Error> {
    let source = Source::new(iso)?;
    let files = match layout.ignition_area() {
        Some(area) => initramfs::unpack(&source.read(area, area.extent(), AREA_BYTES_MAX)?)?,
        None => Vec::new(),
    };
    let kernel_arguments = match layout.kernel_argument_areas() {
        Some(areas) => Some(EmbeddedKernelArguments {
            current: areas.read_arguments(&source)?,
            default: areas.default_arguments().to_owned(),
        }),
        None => None,
    };
    Ok(Embedded { files, kernel_arguments })
}
