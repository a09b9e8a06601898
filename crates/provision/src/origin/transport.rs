//! One request, wherever it leads.

use oci_registry::RedactedUrl;
use outbound_http::{ClientRecipe, MAX_REDIRECTS, NamedCas, NoTarget, Proxies, Trust, redirect_target};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::config::{Config, QueryParams};
use super::{Error, OriginUrl};

/// HTTP with an admin's additions to requests, which leave the server they are meant for under no circumstances.
pub(super) struct Transport {
    client: Client,
    headers: HeaderMap,
    query_params: QueryParams,
}

/// Where a download goes on, and which bytes it must go on with.
pub(super) struct Resume<'a> {
    pub(super) offset: u64,
    pub(super) validator: &'a HeaderValue,
}

/// The head of an answer, its body still to come.
pub(super) struct Reply {
    pub(super) response: Response,
    /// Who answered.
    pub(super) url: RedactedUrl,
}

impl Transport {
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        let trust = match &config.trusted_ca_pem {
            Some(pem) => Trust::Beside(NamedCas::from_pem(pem).map_err(Error::TrustedCas)?),
            None if config.insecure_skip_verify => Trust::Anybody,
            None => Trust::System,
        };
        let recipe = ClientRecipe {
            user_agent: &config.user_agent,
            connect_timeout: config.connect_timeout,
            proxies: Proxies::from_env(),
            trust,
            // HTTP/2 gives one large body nothing but a second flow control.
            http1_only: true,
        };
        // Redirects are followed here: reqwest would take the admin's headers along to anybody.
        let client = recipe.builder().read_timeout(config.read_timeout).no_gzip().build();
        Ok(Self {
            client: client.map_err(Error::Client)?,
            headers: config.headers.into_map(),
            query_params: config.query_params,
        })
    }

    /// Asks for a file, or for the rest of it.
    pub(super) async fn get(&self, origin: &OriginUrl, resume: Option<&Resume<'_>>) -> Result<Reply, Error> {
        let origin = origin.as_url();
        let mut url = origin.clone();
        // Whoever redirects decides what the query of the next URL is.
        self.query_params.add_to(&mut url);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, is_trusted(origin, &url), resume).await?;
            let Some(target) = target(origin, &url, response.status(), response.headers())? else {
                return Ok(Reply { response, url: (&url).into() });
            };
            url = target;
            tracing::debug!(to = url.host_str(), "redirected");
        }
        Err(Error::TooManyRedirects { url: (&url).into(), limit: MAX_REDIRECTS })
    }

    async fn send(&self, url: &Url, trusted: bool, resume: Option<&Resume<'_>>) -> Result<Response, Error> {
        let mut request = self.client.get(url.clone());
        if trusted {
            // They replace the Authorization that reqwest makes of a user in the URL, as in the predecessor.
            request = request.headers(self.headers.clone());
        }
        request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(Resume { offset, validator }) = resume {
            request = request.header(RANGE, format!("bytes={offset}-")).header(IF_RANGE, *validator);
        }
        let failure =
            |error: reqwest::Error| Error::Transport { url: url.into(), source: error.without_url() };
        request.send().await.map_err(failure)
    }
}

/// Whether what the admin adds to requests may be sent to `url`: to the server that `origin` names, or to the same one
/// by way of TLS.
fn is_trusted(origin: &Url, url: &Url) -> bool {
    let upgraded = || {
        let parts = |url: &Url| (url.scheme().to_owned(), url.port());
        origin.host() == url.host()
            && parts(origin) == ("http".to_owned(), None)
            && parts(url) == ("https".to_owned(), None)
    };
    origin.origin() == url.origin() || upgraded()
}

/// Where the answer of `from` leads, if elsewhere.
fn target(origin: &Url, from: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, Error> {
    let nowhere = || Error::BadRedirect { url: from.into() };
    let target = redirect_target(from, status, headers).map_err(|NoTarget| nowhere())?;
    let Some(mut target) = target else { return Ok(None) };
    match (from.scheme(), target.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err(Error::PlainHttp { from: from.into(), to: (&target).into() }),
        _ => return Err(nowhere()),
    }
    // reqwest makes an Authorization of user and password. Those the admin gave stay with their server, those of a
    // redirect count for nothing.
    let (user, password) =
        if is_trusted(origin, &target) { (origin.username(), origin.password()) } else { ("", None) };
    target.set_username(user).and_then(|()| target.set_password(password)).map_err(|()| nowhere())?;
    Ok(Some(target))
}

#[cfg(test)]
mod tests {
    use coreos_names::WithCauses;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderValue, LOCATION};

    use super::{is_trusted, target};
    use crate::origin::Error;

    #[test]
    fn only_the_server_that_the_url_names_is_trusted() {
        for (origin, url, expected) in [
            ("https://a.lab/x", "https://a.lab/y?z", true),
            ("https://a.lab/x", "https://a.lab:443/y", true),
            ("https://a.lab/x", "https://a.lab:8443/x", false),
            ("https://a.lab/x", "https://b.a.lab/x", false),
            ("https://a.lab/x", "http://a.lab/x", false),
            ("http://a.lab/x", "https://a.lab/x", true),
            ("http://a.lab:8080/x", "https://a.lab/x", false),
            ("http://a.lab/x", "https://a.lab:8443/x", false),
            ("http://a.lab/x", "https://b.lab/x", false),
        ] {
            assert_eq!(
                is_trusted(&origin.parse().unwrap(), &url.parse().unwrap()),
                expected,
                "{origin} {url}"
            );
        }
    }

    #[test]
    fn redirects_lead_to_https_or_stay_with_http_and_bring_no_credentials() {
        let to = |from: &str, location: &'static str| {
            let from = from.parse().unwrap();
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static(location))]);
            target(&from, &from, StatusCode::FOUND, &headers)
        };
        let lands = |from, location| to(from, location).unwrap().unwrap().to_string();
        assert_eq!(lands("https://u:p@a.lab/x?q=1", "/y"), "https://u:p@a.lab/y");
        assert_eq!(lands("https://u:p@a.lab/x", "https://b.lab/y?s=1"), "https://b.lab/y?s=1");
        assert_eq!(lands("https://a.lab/x", "https://v:w@b.lab/y"), "https://b.lab/y");
        assert_eq!(lands("http://u:p@a.lab/x", "http://a.lab:81/y"), "http://a.lab:81/y");

        let refused = |from, location| WithCauses(&to(from, location).unwrap_err()).to_string();
        assert_eq!(
            refused("https://u:p@a.lab/x?q=1", "http://v:w@a.lab/y?s=1"),
            "https://a.lab/x sends on to http://a.lab/y, which is not encrypted"
        );
        for location in ["ftp://a.lab/x", "file:///etc/passwd", "https://", "mailto:a"] {
            assert_eq!(
                refused("https://a.lab/x", location),
                "https://a.lab/x redirects to nowhere",
                "{location}"
            );
        }
        let from = "http://a/".parse().unwrap();
        let nowhere = target(&from, &from, StatusCode::FOUND, &HeaderMap::new());
        assert!(matches!(nowhere, Err(Error::BadRedirect { .. })));
    }
}
