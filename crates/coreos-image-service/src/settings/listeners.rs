//! Which ports are opened, and what is spoken and shown on each.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use image_server::{Surface, TlsPolicy};

use super::{Merged, Problems};

/// The ports, all on one address.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// `None` is every interface.
    pub(crate) address: Option<IpAddr>,
    pub(crate) ports: Vec<ListenPort>,
}

/// One port.
#[derive(Debug)]
pub(crate) struct ListenPort {
    pub(crate) port: u16,
    /// `None` for plain HTTP.
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) surface: Surface,
}

/// What TLS is spoken with.
#[derive(Debug)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) policy: TlsPolicy,
}

/// Without a certificate there is one port with plain HTTP, `HTTP_LISTEN_PORT` if that is given. With one, HTTPS is on
/// `LISTEN_PORT`, and `HTTP_LISTEN_PORT` shows what firmware needs that trusts no certificate.
pub(super) fn read(merged: &Merged, problems: &mut Problems, warnings: &mut Vec<String>) -> Listeners {
    let Address(address) = merged.parsed("LISTEN_ADDRESS", Address(None), problems);
    let port = |variable, problems: &mut Problems| {
        let Port(port) = merged.parsed(variable, Port(8080), problems);
        port
    };
    let main = port("LISTEN_PORT", problems);
    let plain = merged.text("HTTP_LISTEN_PORT").map(|_| port("HTTP_LISTEN_PORT", problems));
    let policy = TlsPolicy {
        min_version: merged.parsed("TLS_MIN_VERSION", TlsPolicy::default().min_version, problems),
        cipher_suites: merged.parsed("TLS_CIPHER_SUITES", TlsPolicy::default().cipher_suites, problems),
    };
    let everything = |port, tls| ListenPort { port, tls, surface: Surface::Everything };
    let ports = match (merged.path("HTTPS_CERT_FILE"), merged.path("HTTPS_KEY_FILE")) {
        (Some(certificate), Some(key)) => {
            warnings.extend(policy.warnings());
            let plain = plain.map(|port| ListenPort { port, tls: None, surface: Surface::NetworkBoot });
            let tls = everything(main, Some(TlsFiles { certificate, key, policy }));
            [tls].into_iter().chain(plain).collect()
        }
        (None, None) => vec![everything(plain.unwrap_or(main), None)],
        (certificate, _) => {
            let (given, missing) = match certificate {
                Some(_) => ("HTTPS_CERT_FILE", "HTTPS_KEY_FILE"),
                None => ("HTTPS_KEY_FILE", "HTTPS_CERT_FILE"),
            };
            problems.add(format!("{given} is given, but {missing} is not: HTTPS needs both"));
            Vec::new()
        }
    };
    Listeners { address, ports }
}

/// An address to listen on, IPv6 with or without brackets.
pub(super) struct Address(pub(super) Option<IpAddr>);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse().map(|address| Self(Some(address))).map_err(|_| "expected an IPv4 or IPv6 address")
    }
}

/// A TCP port; 0 lets the system choose one.
pub(super) struct Port(pub(super) u16);

impl FromStr for Port {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "expected a port up to 65535")
    }
}
