use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use outbound_http::{MAX_REDIRECTS, NoTarget, redirect_target};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Client, Response, StatusCode};
use url::Url;

use crate::clients::Clients;
use crate::deadline::Deadline;
use crate::reply::Reply;
use crate::{Config, Error, PullSource, RegistryHost};

/// What all exchanges with registries have in common.
pub(crate) struct Network {
    clients: Clients,
    insecure: BTreeSet<RegistryHost>,
    request_timeout: Duration,
}

impl Network {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let Config { insecure, request_timeout, .. } = config;
        let clients = Clients::new(config)?;
        Ok(Self { clients, insecure: insecure.clone(), request_timeout: *request_timeout })
    }

    /// Begins an exchange with what the admin allows at this source. That holds for the source's own host and no other.
    pub(crate) fn at(self: &Arc<Self>, source: &PullSource) -> Transport {
        let insecure_here = source.insecure.then(|| source.reference.host().clone());
        let deadline = Deadline::within(self.request_timeout);
        Transport { network: Arc::clone(self), insecure_here, deadline }
    }
}

/// HTTP for one exchange, with this client's rules about whom to trust.
///
/// TLS is verified and plain HTTP refused, except at hosts the admin has listed as insecure. Redirects are followed
/// here and not by reqwest, which would let an insecure registry turn verification off for whomever it redirects to.
pub(crate) struct Transport {
    network: Arc<Network>,
    /// A registry that is insecure for one pull source only.
    insecure_here: Option<RegistryHost>,
    pub(crate) deadline: Deadline,
}

impl Transport {
    /// Gets a URL, wherever it leads. `authorization` never leaves the place it was meant for.
    pub(crate) async fn get(
        &self,
        url: Url,
        accept: Option<&str>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Reply, Error> {
        self.get_from(0, url, accept, authorization).await
    }

    /// The same from a byte on. Who answers may know no ranges, and begin at the beginning.
    pub(crate) async fn get_from(
        &self,
        offset: u64,
        url: Url,
        accept: Option<&str>,
        mut authorization: Option<&HeaderValue>,
    ) -> Result<Reply, Error> {
        let asked = url.origin();
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let send = self.send(offset, &url, accept, authorization);
            let response = self.deadline.hold(&url, send).await?;
            let Some(target) = self.target(&url, response.status(), response.headers())? else {
                let redirected = url.origin() != asked;
                return Ok(Reply { response, redirected, url: (&url).into(), deadline: self.deadline });
            };
            url = target;
            if url.origin() != asked {
                tracing::debug!(to = url.host_str(), "redirected");
                authorization = None;
            }
        }
        Err(Error::TooManyRedirects { url: (&url).into(), limit: MAX_REDIRECTS })
    }

    /// Posts a form. Redirects are not followed: whoever sends a form elsewhere wants its contents to go there.
    pub(crate) async fn post_form(&self, url: &Url, form: &[(&str, &str)]) -> Result<Reply, Error> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let send = async {
            let request = self.client(url).await?.post(url.clone()).header(ACCEPT_ENCODING, "identity");
            let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
            request.send().await.map_err(|error| failure(url, error))
        };
        let response = self.deadline.hold(url, send).await?;
        Ok(Reply { response, redirected: false, url: url.into(), deadline: self.deadline })
    }

    /// Whether the admin has listed the host of this URL, under its name with or without the port that goes without
    /// saying.
    pub(crate) fn is_insecure(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let port = url.port_or_known_default().unwrap_or_default();
        let listed = |name: &str| self.listed().any(|insecure| insecure.api_host() == name);
        listed(&format!("{host}:{port}")) || url.port().is_none() && listed(host)
    }

    /// Whether the admin has listed this registry.
    pub(crate) fn lists(&self, host: &RegistryHost) -> bool {
        self.listed().any(|insecure| insecure == host)
    }

    fn listed(&self) -> impl Iterator<Item = &RegistryHost> {
        self.network.insecure.iter().chain(&self.insecure_here)
    }

    /// Whether the rules allow to talk to this URL.
    pub(crate) fn allows(&self, url: &Url) -> bool {
        url.scheme() == "https" || url.scheme() == "http" && self.is_insecure(url)
    }

    async fn client(&self, url: &Url) -> Result<Client, Error> {
        self.network.clients.client(url, self.is_insecure(url)).await
    }

    async fn send(
        &self,
        offset: u64,
        url: &Url,
        accept: Option<&str>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        // Whatever encodes on the way changes the bytes whose digest is known.
        let mut request = self.client(url).await?.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| failure(url, error))
    }

    /// Where the answer of `from` leads, if elsewhere.
    fn target(&self, from: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, Error> {
        let nowhere = || Error::BadRedirect { url: from.into() };
        let target = redirect_target(from, status, headers).map_err(|NoTarget| nowhere())?;
        let Some(mut target) = target else { return Ok(None) };
        // reqwest would make an Authorization header of them.
        target.set_username("").and_then(|()| target.set_password(None)).map_err(|()| nowhere())?;
        match target.scheme() {
            _ if self.allows(&target) => Ok(Some(target)),
            "http" => Err(Error::PlainHttp { from: from.into(), to: (&target).into() }),
            _ => Err(nowhere()),
        }
    }
}

/// Tells failures of trust from failures of the network: only the latter may pass.
fn failure(url: &Url, error: reqwest::Error) -> Error {
    let (tls, url, source) = (tls_error(&error).is_some(), url.into(), error.without_url());
    if tls { Error::Tls { url, source } } else { Error::Transport { url, source } }
}

/// What TLS has to say about a failure, if it is about TLS.
pub(crate) fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    // An io::Error is skipped by its own `source`, which is that of the error inside.
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error
        .downcast_ref()
        .or_else(|| inside.and_then(|inside| tls_error(inside)))
        .or_else(|| error.source().and_then(tls_error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Network, Transport};
    use crate::{Config, Error, PullSource};

    fn network(insecure: &[&str]) -> Arc<Network> {
        test_support::install_crypto_provider();
        let insecure = insecure.iter().map(|host| host.parse().unwrap()).collect();
        Arc::new(Network::new(&Config { insecure, ..Config::default() }).unwrap())
    }

    fn transport(network: &Arc<Network>, source: &str, insecure: bool) -> Transport {
        network.at(&PullSource { reference: source.parse().unwrap(), insecure })
    }

    #[test]
    fn a_host_is_listed_with_or_without_the_port_that_goes_without_saying() {
        let network = network(&["a.lab", "b.lab:5000", "c.lab:443", "[fd00::1]:5000", "docker.io"]);
        let transport = transport(&network, "elsewhere.lab/x", false);
        for (url, allowed, insecure) in [
            ("https://a.lab/x", true, true),
            ("http://a.lab/x", true, true),
            ("https://a.lab:5000/", true, false),
            ("http://a.lab:5000/", false, false),
            ("http://b.lab:5000/", true, true),
            ("http://b.lab/", false, false),
            ("https://c.lab/", true, true),
            ("http://c.lab/", false, false),
            ("http://[fd00::1]:5000/", true, true),
            ("https://registry-1.docker.io/", true, true),
            ("https://quay.io/", true, false),
            ("http://quay.io/", false, false),
            ("ftp://a.lab/", false, true),
        ] {
            let url = url.parse().unwrap();
            assert_eq!((transport.allows(&url), transport.is_insecure(&url)), (allowed, insecure), "{url}");
        }
    }

    #[test]
    fn what_one_source_is_allowed_no_other_is() {
        let network = network(&["a.lab"]);
        let [trusted, insecure] =
            [false, true].map(|insecure| transport(&network, "b.lab:5000/x/y", insecure));
        for (url, allowed) in [
            ("http://a.lab/x", [true, true]),
            ("http://b.lab:5000/x", [false, true]),
            ("http://b.lab/x", [false, false]),
            ("http://cdn.b.lab:5000/x", [false, false]),
        ] {
            let url = url.parse().unwrap();
            assert_eq!([&trusted, &insecure].map(|transport| transport.allows(&url)), allowed, "{url}");
        }
        let host = "b.lab:5000".parse().unwrap();
        assert!(!trusted.lists(&host) && insecure.lists(&host));
        assert!(!transport(&network, "c.lab/x", true).lists(&host));
    }

    #[test]
    fn a_ca_bundle_without_certificates_is_refused() {
        test_support::install_crypto_provider();
        for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let config = Config { trusted_ca_pem: Some(pem.into()), ..Config::default() };
            let error = Network::new(&config).err();
            assert!(matches!(error, Some(Error::TrustedCa(_))), "{pem:?}: {error:?}");
        }
    }
}
