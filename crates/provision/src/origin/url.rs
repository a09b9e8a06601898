//! Where an image is on a web server, as a type that shows no secret.

use std::fmt;
use std::str::FromStr;

use oci_registry::RedactedUrl;
use url::Url;

/// Where an image is on a web server. User, password and query may be secrets, so only the rest is ever shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OriginUrl(Url);

impl OriginUrl {
    pub(crate) fn as_url(&self) -> &Url {
        &self.0
    }
}

/// Why a text is not the URL of an origin. Repeats nothing of it but the scheme.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOriginUrl {
    /// It is no URL at all.
    #[error("not a URL: {0}; expected an http or https URL")]
    NotAUrl(url::ParseError),
    /// Its scheme is none that images can be fetched with.
    #[error("the scheme {0:?} is not supported: expected an http or https URL")]
    Scheme(String),
    /// It is some other kind of identifier.
    #[error("expected an http or https URL")]
    Other,
}

impl FromStr for OriginUrl {
    type Err = InvalidOriginUrl;

    fn from_str(text: &str) -> Result<Self, InvalidOriginUrl> {
        let mut url = Url::parse(text).map_err(InvalidOriginUrl::NotAUrl)?;
        match url.scheme() {
            "http" | "https" => {
                url.set_fragment(None);
                Ok(Self(url))
            }
            // In `user:password@host/path` the user would be taken for the scheme.
            _ if !url.has_host() => Err(InvalidOriginUrl::Other),
            scheme => Err(InvalidOriginUrl::Scheme(scheme.to_owned())),
        }
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RedactedUrl::from(&self.0).fmt(f)
    }
}

impl fmt::Debug for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OriginUrl({self})")
    }
}
