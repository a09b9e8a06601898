//! Where signatures lie: on web servers and in files, by the digest that they are for.

pub(crate) mod config_map;
pub(crate) mod http;
pub(crate) mod path;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::StatusCode;
use url::Url;

/// The numbers under which a store has signatures of one digest go from 1 to this.
pub(crate) const MAX_SIGNATURES: u32 = 9;

/// In bytes. A signature has some 900.
pub(crate) const MAX_SIGNATURE: usize = 50 << 10;

/// A place where signatures lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A web server, which has them as `<url>/sha256=<digest>/signature-<number>`.
    Http(Url),
    /// A directory with the same layout, or with files as mirroring tools write them, or one such file: signatures, or
    /// ConfigMaps with signatures in JSON or YAML. It is looked into each time anew.
    Path(PathBuf),
}

impl Store {
    /// The stores of OpenShift's publisher.
    pub fn openshift() -> Vec<Self> {
        let urls = [
            "https://storage.googleapis.com/openshift-release/official/signatures/openshift/release",
            "https://mirror.openshift.com/pub/openshift-v4/signatures/openshift/release",
        ];
        urls.map(|url| Self::Http(Url::parse(url).expect("it is a URL"))).to_vec()
    }
}

/// The text names no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an http, https or file URL, or an absolute path")]
pub struct InvalidStore;

impl FromStr for Store {
    type Err = InvalidStore;

    fn from_str(text: &str) -> Result<Self, InvalidStore> {
        if text.starts_with('/') {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        let url = Url::parse(text).map_err(|_| InvalidStore)?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self::Http(url)),
            "file" => url.to_file_path().map(Self::Path).map_err(|()| InvalidStore),
            _ => Err(InvalidStore),
        }
    }
}

/// Without what may be secret in a URL.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let host = url.host_str().unwrap_or_default();
                write!(f, "{}://{host}{port}{}", url.scheme(), url.path())
            }
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a store did not give a signature that it may have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The server cannot be reached, or falls silent.
    #[error("cannot be fetched")]
    Transport(#[source] reqwest::Error),
    /// The server answers something else.
    #[error("was answered with status {0}")]
    Status(StatusCode),
    /// It is larger than signatures are.
    #[error("has more than {limit} bytes")]
    TooLarge {
        /// How many bytes are read.
        limit: usize,
    },
    /// The file or directory cannot be read.
    #[error("cannot be read")]
    File(#[from] io::Error),
    /// A directory, a pipe, a device.
    #[error("is not a regular file")]
    NotAFile,
    /// It should hold ConfigMaps.
    #[error("is no list of ConfigMaps with signatures")]
    ConfigMap(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Unreadable {
    /// Whether it may be readable soon, without anybody changing anything.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge { .. } | Self::File(_) | Self::NotAFile | Self::ConfigMap(_) => false,
        }
    }
}

/// What one file of a store has for a digest.
pub(crate) struct Bundle {
    /// The file, for people.
    pub(crate) place: String,
    /// Its signatures, or why there is none: in the file, or of one of them.
    pub(crate) content: Result<Vec<Result<Vec<u8>, Unreadable>>, Unreadable>,
}

#[cfg(test)]
mod tests {
    use super::{InvalidStore, Store};

    #[test]
    fn a_store_is_a_url_or_a_path_and_shows_no_password() {
        for (text, shown) in [
            ("https://user:secret@signatures.lab:8443/a/b?token=secret", "https://signatures.lab:8443/a/b"),
            ("http://[::1]/", "http://[::1]/"),
            ("file:///var/lib/sign%20atures", "/var/lib/sign atures"),
            ("/var/lib/signatures", "/var/lib/signatures"),
        ] {
            assert_eq!(text.parse::<Store>().unwrap().to_string(), shown);
        }
        for text in ["", "signatures", "ftp://a/b", "file://host/a", "https://", "quay.io/a/b", "./a"] {
            assert_eq!(text.parse::<Store>(), Err(InvalidStore), "{text}");
        }
        assert_eq!(Store::openshift().len(), 2);
    }
}
