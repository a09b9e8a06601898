use coreos_names::Sha256;
use sha2::Digest as _;

use crate::Digest;

/// Counts and hashes bytes that claim to have a digest and a size. Sees every byte, decides at the end.
pub(crate) struct Verifier {
    expected: Digest,
    size: u64,
    received: u64,
    hasher: sha2::Sha256,
}

/// What is wrong with the bytes. The names are those of [`crate::Error`]'s variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Truncated { received: u64 },
    TooLong,
    DigestMismatch { actual: Digest },
}

impl Verifier {
    pub(crate) fn new(expected: Digest, size: u64) -> Self {
        Self { expected, size, received: 0, hasher: sha2::Sha256::new() }
    }

    pub(crate) const fn expected(&self) -> Digest {
        self.expected
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Whether as many bytes came as should. They may still be the wrong ones, and more may follow.
    pub(crate) const fn is_full(&self) -> bool {
        self.received == self.size
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        let received = self.received.saturating_add(bytes.len() as u64);
        if received > self.size {
            return Err(Flaw::TooLong);
        }
        self.received = received;
        self.hasher.update(bytes);
        Ok(())
    }

    /// The verdict, once there are no more bytes.
    pub(crate) fn finish(&mut self) -> Result<(), Flaw> {
        if !self.is_full() {
            return Err(Flaw::Truncated { received: self.received });
        }
        let actual = Digest::from(Sha256::new(self.hasher.finalize_reset()));
        if actual == self.expected { Ok(()) } else { Err(Flaw::DigestMismatch { actual }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Flaw, Verifier};
    use crate::Digest;
    use proptest::prelude::*;

    fn verdict(verifier: &mut Verifier, chunks: &[Vec<u8>]) -> Result<(), Flaw> {
        chunks.iter().try_for_each(|chunk| verifier.push(chunk))?;
        verifier.finish()
    }

    proptest! {
        #[test]
        fn only_the_right_bytes_pass(chunks: Vec<Vec<u8>>, claimed in 0_u64..200, flip: proptest::sample::Index) {
            let mut bytes = chunks.concat();
            let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
            prop_assert_eq!(verdict(&mut Verifier::new(digest, size), &chunks), Ok(()));

            let expected = match claimed.cmp(&size) {
                std::cmp::Ordering::Less => Err(Flaw::TooLong),
                std::cmp::Ordering::Equal => Ok(()),
                std::cmp::Ordering::Greater => Err(Flaw::Truncated { received: size }),
            };
            prop_assert_eq!(verdict(&mut Verifier::new(digest, claimed), &chunks), expected);

            if !bytes.is_empty() {
                let position = flip.index(bytes.len());
                bytes[position] ^= 1;
                let actual = Digest::of(&bytes);
                let flawed = verdict(&mut Verifier::new(digest, size), &[bytes]);
                prop_assert_eq!(flawed, Err(Flaw::DigestMismatch { actual }));
            }
        }
    }
}
