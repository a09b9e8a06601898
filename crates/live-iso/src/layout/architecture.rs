//! Which architecture an ISO is for. No file says so; but the kernel does, or else what boot loaders there are.

use std::io::Read as _;

use coreos_names::Arch;
use flate2::bufread::GzDecoder;

use crate::read_at::Source;
use crate::{Error, Extent, ReadAt, Volume};

/// Files that only the ISOs of one architecture have. All those of aarch64 are in others too.
const BOOT_FILES: [(&str, Arch); 3] = [
    ("isolinux/isolinux.bin", Arch::X86_64),
    ("images/cdboot.img", Arch::S390x),
    ("ppc/bootinfo.txt", Arch::Ppc64le),
];

/// As much of a kernel as most formats need to be told.
const HEAD: u64 = 4096;
/// Where a PE header may be; real ones follow within some hundred bytes.
const PE_MAX: u64 = 1 << 20;

/// The architecture, if the kernel's format tells it, or if not, a boot loader.
pub(super) fn find<R: ReadAt + ?Sized>(
    source: &Source<'_, R>,
    volume: &Volume,
    kernel: Extent,
) -> Result<Option<Arch>, Error> {
    let mut by_files = BOOT_FILES.iter().filter(|(path, _)| volume.find(path).is_some());
    let by_file = by_files.next().map(|(_, arch)| *arch).filter(|_| by_files.next().is_none());
    Ok(of_kernel(source, kernel)?.or(by_file))
}

fn of_kernel<R: ReadAt + ?Sized>(source: &Source<'_, R>, kernel: Extent) -> Result<Option<Arch>, Error> {
    // Up to `len` bytes at `offset`.
    let read = |offset: u64, len: u64| {
        let left = kernel.len.saturating_sub(offset);
        let part = kernel.part(offset, len.min(left)).unwrap_or(Extent { len: 0, ..kernel });
        source.read("the kernel", part, HEAD)
    };
    let head = read(0, HEAD)?;
    if let Some(arch) = of_head(&head) {
        return Ok(Some(arch));
    }
    match pe_offset(&head).filter(|offset| *offset <= PE_MAX) {
        Some(offset) => Ok(of_pe(&read(offset, 6)?)),
        None => Ok((read(0x1_0008, 6)? == b"S390EP").then_some(Arch::S390x)),
    }
}

/// What the first bytes of a kernel tell.
fn of_head(head: &[u8]) -> Option<Arch> {
    const ELF_64_LITTLE_ENDIAN: &[u8] = b"\x7fELF\x02\x01";
    const ELF_PPC64: &[u8] = &[21, 0];
    let at = |offset: usize, bytes: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(bytes));
    if at(0x202, b"HdrS") && at(0x1fe, &[0x55, 0xaa]) {
        Some(Arch::X86_64)
    } else if is_arm64(head) || at(0, &[0x1f, 0x8b]) && is_arm64(&gunzip(head)) {
        Some(Arch::Arm64)
    } else if at(0, ELF_64_LITTLE_ENDIAN) && at(18, ELF_PPC64) {
        Some(Arch::Ppc64le)
    } else {
        None
    }
}

fn is_arm64(image: &[u8]) -> bool {
    image.get(56..60) == Some(b"ARM\x64")
}

/// Some of the first bytes of a compressed kernel; aarch64 boots those too.
fn gunzip(head: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // That the input ends early is no surprise, and what was unpacked until then is enough.
    let _ = GzDecoder::new(head).take(64).read_to_end(&mut bytes);
    bytes
}

/// Where the PE header of a kernel is that UEFI can start, such as one that unpacks itself.
fn pe_offset(head: &[u8]) -> Option<u64> {
    let offset = head.strip_prefix(b"MZ")?.get(0x3a..)?.first_chunk().copied()?;
    Some(u64::from(u32::from_le_bytes(offset)))
}

fn of_pe(header: &[u8]) -> Option<Arch> {
    match header {
        [b'P', b'E', 0, 0, 0x64, 0x86] => Some(Arch::X86_64),
        [b'P', b'E', 0, 0, 0x64, 0xaa] => Some(Arch::Arm64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use coreos_names::Arch;

    use super::of_kernel;
    use crate::Extent;
    use crate::read_at::Source;

    fn kernel(len: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut kernel = vec![0; len];
        for (at, bytes) in parts {
            kernel[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        kernel
    }

    fn found(kernel: &[u8]) -> Option<Arch> {
        // With something before and behind it, which must not be looked at.
        let iso = [b"MZ", kernel, &[b'P'; 4096]].concat();
        of_kernel(&Source::new(&iso).unwrap(), Extent { offset: 2, len: kernel.len() as u64 }).unwrap()
    }

    #[test]
    fn kernels_tell_their_architecture() {
        let arm64 = kernel(64, &[(0, b"MZ"), (56, b"ARM\x64")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&[&arm64[..], &[7; 9000]].concat()).unwrap();
        let pe = |machine: &[u8]| {
            kernel(9000, &[(0, b"MZ"), (60, &5000_u32.to_le_bytes()), (5000, b"PE\0\0"), (5004, machine)])
        };
        for (kernel, arch) in [
            (kernel(5000, &[(0x1fe, &[0x55, 0xaa]), (0x202, b"HdrS")]), Some(Arch::X86_64)),
            (pe(&[0x64, 0x86]), Some(Arch::X86_64)),
            (pe(&[0x64, 0xaa]), Some(Arch::Arm64)),
            (arm64, Some(Arch::Arm64)),
            (gzip.finish().unwrap(), Some(Arch::Arm64)),
            (kernel(64, &[(0, b"\x7fELF\x02\x01"), (18, &[21, 0])]), Some(Arch::Ppc64le)),
            (kernel(0x1_0100, &[(0x1_0008, b"S390EP")]), Some(Arch::S390x)),
            (kernel(0x1_000b, &[(0x1_0008, b"S39")]), None),
            (kernel(64, &[(0, b"\x7fELF\x02\x01"), (18, &[62, 0])]), None),
            (kernel(5000, &[(0, b"MZ"), (60, &[0xff; 4])]), None),
            (kernel(62, &[(0, b"MZ")]), None),
            (vec![0x1f, 0x8b, 8], None),
            (pe(&[0, 0])[..5003].to_vec(), None),
            (vec![], None),
        ] {
            assert_eq!(found(&kernel), arch, "{:?}", &kernel[..kernel.len().min(64)]);
        }
    }
}
