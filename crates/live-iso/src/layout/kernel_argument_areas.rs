//! The areas that hold the kernel's command line, one for each boot loader, as `coreos/kargs.json` describes them:
//!
//! ```text
//! linux /images/pxeboot/vmlinuz ARGUMENTS\n##########...####### COREOS_KARG_EMBED_AREA
//!                               |<------------- size ------------>|
//!                                        `end`  `pad` ...
//! ```
//!
//! Reference: coreos-installer, whose limits these are. An area may hold other arguments than the default ones, and
//! then it is these that further ones are added to.

use std::fmt;

use bytes::Bytes;

use super::metadata::{self, KARGS, Kargs, KargsFile};
use crate::read_at::Source;
use crate::{Error, Extent, KernelArguments, PlanError, ReadAt, Volume};

/// The longest command line that the kernel takes on x86_64 and aarch64; no image has more on s390x.
pub(crate) const SIZE_MAX: u64 = 2048;
/// Real images have one or two.
const AREAS_MAX: usize = 8;

const DEFAULT_PAD: u8 = b'#';
const DEFAULT_END: u8 = b'\n';

/// All areas of an ISO that hold kernel arguments. They hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelArgumentAreas {
    default_arguments: String,
    areas: Vec<KernelArgumentArea>,
    say_how_to_fill: bool,
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
}

impl KernelArgumentAreas {
    /// The arguments that the ISO was built with.
    pub fn default_arguments(&self) -> &str {
        &self.default_arguments
    }

    /// The arguments that the ISO holds now.
    pub fn current_arguments(&self) -> &str {
        self.areas.first().map_or("", KernelArgumentArea::arguments)
    }

    /// The areas, at least one, in the order `coreos/kargs.json` has them.
    pub fn areas(&self) -> &[KernelArgumentArea] {
        &self.areas
    }

    pub(super) fn say_how_to_fill(&self) -> bool {
        self.say_how_to_fill
    }

    pub(super) fn find<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
    ) -> Result<Option<Self>, Error> {
        let Some(kargs) = metadata::read::<Kargs, R>(source, volume, KARGS)? else { return Ok(None) };
        let unusable = |problem| Error::Malformed { what: KARGS.to_owned(), problem };
        if kargs.size > SIZE_MAX {
            return Err(Error::TooLarge {
                what: "each area for kernel arguments".to_owned(),
                len: kargs.size,
                max: SIZE_MAX,
            });
        }
        if kargs.default.len() as u64 > kargs.size {
            return Err(unusable("its default arguments do not fit into the areas"));
        }
        if kargs.files.is_empty() || kargs.files.len() > AREAS_MAX {
            return Err(unusable("it describes no area, or more than there are boot loaders"));
        }
        let say_how_to_fill = kargs.files.iter().all(|file| file.pad.is_some() && file.end.is_some());
        let areas: Vec<_> = kargs
            .files
            .into_iter()
            .map(|file| KernelArgumentArea::find(source, volume, file, kargs.size))
            .collect::<Result<_, _>>()?;
        let areas = Self { default_arguments: kargs.default, areas, say_how_to_fill };
        areas.read_arguments(source)?;
        Ok(Some(areas))
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

    fn find<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
        described: KargsFile,
        size: u64,
    ) -> Result<Self, Error> {
        let KargsFile { path, offset, pad, end } = described;
        let one_byte = |filling: Option<String>, default| match filling.unwrap_or_default().as_bytes() {
            [] => Ok(default),
            [byte] => Ok(*byte),
            _ => Err(bad_area(&path, "it is filled with more than one byte")),
        };
        let (pad, end) = (one_byte(pad, DEFAULT_PAD)?, one_byte(end, DEFAULT_END)?);
        let file = volume.find(&path).ok_or_else(|| bad_area(&path, "there is no such file"))?.extent()?;
        let extent = file.part(offset, size).ok_or_else(|| bad_area(&path, "it ends beyond the file"))?;
        let area = Self { path, extent, text: String::new(), pad, end };
        Ok(Self { text: area.read_text(source)?, ..area })
    }

    fn read_text<R: ReadAt + ?Sized>(&self, source: &Source<'_, R>) -> Result<String, Error> {
        let mut bytes = source.read(self, self.extent, SIZE_MAX)?;
        bytes.truncate(text_len(&bytes, self.pad, self.end));
        let text = String::from_utf8(bytes)
            .map_err(|_| bad_area(&self.path, "it holds something else than text"))?;
        let text = text.trim_end_matches(char::is_control);
        if text.contains(char::is_control) {
            return Err(bad_area(&self.path, "it holds more than one line"));
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
        if taken + len > size {
            return Err(PlanError::KernelArgumentsTooLong { len, room: size.saturating_sub(taken) });
        }
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(self.text.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(arguments.as_str().as_bytes());
        bytes.push(self.end);
        bytes.resize(size, self.pad);
        Ok(bytes.into())
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

fn bad_area(path: &str, problem: &'static str) -> Error {
    Error::BadArea { described_by: KARGS, area: name(path), problem }
}

/// How many of an area's bytes are arguments, and not what ends and fills it up.
fn text_len(area: &[u8], pad: u8, end: u8) -> usize {
    let without =
        |area: &[u8], filling: u8| area.iter().rposition(|byte| *byte != filling).map_or(0, |last| last + 1);
    let ended = area.get(..without(area, pad)).unwrap_or_default();
    without(ended, end)
}
