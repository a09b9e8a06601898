//! The areas that hold the kernel's command line, one for each boot loader, or for each entry of its menu:
//!
//! ```text
//! linux /images/pxeboot/vmlinuz ARGUMENTS\n##########...####### COREOS_KARG_EMBED_AREA
//!                               |<------------- size ------------>|
//!                                        `end`  `pad` ...
//! ```
//!
//! `coreos/kargs.json` describes them, before that was invented a header in the system area, and where there is neither,
//! they are found by the marker behind each.
//!
//! Reference: coreos-installer, whose limits these are. An area may hold other arguments than the default ones, and
//! then it is these that further ones are added to.

mod marker;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::metadata::{self, KARGS, Kargs, KargsFile};
use crate::embed_headers::{EmbedHeaders, KERNEL_ARGUMENTS_HEADER, KernelArgumentsHeader, file_around};
use crate::read_at::Source;
use crate::{Error, Extent, File, KernelArguments, PlanError, ReadAt, Volume};

/// The longest command line that the kernel takes on x86_64 and aarch64; no image has more on s390x.
pub(crate) const SIZE_MAX: u64 = 2048;
/// Real images have one or two.
const AREAS_MAX: usize = 8;

/// Real configurations have up to 3 KiB.
const CONFIGURATION_BYTES_MAX: u64 = 64 << 10;

const MARKER: &str = "COREOS_KARG_EMBED_AREA";
/// The arguments that the ISO was built with, in images of 2020 and 2021.
const DEFAULT_ARGUMENTS: &str = ".cmdline";

const DEFAULT_PAD: u8 = b'#';
const DEFAULT_END: u8 = b'\n';

/// All areas of an ISO that hold kernel arguments. They hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelArgumentAreas {
    default_arguments: String,
    areas: Vec<KernelArgumentArea>,
    source: KernelArgumentAreaSource,
    say_how_to_fill: bool,
}

/// How [`KernelArgumentAreas`] were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelArgumentAreaSource {
    /// `coreos/kargs.json` describes them.
    Kargs,
    /// A `coreKarg` header in the system area describes them, as in images of the first half of 2021.
    Header,
    /// Nothing describes them, but the marker `# COREOS_KARG_EMBED_AREA` is there.
    Marker,
}

/// One area that holds kernel arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelArgumentArea {
    path: String,
    extent: Extent,
    /// The arguments it holds, white space around them included: what is added must not change what is there.
    text: String,
    pad: u8,
    end: u8,
    source: KernelArgumentAreaSource,
}

impl KernelArgumentAreas {
    /// The arguments that the ISO was built with; those that it holds now, where nothing tells them.
    pub fn default_arguments(&self) -> &str {
        &self.default_arguments
    }

    /// The arguments that the ISO holds now.
    pub fn current_arguments(&self) -> &str {
        self.areas.first().map_or("", KernelArgumentArea::arguments)
    }

    /// The areas, at least one, in the order in which they are described.
    pub fn areas(&self) -> &[KernelArgumentArea] {
        &self.areas
    }

    /// How they were found.
    pub fn source(&self) -> KernelArgumentAreaSource {
        self.source
    }

    pub(super) fn say_how_to_fill(&self) -> bool {
        self.say_how_to_fill
    }

    pub(super) fn find<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
        headers: &EmbedHeaders,
    ) -> Result<Option<Self>, Error> {
        let header = headers.kernel_arguments.as_ref().filter(|header| !header.areas.is_empty());
        let described = metadata::read::<Kargs, R>(source, volume, KARGS)?
            .map(|kargs| Self::described_by(kargs, source, volume))
            .transpose()?;
        let areas = match (described, header) {
            (Some(areas), header) => {
                if header.is_some_and(|header| !areas.are_those_of(header)) {
                    return Err(Error::Contradiction {
                        first: KARGS,
                        second: KERNEL_ARGUMENTS_HEADER,
                        about: "where the areas for kernel arguments are",
                    });
                }
                Some(areas)
            }
            (None, Some(header)) => Some(Self::headed(header, source, volume)?),
            (None, None) => Self::marked(source, volume)?,
        };
        if let Some(areas) = &areas {
            areas.read_arguments(source)?;
        }
        Ok(areas)
    }

    fn described_by<R: ReadAt + ?Sized>(
        kargs: Kargs,
        source: &Source<'_, R>,
        volume: &Volume,
    ) -> Result<Self, Error> {
        let unusable = |problem| Error::Malformed { what: KARGS.to_owned(), problem };
        require_size(kargs.size)?;
        if kargs.default.len() as u64 > kargs.size {
            return Err(unusable("its default arguments do not fit into the areas"));
        }
        if kargs.files.is_empty() || kargs.files.len() > AREAS_MAX {
            return Err(unusable("it describes no area, or more than there are boot loaders"));
        }
        let say_how_to_fill = kargs.files.iter().all(|file| file.pad.is_some() && file.end.is_some());
        let areas = kargs
            .files
            .into_iter()
            .map(|file| KernelArgumentArea::described_by(file, kargs.size, source, volume))
            .collect::<Result<_, _>>()?;
        let default_arguments = kargs.default;
        Ok(Self { default_arguments, areas, source: KernelArgumentAreaSource::Kargs, say_how_to_fill })
    }

    fn headed<R: ReadAt + ?Sized>(
        header: &KernelArgumentsHeader,
        source: &Source<'_, R>,
        volume: &Volume,
    ) -> Result<Self, Error> {
        let area = |extent: &Extent| {
            require_size(extent.len)?;
            KernelArgumentArea::headed(*extent, volume)?.with_text(source)
        };
        let areas = header.areas.iter().map(area).collect::<Result<_, _>>()?;
        let default = area(&header.default_arguments)?;
        Ok(Self {
            default_arguments: default.arguments().to_owned(),
            areas,
            source: KernelArgumentAreaSource::Header,
            say_how_to_fill: false,
        })
    }

    fn marked<R: ReadAt + ?Sized>(source: &Source<'_, R>, volume: &Volume) -> Result<Option<Self>, Error> {
        let configurations = marker::CONFIGURATIONS.iter().filter_map(|path| volume.find(path));
        let mut areas = Vec::new();
        let mut unmarked = None;
        for file in configurations {
            let marked = KernelArgumentArea::marked(file, source)?;
            if marked.is_empty() {
                unmarked = Some(file.path());
            }
            areas.extend(marked);
        }
        if areas.len() > AREAS_MAX {
            return Err(Error::TooMany { what: "areas for kernel arguments", max: AREAS_MAX as u64 });
        }
        if areas.is_empty() {
            return Ok(None);
        }
        // It would boot with the arguments from one boot loader, and without them from the other.
        if let Some(path) = unmarked {
            let missing = "the marker is missing, which other configurations have";
            return Err(bad_area(KernelArgumentAreaSource::Marker, path, missing));
        }
        let mut areas = Self {
            default_arguments: String::new(),
            areas,
            source: KernelArgumentAreaSource::Marker,
            say_how_to_fill: false,
        };
        areas.default_arguments = match volume.find(DEFAULT_ARGUMENTS) {
            Some(file) => {
                let area = KernelArgumentArea::new(
                    DEFAULT_ARGUMENTS.to_owned(),
                    file.extent()?,
                    KernelArgumentAreaSource::Marker,
                );
                area.with_text(source)?.arguments().to_owned()
            }
            None => areas.current_arguments().to_owned(),
        };
        Ok(Some(areas))
    }

    fn are_those_of(&self, header: &KernelArgumentsHeader) -> bool {
        let sorted = |mut extents: Vec<Extent>| {
            extents.sort_unstable();
            extents
        };
        sorted(self.areas.iter().map(KernelArgumentArea::extent).collect()) == sorted(header.areas.clone())
    }

    /// Reads the arguments that an ISO of the same layout holds now.
    pub(crate) fn read_arguments<R: ReadAt + ?Sized>(&self, source: &Source<'_, R>) -> Result<String, Error> {
        let mut first: Option<(&KernelArgumentArea, String)> = None;
        for area in &self.areas {
            let text = area.read_text(source)?;
            match &first {
                None => first = Some((area, text)),
                Some((other, expected)) if expected.trim() != text.trim() => {
                    return Err(Error::KernelArgumentsDiffer {
                        first: other.path.clone(),
                        second: area.path.clone(),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(first.map(|(_, text)| text.trim().to_owned()).unwrap_or_default())
    }
}

impl KernelArgumentArea {
    /// Where it is.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// The arguments in it.
    pub fn arguments(&self) -> &str {
        self.text.trim()
    }

    fn new(path: String, extent: Extent, source: KernelArgumentAreaSource) -> Self {
        Self { path, extent, text: String::new(), pad: DEFAULT_PAD, end: DEFAULT_END, source }
    }

    fn described_by<R: ReadAt + ?Sized>(
        described: KargsFile,
        size: u64,
        source: &Source<'_, R>,
        volume: &Volume,
    ) -> Result<Self, Error> {
        let KargsFile { path, offset, pad, end } = described;
        let bad_area = |problem| bad_area(KernelArgumentAreaSource::Kargs, &path, problem);
        let one_byte = |filling: Option<String>, default| match filling.unwrap_or_default().as_bytes() {
            [] => Ok(default),
            [byte] => Ok(*byte),
            _ => Err(bad_area("it is filled with more than one byte")),
        };
        let (pad, end) = (one_byte(pad, DEFAULT_PAD)?, one_byte(end, DEFAULT_END)?);
        let file = volume.find(&path).ok_or_else(|| bad_area("there is no such file"))?.extent()?;
        let extent = file.part(offset, size).ok_or_else(|| bad_area("it ends beyond the file"))?;
        Self { pad, end, ..Self::new(path, extent, KernelArgumentAreaSource::Kargs) }.with_text(source)
    }

    fn headed(extent: Extent, volume: &Volume) -> Result<Self, Error> {
        let file = file_around(volume, extent).ok_or_else(|| Error::BadArea {
            described_by: KERNEL_ARGUMENTS_HEADER,
            area: format!("an area for kernel arguments of {} bytes at {}", extent.len, extent.offset),
            problem: "it is not within a file",
        })?;
        Ok(Self::new(file.path().to_owned(), extent, KernelArgumentAreaSource::Header))
    }

    fn marked<R: ReadAt + ?Sized>(file: &File, source: &Source<'_, R>) -> Result<Vec<Self>, Error> {
        let whole = file.extent()?;
        let configuration = source.read(file.path(), whole, CONFIGURATION_BYTES_MAX)?;
        let bad_area = |problem| bad_area(KernelArgumentAreaSource::Marker, file.path(), problem);
        let area = |area: Range<usize>| {
            let extent = Extent { offset: whole.offset + area.start as u64, len: area.len() as u64 };
            require_size(extent.len)?;
            Self::new(file.path().to_owned(), extent, KernelArgumentAreaSource::Marker).with_text(source)
        };
        marker::find(&configuration).map_err(bad_area)?.into_iter().map(area).collect()
    }

    fn with_text<R: ReadAt + ?Sized>(self, source: &Source<'_, R>) -> Result<Self, Error> {
        Ok(Self { text: self.read_text(source)?, ..self })
    }

    fn read_text<R: ReadAt + ?Sized>(&self, source: &Source<'_, R>) -> Result<String, Error> {
        let mut bytes = source.read(self, self.extent, SIZE_MAX)?;
        bytes.truncate(text_len(&bytes, self.pad, self.end));
        let text = String::from_utf8(bytes)
            .map_err(|_| bad_area(self.source, &self.path, "it holds something else than text"))?;
        let text = text.trim_end_matches(char::is_control);
        if text.contains(char::is_control) {
            return Err(bad_area(self.source, &self.path, "it holds more than one line"));
        }
        Ok(text.to_owned())
    }

    /// The arguments in it, with the white space around them.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The area of another image.
    pub(crate) fn moved(&self, extent: Extent, text: String) -> Self {
        Self { extent, text, ..self.clone() }
    }

    /// The whole area with such arguments in it, unless they do not fit.
    pub(crate) fn filled(&self, text: &str, size: u64) -> Option<Bytes> {
        let size = usize::try_from(size).ok().filter(|size| text.len() < *size)?;
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(self.end);
        bytes.resize(size, self.pad);
        Some(bytes.into())
    }

    /// The whole area, with `arguments` behind those that are in it.
    pub(crate) fn with(&self, arguments: &KernelArguments) -> Result<Bytes, PlanError> {
        let size = usize::try_from(self.extent.len).unwrap_or(usize::MAX);
        let len = arguments.as_str().len();
        let blank_and_end = 2;
        let taken = self.text.len() + blank_and_end;
        let too_long = PlanError::KernelArgumentsTooLong { len, room: size.saturating_sub(taken) };
        self.filled(&format!("{} {}", self.text, arguments.as_str()), self.extent.len).ok_or(too_long)
    }
}

impl fmt::Display for KernelArgumentArea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.path))
    }
}

fn name(path: &str) -> String {
    format!("the area for kernel arguments in {path:?}")
}

fn bad_area(source: KernelArgumentAreaSource, path: &str, problem: &'static str) -> Error {
    let described_by = match source {
        KernelArgumentAreaSource::Kargs => KARGS,
        KernelArgumentAreaSource::Header => KERNEL_ARGUMENTS_HEADER,
        KernelArgumentAreaSource::Marker => MARKER,
    };
    Error::BadArea { described_by, area: name(path), problem }
}

fn require_size(len: u64) -> Result<(), Error> {
    if len > SIZE_MAX {
        return Err(Error::TooLarge {
            what: "each area for kernel arguments".to_owned(),
            len,
            max: SIZE_MAX,
        });
    }
    Ok(())
}

/// How many of an area's bytes are arguments, and not what ends and fills it up.
fn text_len(area: &[u8], pad: u8, end: u8) -> usize {
    let without =
        |area: &[u8], filling: u8| area.iter().rposition(|byte| *byte != filling).map_or(0, |last| last + 1);
    let ended = area.get(..without(area, pad)).unwrap_or_default();
    without(ended, end)
}
