//! Where clients find this service, as its operator says.

use std::str::FromStr;

use coreos_names::{Arch, OsBuild};
use url::Url;

/// The URL that all of this service's own URLs begin with, `IMAGE_SERVICE_BASE_URL`: `https://images.example.com:8080`,
/// also with a path.
///
/// It goes into boot loader configurations in double quotes, so what GRUB would act upon there is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    url: String,
    prefix: String,
}

/// The text cannot be the base of URLs. It may hold a password, and is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the base URL of this service cannot be used: {problem}")]
pub struct InvalidBaseUrl {
    problem: &'static str,
}

impl BaseUrl {
    /// The path in front of all routes, without a slash at its end; mostly empty.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where a host that booted a minimal ISO fetches the rest of it.
    ///
    /// It names the build and not the version that the ISO was asked for with: that may mean another build by the time.
    pub(crate) fn rootfs(&self, arch: Arch, os_build: &OsBuild) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("arch", arch.name()).append_pair("version", os_build.as_str());
        format!("{}/boot-artifacts/rootfs?{}", self.url, query.finish())
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let invalid = |problem| InvalidBaseUrl { problem };
        // Looked for before parsing, which mends some of them.
        if text.contains(['$', '\\', '"']) {
            return Err(invalid("none of $ \\ \" can be part of it"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("blanks, control characters and letters beyond ASCII cannot be part of it"));
        }
        let url = Url::parse(text).map_err(|_| invalid("it is no absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("it begins with neither http:// nor https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("every host would see the user in it"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("a query or fragment cannot be part of it"));
        }
        let prefix = url.path().trim_end_matches('/').to_owned();
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), prefix })
    }
}

#[cfg(test)]
mod tests {
    use coreos_names::Arch;

    use super::BaseUrl;

    #[test]
    fn the_rootfs_of_a_build_has_one_url() {
        let build = "418.94.202511191518-0".parse().unwrap();
        for (base, start) in [
            ("http://images.example.com", "http://images.example.com"),
            ("https://images.example.com:8443/", "https://images.example.com:8443"),
            ("HTTP://[2001:db8::1]:8080/a/b//", "http://[2001:db8::1]:8080/a/b"),
            ("http://10.0.0.1/a%20b", "http://10.0.0.1/a%20b"),
        ] {
            let url = base.parse::<BaseUrl>().unwrap().rootfs(Arch::Arm64, &build);
            assert_eq!(
                url,
                format!("{start}/boot-artifacts/rootfs?arch=arm64&version=418.94.202511191518-0")
            );
        }
    }

    #[test]
    fn a_path_is_a_prefix() {
        for (base, prefix) in
            [("http://a", ""), ("http://a/", ""), ("http://a//", ""), ("http://a/b/c/", "/b/c")]
        {
            assert_eq!(base.parse::<BaseUrl>().unwrap().prefix(), prefix, "{base}");
        }
    }

    #[test]
    fn what_cannot_be_a_base_is_refused() {
        for (base, problem) in [
            ("", "absolute"),
            ("images.example.com", "absolute"),
            ("images.example.com:8080", "neither"),
            ("/images", "absolute"),
            ("http://", "absolute"),
            ("ftp://a", "neither"),
            ("http://a?b", "query"),
            ("http://a#b", "query"),
            ("http://a/?", "query"),
            ("http://user@a", "user"),
            ("http://user:password@a", "user"),
            ("http://a/$b", "none of"),
            ("http://a\\b", "none of"),
            ("http://a/\"", "none of"),
            ("http://a/ b", "blanks"),
            ("http://a\n", "blanks"),
            ("http://é", "blanks"),
        ] {
            let error = base.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("password"), "{base}: {error}");
        }
    }
}
