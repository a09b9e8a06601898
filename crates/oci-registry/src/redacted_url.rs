use std::fmt;
use std::path::Path;

use url::Url;

/// A URL without what may be secret in it: user, password, query and fragment. Presigned storage URLs carry their
/// signature in the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedactedUrl(String);

impl From<&Url> for RedactedUrl {
    fn from(url: &Url) -> Self {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self(format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()))
    }
}

impl RedactedUrl {
    /// A file, in which nothing is secret.
    pub(crate) fn from_path(path: &Path) -> Self {
        Self(format!("file://{}", path.display()))
    }
}

impl fmt::Display for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::RedactedUrl;

    #[test]
    fn only_scheme_host_port_and_path_are_shown() {
        let url = "https://user:password@[::1]:8443/bucket/sha256/ab?X-Amz-Signature=c#d".parse().unwrap();
        assert_eq!(RedactedUrl::from(&url).to_string(), "https://[::1]:8443/bucket/sha256/ab");
    }
}
