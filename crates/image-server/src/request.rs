//! Four URL dialects, one typed request.
//!
//! What a client asks for is understood here and nowhere else, and so is what is wrong with how it asks. Path
//! segments are taken as they stand, undecoded: what was escaped matches nothing, as in the predecessor.

mod query;
mod token;

use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use coreos_names::Arch;

use crate::infra_env::{Credentials, InfraEnvId, Purpose};
use crate::rejection::Rejection;
use query::Query;

pub(crate) use token::InvalidToken;

/// The architecture of a request that names none.
const DEFAULT_ARCH: &str = "x86_64";

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct ImageRequest {
    /// An OpenShift version or the build of the operating system: which one, only the catalog can tell.
    pub(crate) version: String,
    pub(crate) arch: Arch,
    pub(crate) wanted: Wanted,
}

/// The thing that a client asks for.
#[derive(Debug)]
pub(crate) enum Wanted {
    Iso {
        iso: IsoType,
        infra_env: InfraEnvId,
        credentials: Credentials,
    },
    /// Something for a host that boots over the network, customised.
    NetworkBoot {
        file: NetworkBootFile,
        infra_env: InfraEnvId,
        credentials: Credentials,
    },
    BootArtifact(BootArtifact),
    /// Nothing that exists. What is wrong with the version and the architecture is told first, though.
    UnknownArtifact {
        path: String,
    },
}

/// The ISOs that the API knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsoType {
    Full,
    Minimal,
    Disconnected,
}

/// The files of an ISO that hosts fetch when they boot over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BootArtifact {
    Kernel,
    Rootfs,
    InsFile,
}

/// What a host that boots over the network gets from its infra-env.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkBootFile {
    Initrd,
    /// On s390x, where the initrd is loaded to and how large it is.
    InitrdAddrSize,
}

impl IsoType {
    /// The name in words.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Minimal => "minimal",
            Self::Disconnected => "disconnected",
        }
    }

    /// What the infra-env is asked for.
    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::Full => Purpose::FullIso,
            Self::Minimal => Purpose::MinimalIso,
            Self::Disconnected => Purpose::DisconnectedIso,
        }
    }

    fn from_file_name(name: &str) -> Option<Self> {
        match name {
            "full.iso" => Some(Self::Full),
            "minimal.iso" => Some(Self::Minimal),
            "disconnected.iso" => Some(Self::Disconnected),
            _ => None,
        }
    }

    fn from_parameter(value: &str) -> Option<Self> {
        match value {
            "full-iso" => Some(Self::Full),
            "minimal-iso" => Some(Self::Minimal),
            "disconnected-iso" => Some(Self::Disconnected),
            _ => None,
        }
    }
}

impl ImageRequest {
    /// `/byid/{infra-env}/{version}/{arch}/{file}`
    pub(crate) fn by_id(request: &Parts) -> Result<Self, Rejection> {
        let [id, version, arch, file] = segments(request)?;
        let infra_env = id.parse().map_err(|_| Rejection::NoSuchRoute)?;
        Self::short(infra_env, version, arch, file, credentials(request, InPath::Nothing)?)
    }

    /// `/bytoken/{token}/{version}/{arch}/{file}`
    pub(crate) fn by_token(request: &Parts) -> Result<Self, Rejection> {
        let [token, version, arch, file] = segments(request)?;
        let infra_env = token::infra_env(token)?;
        Self::short(infra_env, version, arch, file, credentials(request, InPath::ImageToken(token))?)
    }

    /// `/byapikey/{token}/{version}/{arch}/{file}`
    pub(crate) fn by_api_key(request: &Parts) -> Result<Self, Rejection> {
        let [token, version, arch, file] = segments(request)?;
        let infra_env = token::infra_env(token)?;
        Self::short(infra_env, version, arch, file, credentials(request, InPath::ApiKey(token))?)
    }

    /// `/images/{infra-env}?version=&type=&arch=`
    pub(crate) fn long(request: &Parts) -> Result<Self, Rejection> {
        let [id] = segments(request)?;
        let infra_env = id.parse().map_err(|_| Rejection::NoSuchRoute)?;
        let query = Query::of(&request.uri);
        let version = query.first("version").ok_or(Rejection::MissingParameter("version"))?;
        let arch = query.first("arch").unwrap_or_else(|| DEFAULT_ARCH.to_owned());
        let iso = query.first("type").ok_or(Rejection::MissingParameter("type"))?;
        let iso = IsoType::from_parameter(&iso).ok_or(Rejection::InvalidType(iso))?;
        Self::iso(infra_env, iso, version, &arch, credentials(request, InPath::Nothing)?)
    }

    /// `/images/{infra-env}/pxe-initrd?version=&arch=`
    pub(crate) fn initrd(request: &Parts) -> Result<Self, Rejection> {
        let arch = Query::of(&request.uri).first("arch");
        Self::network_boot(request, NetworkBootFile::Initrd, arch.unwrap_or_else(|| DEFAULT_ARCH.to_owned()))
    }

    /// `/images/{infra-env}/s390x-initrd-addrsize?version=`
    pub(crate) fn initrd_addr_size(request: &Parts) -> Result<Self, Rejection> {
        Self::network_boot(request, NetworkBootFile::InitrdAddrSize, Arch::S390x.to_string())
    }

    /// `/boot-artifacts/{artifact}?version=&arch=`
    pub(crate) fn boot_artifact(request: &Parts, artifact: BootArtifact) -> Result<Self, Rejection> {
        Self::artifact(request, Wanted::BootArtifact(artifact))
    }

    /// The same with the name of nothing.
    pub(crate) fn unknown_artifact(request: &Parts) -> Result<Self, Rejection> {
        Self::artifact(request, Wanted::UnknownArtifact { path: request.uri.path().to_owned() })
    }

    fn artifact(request: &Parts, wanted: Wanted) -> Result<Self, Rejection> {
        let query = Query::of(&request.uri);
        let version = query.first("version").ok_or(Rejection::MissingArtifactVersion)?;
        let arch = query.first("arch").unwrap_or_else(|| DEFAULT_ARCH.to_owned());
        let Ok(arch) = arch.parse() else {
            return Err(Rejection::UnknownArtifactVersion { version, arch });
        };
        Ok(Self { version, arch, wanted })
    }

    fn short(
        infra_env: InfraEnvId,
        version: &str,
        arch: &str,
        file: &str,
        credentials: Credentials,
    ) -> Result<Self, Rejection> {
        let iso = IsoType::from_file_name(file).ok_or_else(|| Rejection::UnknownFileName(file.to_owned()))?;
        Self::iso(infra_env, iso, version.to_owned(), arch, credentials)
    }

    fn iso(
        infra_env: InfraEnvId,
        iso: IsoType,
        version: String,
        arch: &str,
        credentials: Credentials,
    ) -> Result<Self, Rejection> {
        let arch = arch.parse().map_err(|_| Rejection::UnknownImage)?;
        Ok(Self { version, arch, wanted: Wanted::Iso { iso, infra_env, credentials } })
    }

    fn network_boot(request: &Parts, file: NetworkBootFile, arch: String) -> Result<Self, Rejection> {
        let [id, _] = segments(request)?;
        let infra_env = id.parse().map_err(|_| Rejection::NoSuchRoute)?;
        let version = Query::of(&request.uri).first("version").ok_or(Rejection::MissingInitrdVersion)?;
        let Ok(arch) = arch.parse() else {
            return Err(Rejection::UnknownInitrdVersion { version, arch });
        };
        let credentials = credentials(request, InPath::Nothing)?;
        Ok(Self { version, arch, wanted: Wanted::NetworkBoot { file, infra_env, credentials } })
    }
}

/// The segments of the path behind the first one, which names the route.
fn segments<const N: usize>(request: &Parts) -> Result<[&str; N], Rejection> {
    let segments: Vec<&str> = request.uri.path().split('/').skip(2).collect();
    segments.try_into().map_err(|_| Rejection::NoSuchRoute)
}

/// The credential that a dialect has in its path.
#[derive(Clone, Copy)]
enum InPath<'a> {
    Nothing,
    ApiKey(&'a str),
    ImageToken(&'a str),
}

/// Only one credential is ever passed on: the first in this order.
fn credentials(request: &Parts, in_path: InPath) -> Result<Credentials, Rejection> {
    let query = Query::of(&request.uri);
    if let InPath::ApiKey(key) = in_path {
        return Ok(Credentials::ApiKey(key.into()));
    }
    if let Some(key) = query.first("api_key") {
        return Ok(Credentials::ApiKey(key.into()));
    }
    if let InPath::ImageToken(token) = in_path {
        return image_token(token);
    }
    if let Some(token) = query.first("image_token") {
        return image_token(&token);
    }
    Ok(match request.headers.get(AUTHORIZATION) {
        Some(value) if !value.is_empty() => Credentials::Authorization(value.clone().into()),
        _ => Credentials::Anonymous,
    })
}

fn image_token(token: &str) -> Result<Credentials, Rejection> {
    let header = HeaderValue::from_str(token).map_err(|_| Rejection::InvalidImageToken)?;
    Ok(Credentials::ImageToken(header.into()))
}
