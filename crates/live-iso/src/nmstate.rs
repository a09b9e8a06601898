//! `nmstatectl` as an archive behind the initramfs, for the network configuration of hosts that boot a minimal ISO.

use std::io::Write as _;

use crate::cpio::Writer;
use crate::gzip;

/// The predecessor's spelling, with the slash.
const PATH: &str = "/usr/bin/nmstatectl";
const EXECUTABLE: u32 = 0o755;

/// Which bytes [`nmstate_archive`] makes of a program. Another version may make others of the same, so this belongs
/// into the key of whatever is kept of them.
pub const NMSTATE_ARCHIVE_VERSION: u32 = 1;

/// Packs `nmstatectl` as the kernel unpacks it: gzip (with no time and no name in its header) of a newc cpio, padded
/// with zeros to a multiple of four bytes.
///
/// # Panics
///
/// If the program has 4 GiB or more, which [`nmstatectl`](crate::nmstatectl) never returns.
pub fn nmstate_archive(nmstatectl: &[u8]) -> Vec<u8> {
    let mut cpio = Writer::default();
    cpio.file(PATH, EXECUTABLE, nmstatectl).expect("a program has less than 4 GiB");
    let mut gzip = gzip::encoder(Vec::new());
    let written = gzip.write_all(&cpio.finish()).and_then(|()| gzip.finish());
    let mut archive = written.expect("memory takes all");
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use sha2::{Digest as _, Sha256};

    use super::nmstate_archive;
    use crate::unpack;

    /// Compresses, but not to nothing, so that every strategy of the encoder shows.
    fn program() -> Vec<u8> {
        let mut state = 1_u32;
        let mut program = Vec::new();
        while program.len() < 300_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let len = program.len();
            let [high, low, length, _] = state.to_be_bytes();
            let distance = usize::from(u16::from_be_bytes([high, low])) + 1;
            program.push(high);
            for at in 0..usize::from(length % 32) {
                let copied = len.checked_sub(distance).and_then(|start| program.get(start + at));
                program.push(*copied.unwrap_or(&low));
            }
        }
        program
    }

    #[test]
    fn the_archive_is_the_predecessors() {
        let archive = nmstate_archive(b"\x7fELF");
        assert_eq!(archive[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(archive.len() % 4, 0);
        let mut cpio = Vec::new();
        GzDecoder::new(&archive[..]).read_to_end(&mut cpio).unwrap();
        let header = "070701 00000000 000081ED 00000000 00000000 00000001 00000000 00000004 \
                      00000000 00000000 00000000 00000000 00000014 00000000";
        assert_eq!(cpio[..110], *header.replace(' ', "").as_bytes());
        assert_eq!(cpio[110..136], *b"/usr/bin/nmstatectl\0\0\0\x7fELF");
        assert!(cpio.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(cpio.len(), 136 + 110 + 14);
    }

    #[test]
    fn the_program_is_unpacked_from_it() {
        for len in [0, 1, 2, 3, 4, 300_000] {
            let program = &program()[..len];
            let archive = nmstate_archive(program);
            let files = unpack(&archive).unwrap();
            assert_eq!(files.len(), 1);
            assert_eq!(files[0].name, "/usr/bin/nmstatectl");
            assert!(files[0].content == program);
        }
    }

    #[test]
    fn these_bytes_belong_to_this_version() {
        let archive = nmstate_archive(&program());
        let sha256 = coreos_names::Sha256::new(Sha256::digest(&archive)).to_string();
        assert_eq!(
            (archive.len(), sha256.as_str()),
            (99_292, "06795c2fbfa0b0d969290b1c48bad5d7d3cd2232501af017eddf2f25ea7a84ae"),
            "other bytes than before are made of the same program, as by another version of the gzip encoder: \
             add 1 to NMSTATE_ARCHIVE_VERSION, so that nobody mixes both, and put the new size and SHA-256 here"
        );
    }
}
