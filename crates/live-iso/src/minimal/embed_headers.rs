//! How ISOs of 2020 and 2021 say where embed areas are: two headers at the end of the system area.
//!
//! ```text
//! 32672  coreKarg, length of each area (8), offset of a file with the default arguments (8), up to six offsets of areas
//!        (8 each), of which a zero ends the list
//! 32744  coreiso+, offset of the Ignition area (8), its length (8)
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::Extent;

const KERNEL_ARGUMENTS: u64 = 32_672;
const IGNITION: u64 = 32_744;
const AREAS_MAX: usize = 6;

/// The headers of an ISO, each of which it may lack.
#[derive(Default)]
pub(super) struct EmbedHeaders {
    ignition: Option<Extent>,
    kernel_arguments: Option<KernelArguments>,
}

struct KernelArguments {
    default_arguments: u64,
    areas: Vec<u64>,
}

impl EmbedHeaders {
    pub(super) fn find(system_area: &[u8]) -> Self {
        let header = |at: u64, magic: &[u8], numbers: usize| {
            let at = usize::try_from(at).ok()?;
            let mut header = system_area.get(at..)?.to_vec();
            header.resize(magic.len() + numbers * 8, 0);
            let (start, numbers) = header.split_at(magic.len());
            let number = |bytes: &[u8]| bytes.first_chunk().copied().map(u64::from_le_bytes);
            (start == magic).then(|| numbers.chunks(8).filter_map(number).collect::<Vec<_>>())
        };
        let ignition = header(IGNITION, b"coreiso+", 2);
        let kernel_arguments = header(KERNEL_ARGUMENTS, b"coreKarg", 2 + AREAS_MAX);
        Self {
            ignition: ignition.and_then(|numbers| match *numbers {
                [offset, len] => Some(Extent { offset, len }),
                _ => None,
            }),
            kernel_arguments: kernel_arguments.and_then(|numbers| match &*numbers {
                [_, default_arguments, areas @ ..] => Some(KernelArguments {
                    default_arguments: *default_arguments,
                    areas: areas.iter().copied().take_while(|offset| *offset > 0).collect(),
                }),
                _ => None,
            }),
        }
    }

    /// Where the file with the default kernel arguments begins.
    pub(super) fn default_arguments(&self) -> Option<u64> {
        self.kernel_arguments.as_ref().map(|header| header.default_arguments)
    }

    /// What takes the place of the headers, by offset, when everything has moved. A header that would then be wrong is
    /// blanked. `size` is that of each area for kernel arguments; `places` leads from old to new offsets.
    pub(super) fn moved(
        &self,
        ignition: Option<Extent>,
        size: u64,
        places: &BTreeMap<u64, u64>,
    ) -> Vec<(u64, Bytes)> {
        let mut headers = Vec::new();
        if self.ignition.is_some() {
            let header = ignition.map(|area| encode(b"coreiso+", [area.offset, area.len]));
            headers.push((IGNITION, padded(header.unwrap_or_default(), 2)));
        }
        if let Some(old) = &self.kernel_arguments {
            let offsets = [old.default_arguments].into_iter().chain(old.areas.iter().copied());
            let offsets: Option<Vec<u64>> = offsets.map(|offset| places.get(&offset).copied()).collect();
            let header = offsets.map(|offsets| encode(b"coreKarg", [size].into_iter().chain(offsets)));
            headers.push((KERNEL_ARGUMENTS, padded(header.unwrap_or_default(), 2 + AREAS_MAX)));
        }
        headers
    }
}

fn encode(magic: &[u8], numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    magic.iter().copied().chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
}

fn padded(mut header: Vec<u8>, numbers: usize) -> Bytes {
    header.resize(8 + numbers * 8, 0);
    header.into()
}
