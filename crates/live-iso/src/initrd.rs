//! The initramfs of a host that boots over the network, and on s390x the file that tells its address and size.
//!
//! The kernel unpacks any number of archives that follow one another, compressed or not. One that is not compressed
//! has to begin at a multiple of four bytes, so each archive is padded.

use bytes::Bytes;

use crate::read_at::Source;
use crate::{Customization, Error, Extent, Plan, ReadAt, Segment};

const ALIGNMENT: u64 = 4;

/// The initramfs of the ISO, followed by the archives it is customised with.
pub(crate) fn plan(initrd: Extent, customization: &Customization) -> Plan {
    let ignition = customization.ignition.as_ref().map(|archive| Segment::Bytes(archive.as_bytes().clone()));
    let ramdisk = customization.ramdisk.as_ref().map(|archive| Segment::Bytes(archive.as_bytes().clone()));
    let nmstate = customization.nmstate_len.map(|len| Segment::Nmstate(Extent { offset: 0, len }));
    [Some(Segment::Base(initrd)), ignition, ramdisk, nmstate].into_iter().flatten().flat_map(padded).collect()
}

fn padded(archive: Segment) -> [Segment; 2] {
    let len = archive.len();
    let padding = (ALIGNMENT - len % ALIGNMENT) % ALIGNMENT;
    [archive, Segment::Zeros(padding)]
}

/// Where an s390x machine loads its initramfs to: the first half of `images/initrd.addrsize`, two big-endian words of
/// which the second is the address. The other half is the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InitrdAddress([u8; 8]);

impl InitrdAddress {
    pub(crate) fn read<R: ReadAt + ?Sized>(source: &Source<'_, R>, file: Extent) -> Result<Self, Error> {
        const WHAT: &str = "images/initrd.addrsize";
        let bytes = source.read(WHAT, file, 16)?;
        match bytes.first_chunk() {
            Some(address) if bytes.len() == 16 => Ok(Self(*address)),
            _ => Err(Error::Malformed { what: WHAT.to_owned(), problem: "it has not 16 bytes" }),
        }
    }

    /// The file for an initramfs of `size` bytes.
    pub(crate) fn with_size(self, size: u64) -> Plan {
        let file = [self.0, size.to_be_bytes()].concat();
        Plan::from_iter([Segment::Bytes(Bytes::from(file))])
    }
}
