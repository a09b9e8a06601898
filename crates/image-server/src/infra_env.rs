//! What an infra-env has to say about its ISO, whoever keeps it.
//!
//! One trait, two sources: assisted-service over REST and a directory. They know nothing of requests or images: they
//! get an id, the client's credentials and a purpose, and give back what is to be embedded.

mod assisted_service;
mod credentials;
mod directory;
mod kernel_arguments;
mod purpose;
mod reusing;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use axum::http::StatusCode;
use bytes::Bytes;
use uuid::Uuid;

pub use assisted_service::{AssistedService, InvalidAssistedService};
pub use credentials::{Credentials, SecretHeader};
pub use directory::InfraEnvDirectory;
pub use kernel_arguments::InvalidKernelArguments;
pub use purpose::Purpose;
pub use reusing::Reusing;

/// The largest Ignition config that is read from a source. Compressed it must fit into 256 KiB, so this is generous.
const MAX_IGNITION: u64 = 8 * 1024 * 1024;

/// The largest ramdisk that is read from a source. A minimal ISO has room for 1 MiB; an initrd has no such bound.
const MAX_RAMDISK: u64 = 16 * 1024 * 1024;

/// Where infra-envs are kept.
#[async_trait]
pub trait InfraEnvSource: fmt::Debug + Send + Sync + 'static {
    /// Asks for everything that this infra-env wants embedded for this purpose, and for nothing else.
    async fn infra_env(
        &self,
        id: InfraEnvId,
        purpose: Purpose,
        credentials: &Credentials,
    ) -> Result<InfraEnv, InfraEnvError>;
}

/// Asks for what the purpose has a place for.
async fn only_if<T>(
    wanted: bool,
    asking: impl Future<Output = Result<Option<T>, InfraEnvError>>,
) -> Result<Option<T>, InfraEnvError> {
    if wanted { asking.await } else { Ok(None) }
}

/// The name of an infra-env: a UUID, so that it is safe in paths, URLs and headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InfraEnvId(Uuid);

impl fmt::Display for InfraEnvId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The text is not a UUID in its usual form: lower case, with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the infra-env id is not a UUID in lower case")]
pub struct InvalidInfraEnvId;

impl FromStr for InfraEnvId {
    type Err = InvalidInfraEnvId;

    fn from_str(text: &str) -> Result<Self, InvalidInfraEnvId> {
        let id = Self(Uuid::try_parse(text).map_err(|_| InvalidInfraEnvId)?);
        // One name for one thing: the other ways to write a UUID are not ids, as in the predecessor.
        if id.to_string() == text { Ok(id) } else { Err(InvalidInfraEnvId) }
    }
}

/// What an image is customised with. All of it may be secret, so [`fmt::Debug`] shows only sizes.
#[derive(Clone)]
pub struct InfraEnv {
    /// The Ignition config.
    pub ignition: Bytes,
    /// When the config was changed the last time, if the source knows.
    pub last_modified: Option<SystemTime>,
    /// Kernel arguments to append; `None` leaves the image's own untouched.
    pub kernel_arguments: Option<Vec<String>>,
    /// An archive with the static network configuration of the hosts; never empty.
    pub ramdisk: Option<Bytes>,
}

impl fmt::Debug for InfraEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InfraEnv")
            .field("ignition_bytes", &self.ignition.len())
            .field("last_modified", &self.last_modified)
            .field("kernel_arguments", &self.kernel_arguments.as_ref().map(Vec::len))
            .field("ramdisk_bytes", &self.ramdisk.as_ref().map(Bytes::len))
            .finish()
    }
}

/// Something that a source is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The Ignition config.
    Ignition,
    /// The network configuration.
    Ramdisk,
    /// The kernel arguments, or what holds them.
    KernelArguments,
}

/// Why an infra-env cannot be had. The messages are for the log: some name places inside the installation. Those
/// about what is too large or cannot be applied name none, and the client is told them.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InfraEnvError {
    /// The source refuses this client or knows no such infra-env.
    #[error("the source of infra-envs refused with {status}")]
    Refused {
        /// What was asked for.
        part: Part,
        /// The status, 4xx, which is the client's to know.
        status: StatusCode,
    },
    /// The source answered something else than what its contract says.
    #[error("the source of infra-envs answered with {status} for the {what}")]
    UnexpectedStatus {
        /// What was asked for.
        what: &'static str,
        /// The status.
        status: StatusCode,
    },
    /// The source answered with bytes that mean nothing.
    #[error("the answer for the {what} cannot be understood")]
    Malformed {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// There was no connection, or it broke.
    #[error("the source of infra-envs cannot be asked for the {what}")]
    Unreachable {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The source did not answer in time.
    #[error("the source of infra-envs did not answer in time for the {what}")]
    TimedOut {
        /// What was asked for.
        what: &'static str,
    },
    /// A file of the infra-env cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// A part of the infra-env is beyond any sense.
    #[error("more than {max} bytes of {what} are not accepted")]
    TooLarge {
        /// The part of the infra-env.
        what: &'static str,
        /// The largest accepted.
        max: u64,
    },
    /// The kernel arguments ask for something that cannot be done to an image.
    #[error("the infra-env's kernel arguments cannot be applied")]
    KernelArguments(#[from] InvalidKernelArguments),
}

/// Where JSON is not what was expected. What stands there instead may be secret, and is left out.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("unexpected JSON at line {line}, column {column}")]
pub struct UnexpectedJson {
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for UnexpectedJson {
    fn from(error: serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{InfraEnv, InfraEnvId};

    #[test]
    fn nothing_of_an_infra_env_is_printable() {
        let secret = Bytes::from_static(b"hunter2");
        let infra_env = InfraEnv {
            ignition: secret.clone(),
            last_modified: None,
            kernel_arguments: Some(vec!["password=hunter2".to_owned()]),
            ramdisk: Some(secret.clone()),
        };
        let printed = format!("{infra_env:?}");
        assert!(
            !printed.contains("hunter2") && !printed.contains(&format!("{:?}", &secret[..])),
            "{printed}"
        );
    }

    #[test]
    fn an_id_is_a_uuid_in_its_usual_form() {
        let usual = "0a5b1d7e-8f3c-4a52-9d36-2f1c64a8e001";
        assert_eq!(usual.parse::<InfraEnvId>().map(|id| id.to_string()).as_deref(), Ok(usual));
        let braced = format!("{{{usual}}}");
        let others = ["", "..", "../x", &usual.to_uppercase(), &usual.replace('-', ""), &braced, &usual[1..]];
        for text in others {
            assert!(text.parse::<InfraEnvId>().is_err(), "{text:?}");
        }
    }
}
