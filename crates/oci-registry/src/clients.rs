use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use outbound_http::{ClientRecipe, InvalidCas, NamedCas, Trust, tls_config};
use reqwest::{Client, ClientBuilder};
use rustls::sign::SingleCertAndKey;
use url::Url;

use crate::blocking::blocking;
use crate::host_certificates::{ClientIdentity, HostCertificates, Stamp, directory_of, stamp};
use crate::slots::Slots;
use crate::{Config, Error, HostCertificatesError, Proxies, RegistryHost};

/// The HTTP clients: one pair for most hosts, and one for every host with certificates of its own.
///
/// Those are read when the host is first talked to, and again when they have changed. A file that is broken harms its
/// host only, and is read again with the next request.
pub(crate) struct Clients {
    recipe: Arc<Recipe>,
    shared: Pair,
    of_hosts: Slots<String, (Stamp, Pair)>,
}

#[derive(Clone)]
struct Pair {
    verified: Client,
    unverified: Client,
}

/// What all clients have in common.
struct Recipe {
    certs_dirs: Vec<PathBuf>,
    /// In PEM.
    trusted: Vec<u8>,
    user_agent: String,
    connect_timeout: Duration,
    read_timeout: Duration,
    http1_only: bool,
    proxies: Proxies,
}

impl Clients {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let recipe = Recipe::new(config);
        let named = config.trusted_ca_pem.as_deref().map(NamedCas::from_pem).transpose();
        let shared = recipe.clients(named.map_err(Error::TrustedCa)?, None).map_err(Error::Client)?;
        Ok(Self { recipe: Arc::new(recipe), shared, of_hosts: Slots::default() })
    }

    /// The client for the host of this URL.
    pub(crate) async fn client(&self, url: &Url, insecure: bool) -> Result<Client, Error> {
        let pair = if self.recipe.certs_dirs.is_empty() {
            None
        } else {
            self.of_host(url).await.map_err(|source| Error::HostCertificates { url: url.into(), source })?
        };
        let pair = pair.unwrap_or_else(|| self.shared.clone());
        Ok(if insecure { pair.unverified } else { pair.verified })
    }

    /// `None` if the host has no directory. One that appears later is found.
    async fn of_host(&self, url: &Url) -> Result<Option<Pair>, HostCertificatesError> {
        let called = directory_names(url);
        let recipe = Arc::clone(&self.recipe);
        let directory = blocking(move || directory_of(&recipe.certs_dirs, &called)).await;
        let Some(directory) = directory else { return Ok(None) };
        let looked_at = directory.clone();
        let stamp = blocking(move || stamp(&looked_at)).await?;

        let slot = self.of_hosts.slot(url.origin().ascii_serialization());
        let mut slot = slot.lock().await;
        if let Some((before, pair)) = &*slot
            && *before == stamp
        {
            return Ok(Some(pair.clone()));
        }
        let recipe = Arc::clone(&self.recipe);
        let pair = blocking(move || {
            let HostCertificates { authorities, identity } = HostCertificates::read(&directory)?;
            let named = recipe
                .named_beside(authorities)
                .map_err(|source| HostCertificatesError::Authorities { path: directory.clone(), source })?;
            recipe
                .clients(named, identity)
                .map_err(|source| HostCertificatesError::Unusable { directory, source })
        });
        let pair = pair.await?;
        *slot = Some((stamp, pair.clone()));
        Ok(Some(pair))
    }
}

impl Recipe {
    fn new(config: &Config) -> Self {
        Self {
            certs_dirs: config.certs_dirs.clone(),
            trusted: config.trusted_ca_pem.clone().unwrap_or_default(),
            user_agent: config.user_agent.clone(),
            connect_timeout: config.connect_timeout,
            read_timeout: config.read_timeout,
            http1_only: config.http1_only,
            proxies: config.proxies.clone(),
        }
    }

    /// Those who are trusted everywhere, and those of one host. `None` if there are neither.
    fn named_beside(&self, mut authorities: Vec<u8>) -> Result<Option<NamedCas>, InvalidCas> {
        authorities.extend(&self.trusted);
        if authorities.is_empty() { Ok(None) } else { NamedCas::from_pem(&authorities).map(Some) }
    }

    fn clients(&self, named: Option<NamedCas>, identity: Option<ClientIdentity>) -> reqwest::Result<Pair> {
        let mut tls = tls_config(match named {
            Some(named) => named.beside_the_systems(),
            None => return self.clients_of_the_system(identity.as_ref()),
        });
        tls.alpn_protocols = [&b"h2"[..], b"http/1.1"].map(<[u8]>::to_vec).into();
        if self.http1_only {
            tls.alpn_protocols.remove(0);
        }
        let mut unverified = self.builder().tls_danger_accept_invalid_certs(true);
        if let Some(ClientIdentity { for_reqwest, for_rustls }) = identity {
            tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(for_rustls));
            unverified = unverified.identity(for_reqwest);
        }
        let verified = self.builder().tls_backend_preconfigured(tls);
        Ok(Pair { verified: verified.build()?, unverified: unverified.build()? })
    }

    /// For hosts where nobody is trusted but whom the system trusts.
    fn clients_of_the_system(&self, identity: Option<&ClientIdentity>) -> reqwest::Result<Pair> {
        let builder = || match identity {
            Some(identity) => self.builder().identity(identity.for_reqwest.clone()),
            None => self.builder(),
        };
        Ok(Pair {
            verified: builder().build()?,
            unverified: builder().tls_danger_accept_invalid_certs(true).build()?,
        })
    }

    fn builder(&self) -> ClientBuilder {
        // A dead HTTP/2 connection is found out by pings before a request has waited too long. Or else the next request
        // would be sent along the same dead connection, and the one after that.
        let ping = self.read_timeout / 4;
        let recipe = ClientRecipe {
            user_agent: &self.user_agent,
            connect_timeout: self.connect_timeout,
            proxies: self.proxies.clone(),
            // What is trusted besides is added to it.
            trust: Trust::System,
            http1_only: self.http1_only,
        };
        recipe
            .builder()
            .read_timeout(self.read_timeout)
            .http2_keep_alive_interval(ping)
            .http2_keep_alive_timeout(ping)
            .http2_keep_alive_while_idle(true)
            // A layer that is served with `Content-Encoding: gzip` must arrive as it is.
            .no_gzip()
    }
}

/// What the directory for a URL's host may be called: the host as references name it, with the port if one is named.
fn directory_names(url: &Url) -> Vec<String> {
    let Some(host) = url.host_str() else { return Vec::new() };
    let port = url.port_or_known_default().unwrap_or_default();
    let mut names = vec![format!("{host}:{port}")];
    if url.port().is_none() {
        names.insert(0, host.to_owned());
        let known_as = host.parse::<RegistryHost>().ok();
        names.extend(
            known_as.filter(|known_as| known_as.as_str() != host).map(|known_as| known_as.to_string()),
        );
    }
    names
}

#[cfg(test)]
mod tests {
    use super::directory_names;

    #[test]
    fn a_directory_is_named_as_references_name_the_host() {
        for (url, names) in [
            ("https://quay.io/v2/", &["quay.io", "quay.io:443"] as &[_]),
            ("https://mirror.lab:5000/v2/", &["mirror.lab:5000"]),
            ("https://[fd00::1]:5000/", &["[fd00::1]:5000"]),
            ("http://mirror.lab/", &["mirror.lab", "mirror.lab:80"]),
            (
                "https://registry-1.docker.io/",
                &["registry-1.docker.io", "registry-1.docker.io:443", "docker.io"],
            ),
        ] {
            assert_eq!(directory_names(&url.parse().unwrap()), names, "{url}");
        }
    }
}
