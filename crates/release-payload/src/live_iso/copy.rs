//! The bytes of an ISO on their way into a sink.

use std::io::{self, Read};

use coreos_names::{OsBuild, Sha256};
use sha2::Digest as _;

use super::{Failure, IsoSink};

/// Larger pieces do not make copying faster.
const CHUNK: usize = 256 * 1024;

/// What was seen of an ISO while it was copied.
#[derive(Debug)]
pub(super) struct Copied {
    /// Its SHA-256, where it was asked for.
    pub(super) sha256: Option<Sha256>,
    /// The build that its volume identifier names.
    pub(super) os_build: Option<OsBuild>,
    /// The SHA-256 of whatever else in the same layer has the same name.
    pub(super) another: Option<Sha256>,
}

/// Copies an ISO. Hashing is the sink's business, and done here only on demand: it costs as much as inflating.
pub(super) fn copy_iso(from: &mut dyn Read, to: &mut dyn IsoSink, hashing: bool) -> Result<Copied, Failure> {
    let mut hasher = hashing.then(sha2::Sha256::new);
    let mut head = Vec::with_capacity(VOLUME_ID_END);
    each_chunk(from, |chunk| {
        to.write_all(chunk).map_err(Failure::Sink)?;
        if let Some(hasher) = &mut hasher {
            hasher.update(chunk);
        }
        head.extend_from_slice(&chunk[..chunk.len().min(VOLUME_ID_END - head.len())]);
        Ok(())
    })?;
    let sha256 = hasher.map(|hasher| Sha256::new(hasher.finalize()));
    Ok(Copied { sha256, os_build: named_build(&head), another: None })
}

/// The SHA-256 of what is not copied.
pub(super) fn hash(from: &mut dyn Read) -> Result<Sha256, Failure> {
    let mut hasher = sha2::Sha256::new();
    each_chunk(from, |chunk| {
        hasher.update(chunk);
        Ok(())
    })?;
    Ok(Sha256::new(hasher.finalize()))
}

fn each_chunk(
    from: &mut dyn Read,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Layer(error)),
        }
    }
}

/// The primary volume descriptor, ECMA-119 section 8.4.
const DESCRIPTOR: usize = 16 * 2048;
const VOLUME_ID: usize = DESCRIPTOR + 40;
const VOLUME_ID_END: usize = VOLUME_ID + 32;

/// The build in a volume identifier such as `rhcos-418.94.202511191518-0`. One that fills its field may be cut off.
fn named_build(head: &[u8]) -> Option<OsBuild> {
    let is_primary_descriptor = head.get(DESCRIPTOR..DESCRIPTOR + 6)? == b"\x01CD001";
    let identifier = std::str::from_utf8(head.get(VOLUME_ID..VOLUME_ID_END)?).ok()?;
    let build = identifier.strip_suffix(' ')?.trim_end();
    let (begin, _) = build
        .match_indices('-')
        .find(|&(dash, _)| build[dash + 1..].starts_with(|first: char| first.is_ascii_digit()))?;
    is_primary_descriptor.then(|| build[begin + 1..].parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iso_names_its_build() {
        for (identifier, expected) in [
            ("rhcos-418.94.202511191518-0", Some("418.94.202511191518-0")),
            ("fedora-coreos-39.20231101.3.0", Some("39.20231101.3.0")),
            ("rhcos-418.94.202511191518-012345", None),
            ("rhcos", None),
            ("rhcos-x", None),
            ("", None),
        ] {
            let mut head = vec![0; DESCRIPTOR];
            head.extend(b"\x01CD001\x01\0");
            head.resize(VOLUME_ID, b' ');
            head.extend(format!("{identifier:32}").as_bytes());
            let found = named_build(&head);
            assert_eq!(found.as_ref().map(OsBuild::as_str), expected, "{identifier}");
            assert_eq!(named_build(&head[..head.len() - 1]), None);
            head[DESCRIPTOR] = 2;
            assert_eq!(named_build(&head), None);
        }
    }
}
