use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use crate::credential_source::CredentialSource;
use crate::credentials_used::CredentialsUsed;
use crate::endpoint::{Authentication, Endpoint};
use crate::pull_secret::PullSecret;
use crate::reply::Reply;
use crate::slots::{Slot, Slots};
use crate::subject::Subject;
use crate::token::Token;
use crate::transport::Transport;
use crate::{Credentials, EntryProblem, Error, RegistryHost, UnusableEntry};

/// Introduces requests to registries, and remembers how.
///
/// What a registry wants is asked once for each registry, a token fetched once for each repository; others who need
/// the same wait for it. Both are asked for again when an answer shows that the registry has changed. What was learnt
/// where TLS is not verified is of no use where it is.
pub(crate) struct Authenticator {
    credentials: CredentialSource,
    endpoints: Slots<Party, Endpoint>,
    tokens: Slots<(Party, String), Issued>,
}

/// A registry, and whether it is spoken to with unverified TLS, or without TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Party {
    host: RegistryHost,
    insecure: bool,
}

/// A token, and who was given it by whom.
struct Issued {
    token: Token,
    to: Option<Credentials>,
    by: Authentication,
}

/// How one request is to be made.
pub(crate) struct Access {
    pub(crate) endpoint: Endpoint,
    party: Party,
    pub(crate) authorization: Option<HeaderValue>,
    /// The pull secret behind it, and the key of its entry.
    secret: PullSecret,
    key: Option<String>,
    /// Whether the authorization comes from the cache, and may have expired.
    cached: bool,
    /// Whether a token server has found the credentials to be right.
    vouched: bool,
}

impl Authenticator {
    pub(crate) fn new(credentials: CredentialSource) -> Self {
        Self { credentials, endpoints: Slots::default(), tokens: Slots::default() }
    }

    pub(crate) async fn access(&self, transport: &Transport, subject: &Subject) -> Result<Access, Error> {
        let party = Party::of(transport, subject);
        let endpoint = self.endpoint(transport, &party, subject).await?;
        let secret = self.credentials.latest().await;
        match self.introduce(transport, subject, &party, &endpoint, secret.clone()).await {
            Err(error) if error.is_unauthorized() => match self.changed(subject, &secret).await {
                Some(secret) => self.introduce(transport, subject, &party, &endpoint, secret).await,
                None => Err(error),
            },
            other => other,
        }
        .map_err(|error| with_near_miss(error, &secret))
    }

    async fn introduce(
        &self,
        transport: &Transport,
        subject: &Subject,
        party: &Party,
        endpoint: &Endpoint,
        secret: PullSecret,
    ) -> Result<Access, Error> {
        let unusable = |source| Error::UnusableEntry { subject: subject.clone(), source };
        let found = secret.lookup(subject.reference()).map_err(unusable)?;
        let key = found.map(|(key, _)| key.to_owned());
        let bearer = found.and_then(|(_, credentials)| credentials.registry_token());
        let (mut cached, mut vouched) = (false, false);
        let authorization = match (&endpoint.authentication, found) {
            (Authentication::None, _) | (Authentication::Basic, None) => None,
            (Authentication::Basic, Some((key, credentials))) => {
                let header = credentials.basic().or(bearer);
                let problem = EntryProblem::IdentityToken;
                Some(header.ok_or_else(|| unusable(UnusableEntry { key: key.to_owned(), problem }))?)
            }
            (Authentication::Bearer { .. }, _) if bearer.is_some() => bearer,
            (Authentication::Bearer { realm, service }, found) => {
                let credentials = found.map(|(_, credentials)| credentials);
                let slot = self.token_slot(party, subject);
                let mut slot = slot.lock().await;
                vouched = credentials.is_some();
                match &*slot {
                    Some(issued) if issued.is_for(credentials, &endpoint.authentication) => {
                        cached = true;
                        Some(issued.token.authorization())
                    }
                    _ => {
                        endpoint.check_realm(transport, realm)?;
                        let token =
                            Token::fetch(transport, realm, service.as_deref(), subject, found).await?;
                        let (to, by) = (credentials.cloned(), endpoint.authentication.clone());
                        let issued = slot.insert(Issued { token, to, by });
                        Some(issued.token.authorization())
                    }
                }
            }
        };
        let (endpoint, party) = (endpoint.clone(), party.clone());
        Ok(Access { endpoint, party, authorization, secret, key, cached, vouched })
    }

    /// After a 401: learns what the registry wants, or that the pull secret has changed, or forgets a token that has
    /// expired. Whether to ask again.
    pub(crate) async fn learn(
        &self,
        subject: &Subject,
        access: &Access,
        reply: &Reply,
    ) -> Result<bool, Error> {
        let before = &access.endpoint.authentication;
        match (before, Authentication::choose(&reply.challenges(), subject)) {
            // Some registries let anybody see `/v2/` and ask at the first real request, some have changed since then.
            (_, Ok(wanted)) if wanted != Authentication::None && wanted != *before => {
                tracing::debug!(registry = %access.party.host, authentication = wanted.name(), "learnt anew");
                let slot = self.endpoints.slot(access.party.clone());
                *slot.lock().await = Some(access.endpoint.with_authentication(wanted));
                Ok(true)
            }
            (Authentication::None, wanted) => wanted.map(|_| false),
            (Authentication::Bearer { .. }, _) if access.cached => {
                let slot = self.token_slot(&access.party, subject);
                let mut slot = slot.lock().await;
                // Unless somebody else has renewed it meanwhile.
                slot.take_if(|issued| Some(issued.token.authorization()) == access.authorization);
                Ok(true)
            }
            _ => Ok(self.changed(subject, &access.secret).await.is_some()),
        }
    }

    /// The pull secret as it is now, if it says something else of what is asked for than it did.
    async fn changed(&self, subject: &Subject, before: &PullSecret) -> Option<PullSecret> {
        let now = self.credentials.reloaded().await;
        let reference = subject.reference();
        let same = match (before.lookup(reference), now.lookup(reference)) {
            (Ok(before), Ok(now)) => is_same(before.map(|(_, before)| before), now.map(|(_, now)| now)),
            (before, now) => before.err() == now.err(),
        };
        (!same).then_some(now)
    }

    /// What is known of the registry by now. `None` if nothing is, or somebody is about to learn it.
    pub(crate) fn known(&self, transport: &Transport, subject: &Subject) -> Option<Endpoint> {
        self.endpoints.slot(Party::of(transport, subject)).try_lock().ok()?.clone()
    }

    /// Asks the registry how it wants to be spoken to, after a request that came to nothing. Whether something else
    /// has been learnt than was `known`; if it cannot be asked, nothing is known any more.
    pub(crate) async fn rediscover(
        &self,
        transport: &Transport,
        subject: &Subject,
        known: &Endpoint,
    ) -> Result<bool, Error> {
        let party = Party::of(transport, subject);
        let slot = self.endpoints.slot(party.clone());
        let mut slot = slot.lock().await;
        // Unless somebody else has done so meanwhile.
        if slot.as_ref().is_none_or(|now| now == known) {
            *slot = None;
            *slot = Some(Endpoint::discover(transport, &party.host, subject).await?);
        }
        Ok(slot.as_ref() != Some(known))
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

    fn token_slot(&self, party: &Party, subject: &Subject) -> Slot<Issued> {
        self.tokens.slot((party.clone(), subject.reference().repository().to_owned()))
    }
}

impl Party {
    fn of(transport: &Transport, subject: &Subject) -> Self {
        let host = subject.reference().host().clone();
        Self { insecure: transport.lists(&host), host }
    }
}

impl Issued {
    fn is_for(&self, credentials: Option<&Credentials>, by: &Authentication) -> bool {
        self.token.is_valid() && is_same(self.to.as_ref(), credentials) && self.by == *by
    }
}

fn is_same(one: Option<&Credentials>, other: Option<&Credentials>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_as(other),
        (None, None) => true,
        _ => false,
    }
}

/// A token server that refuses is asked by somebody who does not know the pull secret.
fn with_near_miss(mut error: Error, secret: &PullSecret) -> Error {
    if let Error::Unauthorized { subject, credentials: CredentialsUsed::NoEntry(near_miss), .. } = &mut error
    {
        *near_miss = secret.near_miss(subject.reference());
    }
    error
}

impl Access {
    /// The pull secret's entry that was shown to the registry. `None` if the request was anonymous.
    pub(crate) fn entry_shown(&self) -> Option<&str> {
        self.key.as_deref().filter(|_| self.authorization.is_some())
    }

    /// The pull secret's entry for what was asked for, whether it was shown or not.
    pub(crate) fn entry(&self) -> Option<&str> {
        self.key.as_deref()
    }

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
                let credentials = match (self.endpoint.authentication, self.key) {
                    (Authentication::None, _) => CredentialsUsed::NotAsked,
                    (_, None) => CredentialsUsed::NoEntry(self.secret.near_miss(subject.reference())),
                    (_, Some(key)) if !self.vouched && status == StatusCode::UNAUTHORIZED => {
                        CredentialsUsed::Entry(key)
                    }
                    // A token server that knows user and password gives out a token even if it is good for nothing.
                    (_, Some(key)) => return Error::Denied { subject, key, answer },
                };
                Error::Unauthorized { subject, credentials, answer }
            }
            _ => reply.into_error(&subject).await,
        }
    }
}
