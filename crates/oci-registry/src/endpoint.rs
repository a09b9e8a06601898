use reqwest::StatusCode;
use url::Url;

use crate::challenge::Challenge;
use crate::excerpt::Excerpt;
use crate::reply::Reply;
use crate::subject::Subject;
use crate::transport::Transport;
use crate::{Error, RedactedUrl, RegistryHost};

/// How a registry wants to be spoken to: over which scheme, and how introduced. Learnt by one request to `/v2/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `https://host:port/v2/`.
    base: Url,
    pub(crate) authentication: Authentication,
}

/// How a registry wants to be introduced to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// It does not ask.
    None,
    /// User and password with every request.
    Basic,
    /// A token for each repository, given out by `realm`.
    Bearer { realm: Url, service: Option<String> },
}

impl Endpoint {
    pub(crate) async fn discover(
        transport: &Transport,
        host: &RegistryHost,
        subject: &Subject,
    ) -> Result<Self, Error> {
        let (https, http) = (base("https", host), base("http", host));
        match Self::ping(transport, https, subject).await {
            Err(error) if error.is_connection_failure() && transport.allows(&http) => {
                tracing::debug!(registry = %host, "no HTTPS at this insecure registry, trying HTTP");
                Self::ping(transport, http, subject).await
            }
            other => other,
        }
    }

    /// Where a registry is looked for first.
    pub(crate) fn expected_at(host: &RegistryHost) -> Url {
        base("https", host)
    }

    /// The same registry, of which more is known.
    pub(crate) fn with_authentication(&self, authentication: Authentication) -> Self {
        Self { base: self.base.clone(), authentication }
    }

    /// Whether what came of a request may be so because the registry is not any more what it was: one that was set up
    /// with TLS, without it, or with another token server.
    pub(crate) fn may_be_outdated(&self, transport: &Transport, answer: Result<&Reply, &Error>) -> bool {
        let is_plain = self.base.scheme() == "http";
        match answer {
            // What Go's servers, and nginx, say to plain HTTP where they speak TLS.
            Ok(reply) => is_plain && reply.status() == StatusCode::BAD_REQUEST && !reply.redirected,
            Err(Error::Transport { url, .. } | Error::Tls { url, .. }) if self.is_realm(url) => true,
            Err(error @ (Error::Transport { .. } | Error::Tls { .. })) => {
                is_plain || error.is_connection_failure() && self.allows_plain(transport)
            }
            // Only a token server's answers are errors so early.
            Err(Error::Unauthorized { .. } | Error::NoToken { .. }) => true,
            Err(error @ Error::Status { .. }) => !error.is_retryable(),
            Err(_) => false,
        }
    }

    fn is_realm(&self, url: &RedactedUrl) -> bool {
        match &self.authentication {
            Authentication::Bearer { realm, .. } => RedactedUrl::from(realm) == *url,
            _ => false,
        }
    }

    fn allows_plain(&self, transport: &Transport) -> bool {
        let mut plain = self.base.clone();
        plain.set_scheme("http").is_ok() && transport.allows(&plain)
    }

    /// A registry names the token server that gets our password: not one without encryption.
    pub(crate) fn check_realm(&self, transport: &Transport, realm: &Url) -> Result<(), Error> {
        if transport.allows(realm) {
            Ok(())
        } else {
            Err(Error::PlainHttp { from: (&self.base).into(), to: realm.into() })
        }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        self.base.join(path).expect("repositories, tags and digests are safe in a path")
    }

    /// The registry, asked without being introduced, answers how it wants to be. Anything but a challenge (a 404 of a
    /// registry that is no more than a path of some other server, a 403) leaves it to the first real request.
    async fn ping(transport: &Transport, base: Url, subject: &Subject) -> Result<Self, Error> {
        let reply = transport.get(base.clone(), None, None).await?;
        let status = reply.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(reply.into_error(subject).await);
        }
        let authentication = if status == StatusCode::UNAUTHORIZED && !reply.redirected {
            Authentication::choose(&reply.challenges(), subject)?
        } else {
            Authentication::None
        };
        tracing::debug!(url = %base, %status, authentication = authentication.name(), "registry found");
        Ok(Self { base, authentication })
    }
}

impl Authentication {
    /// The best of what is offered. No offer is none, an offer of nothing known is an error.
    pub(crate) fn choose(challenges: &[Challenge], subject: &Subject) -> Result<Self, Error> {
        let bearer = challenges.iter().find_map(|challenge| {
            let realm =
                challenge.parameter("realm").filter(|_| challenge.scheme() == "bearer")?.parse().ok()?;
            Some(Self::Bearer { realm, service: challenge.parameter("service").map(str::to_owned) })
        });
        if let Some(bearer) = bearer {
            Ok(bearer)
        } else if challenges.iter().any(|challenge| challenge.scheme() == "basic") {
            Ok(Self::Basic)
        } else if challenges.is_empty() {
            Ok(Self::None)
        } else {
            let schemes: Vec<_> = challenges.iter().map(Challenge::scheme).collect();
            Err(Error::UnknownChallenge {
                subject: subject.clone(),
                schemes: Excerpt::of(&schemes.join(", ")),
            })
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Bearer { .. } => "bearer",
        }
    }
}

fn base(scheme: &str, host: &RegistryHost) -> Url {
    format!("{scheme}://{}/v2/", host.api_host()).parse().expect("a registry's name is a URL's authority")
}

#[cfg(test)]
mod tests {
    use super::Authentication;
    use crate::Error;
    use crate::challenge::Challenge;
    use crate::subject::Subject;

    fn choose(header: &str) -> Result<Authentication, Error> {
        let subject = Subject::manifest(&"quay.io/a/b".parse().unwrap());
        Authentication::choose(&Challenge::parse_header(header), &subject)
    }

    #[test]
    fn tokens_are_preferred_to_passwords() {
        let bearer =
            choose(r#"Basic realm="x", Bearer realm="https://auth.lab/token",service="lab""#).unwrap();
        let realm = "https://auth.lab/token".parse().unwrap();
        assert_eq!(bearer, Authentication::Bearer { realm, service: Some("lab".to_owned()) });
        assert_eq!(choose("Basic").unwrap(), Authentication::Basic);
        assert_eq!(choose(r#"Bearer realm="/no/url", Basic"#).unwrap(), Authentication::Basic);
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(choose("").unwrap(), Authentication::None);
        let Err(Error::UnknownChallenge { schemes, .. }) = choose("Negotiate abc==, NTLM") else { panic!() };
        assert_eq!(schemes.as_str(), "negotiate, ntlm");
    }
}
