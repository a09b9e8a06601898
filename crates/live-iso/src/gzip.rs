//! One gzip encoder for all that is packed here, so that the same input makes the same bytes on every replica.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

const UNKNOWN_OPERATING_SYSTEM: u8 = 255;

/// A gzip stream that depends on nothing but what is written into it: no time, no name.
pub(crate) fn encoder<W: Write>(out: W) -> GzEncoder<W> {
    GzBuilder::new().mtime(0).operating_system(UNKNOWN_OPERATING_SYSTEM).write(out, Compression::default())
}
