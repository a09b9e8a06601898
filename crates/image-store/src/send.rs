//! Bytes of an image that go to a socket without passing through this process.

use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;

use live_iso::Extent;
use rustix::io::{Errno, ReadWriteFlags};

use crate::image::Lease;

/// How far apart the bytes are by which it is told whether an extent is in memory: as much as the system reads ahead.
const PROBED: usize = 128 * 1024;

impl Lease {
    /// Whether the system has `extent` in memory, as far as a byte of every 128 KiB and the last one tell, so that
    /// sending it does not wait for the disk. Where the file system cannot tell, the answer is no.
    pub fn is_cached(&self, extent: Extent) -> bool {
        let Some(last) = extent.len.checked_sub(1) else { return true };
        (0..last).step_by(PROBED).chain([last]).all(|within| {
            let mut byte = [0];
            let mut buffers = [IoSliceMut::new(&mut byte)];
            let offset = extent.offset.saturating_add(within);
            let read = rustix::io::preadv2(self.file(), &mut buffers, offset, ReadWriteFlags::NOWAIT);
            read == Ok(1)
        })
    }

    /// Sends bytes from the beginning of `extent` to a socket that does not block, and says how many
    /// ([`io::ErrorKind::WouldBlock`] if it takes none now).
    pub fn send_to(&self, socket: impl AsFd, extent: Extent) -> io::Result<usize> {
        let len = usize::try_from(extent.len).unwrap_or(usize::MAX);
        let mut offset = extent.offset;
        loop {
            match rustix::fs::sendfile(&socket, self.file(), Some(&mut offset), len) {
                Ok(0) if len > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::INTR) => {}
                sent => return Ok(sent?),
            }
        }
    }
}
