//! The HTTP proxies of a site, and who is reached without them.
//!
//! The rules are those of Go's programs, which is what `OpenShift`'s documentation describes. reqwest has curl's: they
//! know no ports, and take a leading dot for decoration: with `.example.com` in `NO_PROXY`, `example.com` itself is asked
//! through the proxy here.

use std::env;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

/// Which proxy goes with which URL. Loopback is always reached directly.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
}

/// Who is reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everybody,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// A domain with all below it, or without itself.
    Domain {
        name: String,
        below_only: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// As `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, or the same in lower case. What cannot be read is
    /// told in the log and counts for nothing.
    pub fn from_env() -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
        };
        let proxy = |names: &[&str]| {
            let proxy = proxy_url(&first(names)?);
            if proxy.is_none() {
                // Never the value: it may hold a password.
                tracing::warn!(setting = names[0], "not the URL of an HTTP proxy, going without");
            }
            proxy
        };
        Self {
            http: proxy(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https: proxy(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            exceptions: exceptions(&first(&["NO_PROXY", "no_proxy"]).unwrap_or_default()),
        }
    }

    /// One proxy for everything but what a list like `NO_PROXY` names.
    pub fn all(proxy: Url, no_proxy: &str) -> Self {
        Self { http: Some(proxy.clone()), https: Some(proxy), exceptions: exceptions(no_proxy) }
    }

    /// The proxy for this URL. `None`: none.
    pub fn proxy_for(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.is_direct(url))
    }

    fn is_direct(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let is_ours = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        let Some(host) = url.host() else { return true };
        match host {
            Host::Domain(host) => {
                let host = host.trim_end_matches('.');
                let named = |exception: &Exception| match exception {
                    Exception::Everybody => true,
                    Exception::Domain { name, below_only, port } => {
                        is_ours(port) && covers(name, *below_only, host)
                    }
                    Exception::Network(_) | Exception::Address(..) => false,
                };
                host == "localhost" || self.exceptions.iter().any(named)
            }
            Host::Ipv4(address) => self.is_direct_address(address.into(), is_ours),
            Host::Ipv6(address) => self.is_direct_address(address.into(), is_ours),
        }
    }

    fn is_direct_address(&self, address: IpAddr, is_ours: impl Fn(&Option<u16>) -> bool) -> bool {
        let named = |exception: &Exception| match exception {
            Exception::Everybody => true,
            Exception::Network(network) => network.contains(&address),
            Exception::Address(named, port) => *named == address && is_ours(port),
            Exception::Domain { .. } => false,
        };
        address.is_loopback() || self.exceptions.iter().any(named)
    }
}

/// Without the proxies, whose URLs may hold passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("exceptions", &self.exceptions).finish_non_exhaustive()
    }
}

/// A proxy is an HTTP proxy if it says nothing else.
fn proxy_url(text: &str) -> Option<Url> {
    let text = text.trim();
    let url: Url =
        if text.contains("://") { text.parse().ok()? } else { format!("http://{text}").parse().ok()? };
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

fn exceptions(no_proxy: &str) -> Vec<Exception> {
    no_proxy.split(',').map(str::trim).filter_map(exception).collect()
}

fn exception(text: &str) -> Option<Exception> {
    if text == "*" {
        return Some(Exception::Everybody);
    }
    if let Ok(network) = text.parse() {
        return Some(Exception::Network(network));
    }
    if let Ok(address) = bare(text).parse() {
        return Some(Exception::Address(address, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    if let Ok(address) = bare(host).parse() {
        return Some(Exception::Address(address, port));
    }
    let host = host.strip_prefix('*').unwrap_or(host);
    let name = host.strip_prefix('.').unwrap_or(host).trim_end_matches('.').to_ascii_lowercase();
    let below_only = host.starts_with('.');
    (!name.is_empty()).then_some(Exception::Domain { name, below_only, port })
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn covers(domain: &str, below_only: bool, host: &str) -> bool {
    match host.strip_suffix(domain) {
        Some("") => !below_only,
        Some(below) => below.ends_with('.'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Proxies, proxy_url};

    #[test]
    fn exceptions_are_those_of_go() {
        for (no_proxy, url, direct) in [
            ("", "https://quay.io/", false),
            ("*", "https://quay.io/", true),
            ("*", "https://10.0.0.1/", true),
            ("quay.io", "https://quay.io/", true),
            ("Quay.IO", "https://quay.io:8443/", true),
            ("quay.io", "https://cdn.quay.io/", true),
            ("quay.io", "https://notquay.io/", false),
            ("quay.io", "https://quay.io.evil.test/", false),
            (".quay.io", "https://cdn.quay.io/", true),
            (".quay.io", "https://quay.io/", false),
            ("*.quay.io", "https://a.cdn.quay.io/", true),
            ("*.quay.io", "https://quay.io/", false),
            ("mirror.lab:5000", "https://mirror.lab:5000/", true),
            ("mirror.lab:5000", "https://mirror.lab/", false),
            ("mirror.lab:443", "https://mirror.lab/", true),
            ("mirror.lab:80", "http://mirror.lab/", true),
            ("mirror.lab:80", "https://mirror.lab/", false),
            (".lab:5000", "https://mirror.lab:5000/", true),
            ("mirror.lab:port", "https://mirror.lab/", false),
            ("a.test, 10.0.0.0/8 ,b.test", "https://10.1.2.3/", true),
            ("a.test, 10.0.0.0/8 ,b.test", "https://b.test/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.0.0.1", "https://10.0.0.1:5000/", true),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/", true),
            ("10.0.0.1:5000", "https://10.0.0.1/", false),
            ("fd00::/16", "https://[fd00::1]:5000/", true),
            ("fd00::1", "https://[fd00::1]:5000/", true),
            ("[fd00::1]", "https://[fd00:0::1]/", true),
            ("[fd00::1]:5000", "https://[fd00::1]:5000/", true),
            ("[fd00::1]:5000", "https://[fd00::1]/", false),
            ("1", "https://10.0.0.1/", false),
            ("", "https://localhost:5000/", true),
            ("", "https://127.0.0.1:5000/", true),
            ("", "https://[::1]/", true),
            (",:,.,*.,::", "https://quay.io/", false),
        ] {
            let proxies = Proxies::all("http://user:secret@proxy.lab:3128".parse().unwrap(), no_proxy);
            let proxy = proxies.proxy_for(&url.parse().unwrap());
            assert_eq!(proxy.is_none(), direct, "{no_proxy:?} {url}");
            assert!(!format!("{proxies:?}").contains("secret"));
        }
    }

    #[test]
    fn proxies_speak_http() {
        for (text, url) in [
            ("proxy.lab:3128", Some("http://proxy.lab:3128/")),
            (" http://u:p@proxy.lab ", Some("http://u:p@proxy.lab/")),
            ("https://proxy.lab", Some("https://proxy.lab/")),
            ("socks5://proxy.lab", None),
            ("http://", None),
            ("::", None),
        ] {
            assert_eq!(proxy_url(text).map(String::from).as_deref(), url, "{text}");
        }
    }
}
