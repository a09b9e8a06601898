use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use crate::credentials::Credentials;
use crate::endpoint::{Authentication, Endpoint};
use crate::error::{CredentialsUsed, Subject};
use crate::pull_secret::PullSecret;
use crate::reply::Reply;
use crate::slots::{Slot, Slots};
use crate::token::Token;
use crate::transport::Transport;
use crate::{Error, RegistryHost};

/// Introduces requests to registries, and remembers how.
///
/// What a registry wants is asked once for each registry, a token fetched once for each repository; others who need
/// the same wait for it. What was learnt where TLS is not verified is of no use where it is.
pub(crate) struct Authenticator {
    credentials: PullSecret,
    endpoints: Slots<Party, Endpoint>,
    tokens: Slots<(Party, String), Token>,
}

/// A registry, and whether it is spoken to with unverified TLS, or without TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Party {
    host: RegistryHost,
    insecure: bool,
}

/// How one request is to be made.
pub(crate) struct Access {
    pub(crate) endpoint: Endpoint,
    party: Party,
    pub(crate) authorization: Option<HeaderValue>,
    /// The pull secret's entry behind it.
    key: Option<String>,
    /// Whether the authorization comes from the cache, and may have expired.
    cached: bool,
}

impl Authenticator {
    pub(crate) fn new(credentials: PullSecret) -> Self {
        Self { credentials, endpoints: Slots::default(), tokens: Slots::default() }
    }

    pub(crate) async fn access(&self, transport: &Transport, subject: &Subject) -> Result<Access, Error> {
        let host = subject.reference().host().clone();
        let party = Party { insecure: transport.lists(&host), host };
        let endpoint = self.endpoint(transport, &party, subject).await?;
        let found = self
            .credentials
            .lookup(subject.reference())
            .map_err(|source| Error::UnusableEntry { subject: subject.clone(), source })?;
        let (key, credentials) = found.unzip();
        let key = key.map(str::to_owned);
        let (authorization, cached) = match &endpoint.authentication {
            Authentication::None => (None, false),
            Authentication::Basic => (credentials.map(Credentials::basic), false),
            Authentication::Bearer { realm, service } => {
                let slot = self.token_slot(&party, subject);
                let mut slot = slot.lock().await;
                match &*slot {
                    Some(token) if token.is_valid() => (Some(token.authorization()), true),
                    _ => {
                        endpoint.check_realm(transport, realm)?;
                        let token =
                            Token::fetch(transport, realm, service.as_deref(), subject, found).await?;
                        (Some(slot.insert(token).authorization()), false)
                    }
                }
            }
        };
        Ok(Access { endpoint, party, authorization, key, cached })
    }

    /// After a 401: learns what the registry wants, or forgets a token that has expired. Whether to ask again.
    pub(crate) async fn learn(
        &self,
        subject: &Subject,
        access: &Access,
        reply: &Reply,
    ) -> Result<bool, Error> {
        match &access.endpoint.authentication {
            // Some registries let anybody see `/v2/` and ask at the first real request.
            Authentication::None => {
                let authentication = Authentication::choose(&reply.challenges(), subject)?;
                let learnt = authentication != Authentication::None;
                if learnt {
                    let slot = self.endpoints.slot(access.party.clone());
                    *slot.lock().await = Some(access.endpoint.with_authentication(authentication));
                }
                Ok(learnt)
            }
            Authentication::Basic => Ok(false),
            Authentication::Bearer { .. } => {
                let slot = self.token_slot(&access.party, subject);
                let mut slot = slot.lock().await;
                // Unless somebody else has renewed it meanwhile.
                slot.take_if(|token| Some(token.authorization()) == access.authorization);
                Ok(access.cached)
            }
        }
    }

    async fn endpoint(
        &self,
        transport: &Transport,
        party: &Party,
        subject: &Subject,
    ) -> Result<Endpoint, Error> {
        let slot = self.endpoints.slot(party.clone());
        let mut slot = slot.lock().await;
        match &*slot {
            Some(endpoint) => Ok(endpoint.clone()),
            None => Ok(slot.insert(Endpoint::discover(transport, &party.host, subject).await?).clone()),
        }
    }

    fn token_slot(&self, party: &Party, subject: &Subject) -> Slot<Token> {
        self.tokens.slot((party.clone(), subject.reference().repository().to_owned()))
    }
}

impl Access {
    /// The error that a refusal of this request is.
    pub(crate) async fn refused(self, subject: &Subject, reply: Reply) -> Error {
        let (status, redirected) = (reply.status(), reply.redirected);
        let subject = subject.clone();
        match status {
            // Whoever answers after a redirect knows nothing of us: its refusals are about the redirect.
            _ if redirected => reply.into_error(&subject).await,
            StatusCode::NOT_FOUND => Error::NotFound { subject, answer: reply.answer().await },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let answer = reply.answer().await;
                match (self.endpoint.authentication, self.key) {
                    (Authentication::None, _) => {
                        Error::Unauthorized { subject, credentials: CredentialsUsed::NotAsked, answer }
                    }
                    (_, None) => {
                        Error::Unauthorized { subject, credentials: CredentialsUsed::NoEntry, answer }
                    }
                    (Authentication::Basic, Some(key)) if status == StatusCode::UNAUTHORIZED => {
                        Error::Unauthorized { subject, credentials: CredentialsUsed::Entry(key), answer }
                    }
                    // A token server that knows user and password gives out a token even if it is good for nothing.
                    (_, Some(key)) => Error::Denied { subject, key, answer },
                }
            }
            _ => reply.into_error(&subject).await,
        }
    }
}
