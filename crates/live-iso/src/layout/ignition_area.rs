use std::fmt;

use super::metadata::{self, IGNINFO, IgnInfo};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt, Volume};

/// The file that is the area where nothing describes one.
const IGNITION_IMAGE: &str = "images/ignition.img";

/// The bytes of an ISO that boot loaders hand to the kernel as an additional initramfs, made for an Ignition config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnitionArea {
    path: String,
    extent: Extent,
    source: IgnitionAreaSource,
}

/// How an [`IgnitionArea`] was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IgnitionAreaSource {
    /// `coreos/igninfo.json` describes it.
    IgnInfo,
    /// It is the file `images/ignition.img`.
    ByName,
}

impl IgnitionArea {
    /// Where it is.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// How it was found.
    pub fn source(&self) -> IgnitionAreaSource {
        self.source
    }

    pub(super) fn find<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
    ) -> Result<Option<Self>, Error> {
        let area = if let Some(info) = metadata::read::<IgnInfo, R>(source, volume, IGNINFO)? {
            Self::described_by(&info, volume)?
        } else {
            let Some(file) = volume.find(IGNITION_IMAGE) else { return Ok(None) };
            Self {
                path: IGNITION_IMAGE.to_owned(),
                extent: file.extent()?,
                source: IgnitionAreaSource::ByName,
            }
        };
        source.require(&area, area.extent)?;
        Ok(Some(area))
    }

    fn described_by(info: &IgnInfo, volume: &Volume) -> Result<Self, Error> {
        let bad_area = |problem| Error::BadArea { described_by: IGNINFO, area: name(&info.file), problem };
        let file = volume.find(&info.file).ok_or_else(|| bad_area("there is no such file"))?.extent()?;
        let offset = info.offset.unwrap_or(0);
        let extent = match info.length {
            Some(len) => file.part(offset, len),
            None => file.len.checked_sub(offset).and_then(|len| file.part(offset, len)),
        };
        Ok(Self {
            path: info.file.clone(),
            extent: extent.ok_or_else(|| bad_area("it ends beyond the file"))?,
            source: IgnitionAreaSource::IgnInfo,
        })
    }
}

impl fmt::Display for IgnitionArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.path))
    }
}

fn name(path: &str) -> String {
    format!("the Ignition area in {path:?}")
}
