//! Ignition configs as images hold them, compressed once for the thousands of ranges that an ISO is read in.

use bytes::Bytes;
use live_iso::IgnitionArchive;
use sha2::{Digest, Sha256};

use crate::recent::Recent;
use crate::rejection::Rejection;

/// How many archives are kept.
const MAX_KEPT: usize = 64;

/// The largest archive that is kept. No known image has room for a larger one.
const MAX_KEPT_LEN: u64 = 256 * 1024;

/// From here on a config is hashed on the thread pool for blocking work.
const LONG: usize = 64 * 1024;

/// The latest archives, by what is in them: of all that makes a discovery ISO, compressing costs most.
#[derive(Debug)]
pub(crate) struct IgnitionArchives(Recent<[u8; 32], IgnitionArchive>);

impl Default for IgnitionArchives {
    fn default() -> Self {
        Self(Recent::new(MAX_KEPT))
    }
}

impl IgnitionArchives {
    /// The archive of this config.
    pub(crate) async fn archive(&self, config: Bytes) -> Result<IgnitionArchive, Rejection> {
        let key = if config.len() < LONG {
            Sha256::digest(&config).into()
        } else {
            let config = config.clone();
            tokio::task::spawn_blocking(move || Sha256::digest(&config).into()).await?
        };
        if let Some(archive) = self.0.find(&key) {
            return Ok(archive);
        }
        let archive = tokio::task::spawn_blocking(move || IgnitionArchive::new(&config)).await??;
        if archive.len() <= MAX_KEPT_LEN {
            self.0.keep(key, archive.clone());
        }
        Ok(archive)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use live_iso::IgnitionArchive;

    use super::IgnitionArchives;

    #[tokio::test]
    async fn an_archive_is_made_once() {
        let archives = IgnitionArchives::default();
        let first = archives.archive(Bytes::from_static(b"{}")).await.unwrap();
        let second = archives.archive(Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(first, IgnitionArchive::new(b"{}").unwrap());
        assert_eq!(first.as_bytes().as_ptr(), second.as_bytes().as_ptr());
        let long = Bytes::from(vec![b' '; super::LONG]);
        let (first, second) = (archives.archive(long.clone()).await, archives.archive(long).await);
        assert_eq!(first.unwrap().as_bytes().as_ptr(), second.unwrap().as_bytes().as_ptr());
    }
}
