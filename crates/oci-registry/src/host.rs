use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Where a registry is reached: `host` or `host:port`, lower-case, an IPv6 address in brackets.
///
/// The port is part of the name: `mirror.lab:5000` and `mirror.lab` are two registries. All names of Docker Hub are
/// one registry, `docker.io`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

impl RegistryHost {
    /// Docker Hub as references call it.
    const DOCKER_HUB: &str = "docker.io";
    /// Where Docker Hub's API really is.
    const DOCKER_HUB_API: &str = "registry-1.docker.io";
    /// The other names of Docker Hub, in references and in pull secrets.
    const DOCKER_HUB_ALIASES: [&str; 2] = ["index.docker.io", Self::DOCKER_HUB_API];
    /// What stands in a registry's place for images on disk. No text is read as it, so no configuration matches it.
    const FILE_SYSTEM: &str = "file://";
    /// Nobody is ever reached there, see RFC 2606.
    const NOWHERE: &str = "file-system.invalid";
    /// A DNS name's limit, with room for a port.
    const MAX_LEN: usize = 253 + 6;

    /// The registry as references name it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The `host[:port]` that requests go to. Differs from [`as_str`](Self::as_str) for Docker Hub, and for images on
    /// disk, about which nobody is asked.
    pub fn api_host(&self) -> &str {
        match self.0.as_str() {
            Self::DOCKER_HUB => Self::DOCKER_HUB_API,
            Self::FILE_SYSTEM => Self::NOWHERE,
            host => host,
        }
    }

    pub(crate) fn file_system() -> Self {
        Self(Self::FILE_SYSTEM.to_owned())
    }

    pub(crate) fn is_file_system(&self) -> bool {
        self.0 == Self::FILE_SYSTEM
    }

    /// The name or address without the port, and the port with its colon, or nothing.
    pub(crate) fn split_port(&self) -> (&str, &str) {
        let after_address = self.0.find(']').map_or(0, |end| end + 1);
        let end = self.0[after_address..].find(':').map_or(self.0.len(), |colon| after_address + colon);
        self.0.split_at(end)
    }

    pub(crate) fn is_docker_hub(&self) -> bool {
        self.0 == Self::DOCKER_HUB
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text names no registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid registry {0:?}: expected host or host:port, such as quay.io, localhost, mirror.lab:5000 or [fd00::1]:5000"
)]
pub struct InvalidRegistryHost(pub String);

impl FromStr for RegistryHost {
    type Err = InvalidRegistryHost;

    fn from_str(text: &str) -> Result<Self, InvalidRegistryHost> {
        let invalid = || InvalidRegistryHost(text.chars().take(Self::MAX_LEN).collect());
        if text.len() > Self::MAX_LEN {
            return Err(invalid());
        }
        let (host, port) = split_port(text).ok_or_else(invalid)?;
        let host = if let Some(address) = host.strip_prefix('[') {
            let address = address.strip_suffix(']').ok_or_else(invalid)?;
            format!("[{}]", address.parse::<Ipv6Addr>().map_err(|_| invalid())?)
        } else if host.split('.').all(is_dns_label) {
            host.to_ascii_lowercase()
        } else {
            return Err(invalid());
        };
        match port {
            Some(port) => Ok(Self(format!("{host}:{port}"))),
            None if Self::DOCKER_HUB_ALIASES.contains(&host.as_str()) => {
                Ok(Self(Self::DOCKER_HUB.to_owned()))
            }
            None if looks_like_host(&host) => Ok(Self(host)),
            None => Err(invalid()),
        }
    }
}

/// Whether the first part of a reference is meant as a host. `ubuntu` is not: guessing a registry for it would let
/// whoever owns that name there decide what is booted.
pub(crate) fn looks_like_host(first: &str) -> bool {
    first.contains(['.', ':']) || first.starts_with('[') || first.eq_ignore_ascii_case("localhost")
}

/// `None` if there is a port and it is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let after_address = text.find(']').map_or(0, |end| end + 1);
    let Some(colon) = text[after_address..].find(':') else { return Some((text, None)) };
    let (host, port) = (&text[..after_address + colon], &text[after_address + colon + 1..]);
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|&port| port > 0 && digits)?;
    Some((host, Some(port)))
}

pub(crate) fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::RegistryHost;

    #[test]
    fn hosts_found_in_the_field_are_read() {
        for (text, shown) in [
            ("quay.io", "quay.io"),
            ("Mirror.Lab:5000", "mirror.lab:5000"),
            ("localhost", "localhost"),
            ("mirror:5000", "mirror:5000"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("[fd00:0::1]:5000", "[fd00::1]:5000"),
            ("[::1]", "[::1]"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
        ] {
            let host: RegistryHost = text.parse().unwrap();
            assert_eq!(host.as_str(), shown);
            assert_eq!(shown.parse(), Ok(host));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "mirror",
            "mirror.",
            ".lab",
            "-a.lab",
            "a-.lab",
            "a..b",
            "a_b.lab",
            "mirror:",
            "mirror:0",
            "mirror:+1",
            "mirror:65536",
            "mirror:5000:1",
            "[::1",
            "::1",
            "[mirror]:5000",
            "[::1]x:1",
            "https://quay.io",
            "file://",
            "quay.io/x",
            "user@quay.io",
        ] {
            assert!(text.parse::<RegistryHost>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn docker_hub_is_reached_elsewhere_and_the_file_system_nowhere() {
        assert_eq!("docker.io".parse::<RegistryHost>().unwrap().api_host(), "registry-1.docker.io");
        assert_eq!("quay.io:443".parse::<RegistryHost>().unwrap().api_host(), "quay.io:443");
        assert_eq!(RegistryHost::file_system().api_host(), "file-system.invalid");
    }
}
