//! Headers at the end of the system area, which describe the embed areas of images built from 2020 to January 2022:
//!
//! ```text
//! 32672  `coreKarg`  length of each area  offset of the default arguments  six offsets of areas, of which 0 is none
//! 32744  `coreiso+`  offset of the Ignition area  its length
//! ```
//!
//! Numbers are little-endian and have eight bytes; offsets count from the start of the ISO. Images for s390x never had
//! the headers. Those for ppc64le have a `coreKarg` without areas, as their builder moved `grub.cfg` and lost track of it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::read_at::Source;
use crate::{Error, Extent, File, ReadAt, Volume};

const KERNEL_ARGUMENTS: Extent = Extent { offset: 32_672, len: 72 };
const IGNITION: Extent = Extent { offset: 32_744, len: 24 };

const KERNEL_ARGUMENTS_MAGIC: &[u8] = b"coreKarg";
const IGNITION_MAGIC: &[u8] = b"coreiso+";

pub(crate) const KERNEL_ARGUMENTS_HEADER: &str = "the coreKarg header";
pub(crate) const IGNITION_HEADER: &str = "the coreiso+ header";

/// The headers of an ISO.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EmbedHeaders {
    pub(crate) ignition: Option<Extent>,
    pub(crate) kernel_arguments: Option<KernelArgumentsHeader>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KernelArgumentsHeader {
    /// The arguments that the ISO was built with, filled up like an area.
    pub(crate) default_arguments: Extent,
    pub(crate) areas: Vec<Extent>,
}

impl EmbedHeaders {
    pub(crate) fn read<R: ReadAt + ?Sized>(source: &Source<'_, R>) -> Result<Self, Error> {
        let extent = Extent { len: KERNEL_ARGUMENTS.len + IGNITION.len, ..KERNEL_ARGUMENTS };
        Ok(Self::parse(&source.read("the headers in the system area", extent, extent.len)?))
    }

    fn parse(headers: &[u8]) -> Self {
        let (kernel_arguments, ignition) = headers.split_at_checked(72).unwrap_or_default();
        Self {
            ignition: numbers(ignition, IGNITION_MAGIC)
                .and_then(|numbers| numbers.first_chunk().copied())
                .map(|[offset, len]| Extent { offset, len }),
            kernel_arguments: numbers(kernel_arguments, KERNEL_ARGUMENTS_MAGIC)
                .as_deref()
                .and_then(KernelArgumentsHeader::new),
        }
    }

    /// What takes the place of the headers, by offset, when everything has moved. A header that would then be wrong is
    /// blanked. `size` is that of each area for kernel arguments; `places` leads from old to new offsets.
    pub(crate) fn moved(
        &self,
        ignition: Option<Extent>,
        size: u64,
        places: &BTreeMap<u64, u64>,
    ) -> Vec<(u64, Bytes)> {
        let mut headers = Vec::new();
        if self.ignition.is_some() {
            let header = ignition.map(|area| encode(IGNITION_MAGIC, [area.offset, area.len]));
            headers.push(placed(IGNITION, header));
        }
        if let Some(old) = &self.kernel_arguments {
            let offsets = [old.default_arguments].into_iter().chain(old.areas.iter().copied());
            let offsets: Option<Vec<u64>> =
                offsets.map(|extent| places.get(&extent.offset).copied()).collect();
            let header =
                offsets.map(|offsets| encode(KERNEL_ARGUMENTS_MAGIC, [size].into_iter().chain(offsets)));
            headers.push(placed(KERNEL_ARGUMENTS, header));
        }
        headers
    }
}

fn encode(magic: &[u8], numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    magic.iter().copied().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
}

/// A header, filled up, or the blank that takes its place.
fn placed(place: Extent, header: Option<Vec<u8>>) -> (u64, Bytes) {
    let mut header = header.unwrap_or_default();
    header.resize(usize::try_from(place.len).unwrap_or(0), 0);
    (place.offset, header.into())
}

impl KernelArgumentsHeader {
    fn new(numbers: &[u64]) -> Option<Self> {
        let [len, default_arguments, areas @ ..] = numbers else { return None };
        let extent = |offset: &u64| Extent { offset: *offset, len: *len };
        Some(Self {
            default_arguments: extent(default_arguments),
            areas: areas.iter().take_while(|offset| **offset != 0).map(extent).collect(),
        })
    }
}

/// The numbers that follow `magic`, if `header` begins with it.
fn numbers(header: &[u8], magic: &[u8]) -> Option<Vec<u64>> {
    let (words, _) = header.strip_prefix(magic)?.as_chunks();
    Some(words.iter().copied().map(u64::from_le_bytes).collect())
}

/// The file that `extent` lies in.
pub(crate) fn file_around(volume: &Volume, extent: Extent) -> Option<&File> {
    volume.files().find(|file| file.extent().is_ok_and(|file| file.contains(extent)))
}

#[cfg(test)]
mod tests {
    use super::{EmbedHeaders, KernelArgumentsHeader};
    use crate::Extent;

    /// As in an RHCOS 4.7 image.
    fn headers() -> Vec<u8> {
        let mut headers = b"coreKarg".to_vec();
        for number in [1131_u64, 90_112, 94_026, 365_415, 0, 0, 0, 0] {
            headers.extend(number.to_le_bytes());
        }
        headers.extend(b"coreiso+");
        headers.extend(96_256_u64.to_le_bytes());
        headers.extend(262_144_u64.to_le_bytes());
        headers
    }

    #[test]
    fn headers_are_read() {
        let area = |offset| Extent { offset, len: 1131 };
        let expected = EmbedHeaders {
            ignition: Some(Extent { offset: 96_256, len: 262_144 }),
            kernel_arguments: Some(KernelArgumentsHeader {
                default_arguments: area(90_112),
                areas: vec![area(94_026), area(365_415)],
            }),
        };
        assert_eq!(EmbedHeaders::parse(&headers()), expected);
    }

    #[test]
    fn an_area_with_offset_0_is_none() {
        let mut headers = headers();
        headers[24..32].fill(0);
        assert_eq!(EmbedHeaders::parse(&headers).kernel_arguments.unwrap().areas, []);
        headers[24..72].fill(1);
        assert_eq!(EmbedHeaders::parse(&headers).kernel_arguments.unwrap().areas.len(), 6);
    }

    #[test]
    fn anything_else_is_no_header() {
        let mut headers = headers();
        headers[4] = b'k';
        headers[72] = 0;
        assert_eq!(EmbedHeaders::parse(&headers), EmbedHeaders::default());
        assert_eq!(EmbedHeaders::parse(&[0; 96]), EmbedHeaders::default());
        assert_eq!(EmbedHeaders::parse(b"coreKarg"), EmbedHeaders::default());
    }
}
