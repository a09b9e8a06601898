//! An ISO of which only some parts are there, and zeros everywhere else.

use std::io;

use live_iso::ReadAt;

pub(crate) struct Sparse<'a> {
    pub(crate) size: u64,
    /// What is there, and where. Of parts that overlap the later one counts.
    pub(crate) parts: Vec<(u64, &'a [u8])>,
}

impl ReadAt for Sparse<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf.fill(0);
        for (at, bytes) in self.parts.iter().copied() {
            let start = at.max(offset);
            let end = (at + bytes.len() as u64).min(offset + buf.len() as u64);
            if start < end {
                let index = |position: u64, from: u64| (position - from) as usize;
                buf[index(start, offset)..index(end, offset)]
                    .copy_from_slice(&bytes[index(start, at)..index(end, at)]);
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}
