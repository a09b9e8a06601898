use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use live_iso::IgnitionArchive;
use sha2::{Digest, Sha256};

use crate::rejection::Rejection;

/// How many archives are kept.
const MAX_KEPT: usize = 64;

/// The largest archive that is kept. No known image has room for a larger one.
const MAX_KEPT_LEN: u64 = 256 * 1024;

type Key = [u8; 32];

/// The latest archives, by what is in them: a BMC reads its ISO in thousands of ranges, and compressing is what costs
/// most.
#[derive(Debug, Default)]
pub(crate) struct IgnitionArchives(Mutex<VecDeque<(Key, IgnitionArchive)>>);

impl IgnitionArchives {
    /// The archive of this config.
    pub(crate) async fn archive(&self, config: Bytes) -> Result<IgnitionArchive, Rejection> {
        let key = Sha256::digest(&config).into();
        if let Some(archive) = self.kept(key) {
            return Ok(archive);
        }
        let archive = tokio::task::spawn_blocking(move || IgnitionArchive::new(&config)).await??;
        self.keep(key, archive.clone());
        Ok(archive)
    }

    /// Finds an archive and makes it the latest.
    fn kept(&self, key: Key) -> Option<IgnitionArchive> {
        let mut archives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = archives.iter().position(|(kept, _)| *kept == key)?;
        let entry = archives.remove(found)?;
        let archive = entry.1.clone();
        archives.push_back(entry);
        Some(archive)
    }

    fn keep(&self, key: Key, archive: IgnitionArchive) {
        if archive.len() > MAX_KEPT_LEN {
            return;
        }
        let mut archives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        archives.retain(|(kept, _)| *kept != key);
        archives.push_back((key, archive));
        if archives.len() > MAX_KEPT {
            archives.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use live_iso::IgnitionArchive;

    use super::{IgnitionArchives, MAX_KEPT};

    fn archive(config: &str) -> IgnitionArchive {
        IgnitionArchive::new(config.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn an_archive_is_made_once() {
        let archives = IgnitionArchives::default();
        let first = archives.archive(Bytes::from_static(b"{}")).await.unwrap();
        let second = archives.archive(Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(first, archive("{}"));
        assert_eq!(first.as_bytes().as_ptr(), second.as_bytes().as_ptr());
    }

    #[test]
    fn the_archive_that_was_not_asked_for_the_longest_goes_first() {
        let archives = IgnitionArchives::default();
        let key = |number: usize| [u8::try_from(number).unwrap(); 32];
        for number in 0..MAX_KEPT {
            archives.keep(key(number), archive("{}"));
        }
        assert!(archives.kept(key(0)).is_some());
        archives.keep(key(MAX_KEPT), archive("{}"));
        assert!(archives.kept(key(0)).is_some());
        assert!(archives.kept(key(1)).is_none());
    }
}
