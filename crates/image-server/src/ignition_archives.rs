use bytes::Bytes;
use live_iso::IgnitionArchive;
use sha2::{Digest, Sha256};

use crate::recent::Recent;
use crate::rejection::Rejection;

/// How many archives are kept.
const MAX_KEPT: usize = 64;

/// The largest archive that is kept. No known image has room for a larger one.
const MAX_KEPT_LEN: u64 = 256 * 1024;

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
        let key = Sha256::digest(&config).into();
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
    }
}
