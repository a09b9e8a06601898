use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::Error;
use crate::credentials::Credentials;
use crate::credentials_used::CredentialsUsed;
use crate::subject::Subject;
use crate::transport::Transport;

/// A bearer token for pulling from one repository (Docker's token authentication specification).
pub(crate) struct Token {
    authorization: HeaderValue,
    expires: Instant,
}

impl Token {
    /// What the specification says of an answer without `expires_in`, and the least that is believed.
    const MIN_LIFETIME: Duration = Duration::from_mins(1);
    /// Nobody who says more has to be believed: a new token is cheap.
    const MAX_LIFETIME: Duration = Duration::from_hours(1);
    /// Not used in its last seconds, during which it may be on its way.
    const MARGIN: Duration = Duration::from_secs(10);
    /// A token for many repositories fills several KiB.
    const MAX_ANSWER: u64 = 1 << 20;

    /// Asks the realm for a token, introduced by the credentials if there are any.
    pub(crate) async fn fetch(
        transport: &Transport,
        realm: &Url,
        service: Option<&str>,
        subject: &Subject,
        credentials: Option<(&str, &Credentials)>,
    ) -> Result<Self, Error> {
        let scope = subject.repository().map(|repository| format!("repository:{repository}:pull"));
        let (key, credentials) = credentials.unzip();
        let mut identity = match credentials {
            Some(credentials) => credentials.identity_token().await,
            None => None,
        };
        let asked = Instant::now();
        let reply = if let Some(identity) = &identity {
            let form = exchange_form(identity, service, scope.as_deref());
            transport.post_form(realm, &form).await?
        } else {
            let url = token_url(realm, service, scope.as_deref(), credentials.map(Credentials::username));
            transport.get(url, None, credentials.and_then(Credentials::basic).as_ref()).await?
        };
        match reply.status() {
            StatusCode::OK => {}
            status if !reply.redirected && is_refusal(status, identity.is_some()) => {
                let credentials = CredentialsUsed::of(key);
                let answer = reply.answer().await;
                return Err(Error::Unauthorized { subject: subject.clone(), credentials, answer });
            }
            _ => return Err(reply.into_error(subject).await),
        }
        let url = reply.url.clone();
        let body = reply.body(subject, Self::MAX_ANSWER).await?;
        tracing::debug!(%url, repository = subject.repository(), "token received");
        let Some((token, successor)) = Self::parse(&body, asked) else {
            return Err(Error::NoToken { subject: subject.clone(), url });
        };
        if let (Some(identity), Some(successor)) = (&mut identity, successor) {
            **identity = successor;
        }
        Ok(token)
    }

    /// As the header says it.
    pub(crate) fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }

    pub(crate) fn is_valid(&self) -> bool {
        Instant::now() < self.expires
    }

    /// The token, and the identity token that is to be used next time.
    fn parse(body: &[u8], asked: Instant) -> Option<(Self, Option<SecretString>)> {
        #[derive(Deserialize)]
        struct Document {
            token: Option<String>,
            access_token: Option<String>,
            refresh_token: Option<String>,
            /// A number, though some write it as text; then the default serves.
            #[serde(default)]
            expires_in: Value,
        }

        let document: Document = serde_json::from_slice(body).ok()?;
        let token = document.token.or(document.access_token).filter(|token| !token.is_empty())?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        authorization.set_sensitive(true);
        let lifetime = document.expires_in.as_u64().map_or(Self::MIN_LIFETIME, Duration::from_secs);
        let lifetime = lifetime.clamp(Self::MIN_LIFETIME, Self::MAX_LIFETIME);
        let token = Self { authorization, expires: asked + lifetime.saturating_sub(Self::MARGIN) };
        let successor = document.refresh_token.filter(|token| !token.is_empty());
        Some((token, successor.map(SecretString::from)))
    }
}

/// Whether the token server means that it does not know us. OAuth 2 answers 400 to a token that is not valid.
fn is_refusal(status: StatusCode, exchange: bool) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || exchange && status == StatusCode::BAD_REQUEST
}

/// The realm with the question added to what query it has.
fn token_url(realm: &Url, service: Option<&str>, scope: Option<&str>, account: Option<&str>) -> Url {
    let mut url = realm.clone();
    let question = [("service", service), ("scope", scope), ("account", account)];
    url.query_pairs_mut().extend_pairs(question.iter().filter_map(|&(name, value)| Some((name, value?))));
    url
}

/// What is posted to exchange an identity token.
fn exchange_form<'a>(
    identity: &'a SecretString,
    service: Option<&'a str>,
    scope: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let form = [
        ("grant_type", Some("refresh_token")),
        ("refresh_token", Some(identity.expose_secret())),
        ("client_id", Some(env!("CARGO_PKG_NAME"))),
        ("service", service),
        ("scope", scope),
    ];
    form.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Token, token_url};

    /// The token and how long it is used.
    fn parse(body: &str) -> Option<(String, u64)> {
        let now = Instant::now();
        let (token, _) = Token::parse(body.as_bytes(), now)?;
        let shown = token.authorization().to_str().unwrap().to_owned();
        Some((shown, token.expires.duration_since(now).as_secs()))
    }

    #[test]
    fn tokens_are_read_as_servers_write_them() {
        for (body, token, seconds) in [
            (r#"{"token":"abc"}"#, "Bearer abc", 50),
            (r#"{"access_token":"abc","expires_in":300}"#, "Bearer abc", 290),
            (r#"{"token":"abc","access_token":"def","expires_in":1}"#, "Bearer abc", 50),
            (r#"{"token":"abc","expires_in":"300"}"#, "Bearer abc", 50),
            (r#"{"token":"abc","expires_in":18446744073709551615}"#, "Bearer abc", 3590),
        ] {
            assert_eq!(parse(body), Some((token.to_owned(), seconds)), "{body}");
        }
        for body in ["", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, "<html>"] {
            assert_eq!(parse(body), None, "{body}");
        }
    }

    #[test]
    fn a_token_cannot_be_printed() {
        let (token, _) = Token::parse(br#"{"token":"abc"}"#, Instant::now()).unwrap();
        assert!(!format!("{:?}", token.authorization()).contains("abc"));
        assert!(token.is_valid());
        let old = Instant::now().checked_sub(Duration::from_secs(50)).unwrap();
        assert!(!Token::parse(br#"{"token":"abc"}"#, old).unwrap().0.is_valid());
    }

    #[test]
    fn the_realm_keeps_its_own_query() {
        let realm = "https://auth.lab/token?tenant=a".parse().unwrap();
        let url = token_url(&realm, Some("the lab"), Some("repository:a/b:pull"), None);
        assert_eq!(
            url.as_str(),
            "https://auth.lab/token?tenant=a&service=the+lab&scope=repository%3Aa%2Fb%3Apull"
        );
    }
}
