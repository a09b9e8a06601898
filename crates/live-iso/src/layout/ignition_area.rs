//! The area for an Ignition config. `coreos/igninfo.json` describes it, before that was invented a header in the system
//! area, and where there is neither it is the file `images/ignition.img`.
//!
//! Reference: coreos-installer. On s390x the area is a part of `images/cdboot.img`, and nothing older than the JSON file
//! tells where.

use std::fmt;

use super::metadata::{self, IGNINFO, IgnInfo};
use crate::embed_headers::{EmbedHeaders, IGNITION_HEADER, file_around};
use crate::read_at::Source;
use crate::{Error, Extent, ReadAt, Volume};

/// The file that is the area where nothing describes one.
const IGNITION_IMAGE: &str = "images/ignition.img";
/// All that s390x boots of an ISO. Until 2022 there was an [`IGNITION_IMAGE`] beside it, which nothing ever loaded.
const BOOT_IMAGE_S390X: &str = "images/cdboot.img";

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
    /// A `coreiso+` header in the system area describes it, as in images of 2020 and 2021.
    Header,
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
        headers: &EmbedHeaders,
    ) -> Result<Option<Self>, Error> {
        let info = metadata::read::<IgnInfo, R>(source, volume, IGNINFO)?;
        let described = info.map(|info| Self::described_by(&info, volume)).transpose()?;
        let headed = headers.ignition.map(|extent| Self::headed(extent, volume)).transpose()?;
        let named = Self::named(volume)?;
        let other = described.as_ref().map(|area| (IGNINFO, area));
        let other = other.or_else(|| named.as_ref().map(|area| (IGNITION_IMAGE, area)));
        if let (Some(headed), Some((name, other))) = (&headed, other)
            && headed.extent != other.extent
        {
            return Err(Error::Contradiction {
                first: name,
                second: IGNITION_HEADER,
                about: "where the Ignition area is",
            });
        }
        let area = described.or(headed).or(named);
        if let Some(area) = &area {
            source.require(area, area.extent)?;
        }
        Ok(area)
    }

    fn headed(extent: Extent, volume: &Volume) -> Result<Self, Error> {
        let file = file_around(volume, extent).ok_or_else(|| Error::BadArea {
            described_by: IGNITION_HEADER,
            area: format!("an Ignition area of {} bytes at {}", extent.len, extent.offset),
            problem: "it is not within a file",
        })?;
        Ok(Self { path: file.path().to_owned(), extent, source: IgnitionAreaSource::Header })
    }

    fn named(volume: &Volume) -> Result<Option<Self>, Error> {
        if volume.find(BOOT_IMAGE_S390X).is_some() {
            return Ok(None);
        }
        let Some(file) = volume.find(IGNITION_IMAGE) else { return Ok(None) };
        let path = IGNITION_IMAGE.to_owned();
        Ok(Some(Self { path, extent: file.extent()?, source: IgnitionAreaSource::ByName }))
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
