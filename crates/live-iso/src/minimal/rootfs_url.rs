//! The URL of a root file system, as a kernel argument in the configuration of boot loaders.

use std::fmt;
use std::str::FromStr;

use crate::PlanError;

/// Of no use beyond: it goes into a command line of 2048 bytes.
const LEN_MAX: usize = 1024;

/// The URL that a minimal image fetches its root file system from.
///
/// It is written in double quotes into the configuration of boot loaders: GRUB would split an unquoted one at `&`. What
/// GRUB would still act upon inside the quotes, or would end them, is refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RootfsUrl(String);

impl RootfsUrl {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kernel argument that names the URL.
    pub(super) fn argument(&self) -> String {
        format!("coreos.live.rootfs_url=\"{}\"", self.0)
    }
}

impl TryFrom<String> for RootfsUrl {
    type Error = PlanError;

    fn try_from(url: String) -> Result<Self, PlanError> {
        let unusable = |problem| Err(PlanError::InvalidRootfsUrl { problem });
        let host = ["http://", "https://"].iter().find_map(|scheme| {
            let (start, rest) = url.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        });
        if url.len() > LEN_MAX {
            return unusable("it has more than 1024 bytes");
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return unusable("it holds blanks, control characters or letters beyond ASCII");
        }
        if url.contains(['$', '\\', '"']) {
            return unusable("it holds one of $ \\ \", which GRUB would take for its own");
        }
        match host {
            None => unusable("it begins with neither http:// nor https://"),
            Some(host) if host.is_empty() || host.starts_with(['/', '?', '#', ':']) => {
                unusable("it names no host")
            }
            Some(_) => Ok(Self(url)),
        }
    }
}

impl FromStr for RootfsUrl {
    type Err = PlanError;

    fn from_str(url: &str) -> Result<Self, PlanError> {
        Self::try_from(url.to_owned())
    }
}

impl fmt::Display for RootfsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::RootfsUrl;
    use crate::PlanError;

    #[test]
    fn urls_go_through_unchanged() {
        for url in [
            "http://a",
            "HTTPS://images.example.com:8443/boot-artifacts/rootfs?arch=x86_64&version=418.94#'x'",
            "http://[2001:db8::1]:80/~a/%20(b);c|d",
        ] {
            assert_eq!(url.parse::<RootfsUrl>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn what_a_boot_loader_would_misread_is_refused() {
        let long = format!("http://{}", "a".repeat(1018));
        assert!(long[..1024].parse::<RootfsUrl>().is_ok());
        for url in [
            "",
            "http://",
            "http:///a",
            "http://?a",
            "http://:80/",
            "ftp://a/",
            "//a/b",
            "a",
            "http:/é",
            "http://a/ b",
            "http://a/\n",
            "http://a/\t",
            "http://a/\u{7f}",
            "http://a/é",
            "http://a/$b",
            "http://a/\\b",
            "http://a/\"b",
            &long,
        ] {
            let refused = url.parse::<RootfsUrl>();
            assert!(matches!(refused, Err(PlanError::InvalidRootfsUrl { .. })), "{url}: {refused:?}");
        }
    }
}
