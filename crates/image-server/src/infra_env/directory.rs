//! Infra-envs as files, for sites without assisted-service.
//!
//! ```text
//! INFRA_ENV_DIR/
//!   <id>/discovery.ign            the Ignition config
//!   <id>/kernel_arguments.json    [{"operation": "append", "value": "…"}], optional
//!   <id>/minimal-initrd           an archive with static network configuration, optional
//! ```
//!
//! Files are read for every request, so an edit counts at once. Nobody is asked for credentials here: who knows an id
//! gets its image, as with an assisted-service without authentication.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use axum::http::StatusCode;
use bytes::Bytes;

use super::{
    Credentials, InfraEnv, InfraEnvError, InfraEnvId, InfraEnvSource, MAX_IGNITION, MAX_RAMDISK, Part,
    Purpose, kernel_arguments,
};

/// No image has room for more than some 2 KiB of kernel arguments.
const MAX_KERNEL_ARGUMENTS: u64 = 64 * 1024;

/// A directory with one subdirectory per infra-env.
#[derive(Debug)]
pub struct InfraEnvDirectory {
    path: PathBuf,
}

impl InfraEnvDirectory {
    /// The infra-envs under `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[async_trait]
impl InfraEnvSource for InfraEnvDirectory {
    async fn infra_env(
        &self,
        id: InfraEnvId,
        purpose: Purpose,
        _: &Credentials,
    ) -> Result<InfraEnv, InfraEnvError> {
        let directory = self.path.join(id.to_string());
        let reading = tokio::task::spawn_blocking(move || read_all(&directory, purpose));
        reading.await.map_err(|error| InfraEnvError::Unreadable {
            path: self.path.join(id.to_string()),
            source: Arc::new(error.into()),
        })?
    }
}

/// Reads all that the purpose has a place for.
fn read_all(directory: &Path, purpose: Purpose) -> Result<InfraEnv, InfraEnvError> {
    let read = |what, name, max| read(what, directory.join(name), max);
    let missing = InfraEnvError::Refused { part: Part::Ignition, status: StatusCode::NOT_FOUND };
    let ignition = read("Ignition config", "discovery.ign", MAX_IGNITION)?.ok_or(missing)?;
    let kernel_arguments = if purpose.takes_kernel_arguments() {
        read("kernel arguments", "kernel_arguments.json", MAX_KERNEL_ARGUMENTS)?
    } else {
        None
    };
    let ramdisk = if purpose.takes_ramdisk() {
        read("network configuration", "minimal-initrd", MAX_RAMDISK)?
    } else {
        None
    };
    Ok(InfraEnv {
        ignition: ignition.bytes,
        last_modified: Some(ignition.modified),
        kernel_arguments: kernel_arguments
            .map(|content| kernel_arguments::parse(&content.bytes))
            .transpose()?,
        ramdisk: ramdisk.map(|content| content.bytes).filter(|archive| !archive.is_empty()),
    })
}

struct Content {
    bytes: Bytes,
    modified: SystemTime,
}

/// Reads a file of at most `max` bytes, if there is one.
fn read(what: &'static str, path: PathBuf, max: u64) -> Result<Option<Content>, InfraEnvError> {
    match read_at_most(&path, max + 1) {
        Ok(content) if content.bytes.len() as u64 > max => Err(InfraEnvError::TooLarge { what, max }),
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(InfraEnvError::Unreadable { path, source: source.into() }),
    }
}

fn read_at_most(path: &Path, max: u64) -> io::Result<Content> {
    let file = File::open(path)?;
    let modified = file.metadata()?.modified()?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(Content { bytes: bytes.into(), modified })
}
