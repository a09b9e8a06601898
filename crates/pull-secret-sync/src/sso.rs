//! Single sign-on: who we are becomes an access token, which lives for minutes.

use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::http::{self, ask};
use crate::{Error, Service};

/// Who the account is.
#[derive(Clone, Debug)]
pub enum Identity {
    /// A service account.
    Client {
        /// Its id.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
    /// A person's offline token, as console.redhat.com gives it out.
    RefreshToken {
        /// The client it was given out to, `cloud-services` as a rule.
        client_id: String,
        /// The token.
        token: SecretString,
    },
}

/// A single sign-on service.
#[derive(Debug)]
pub struct Sso {
    client: Client,
    token_url: Url,
    identity: Identity,
}

impl Sso {
    /// The service whose token endpoint is this. `trusted_ca_pem` is trusted beside the system's CAs.
    pub fn new(token_url: Url, identity: Identity, trusted_ca_pem: Option<&[u8]>) -> Result<Self, Error> {
        Ok(Self { client: http::client(trusted_ca_pem)?, token_url, identity })
    }

    /// A new access token.
    pub(crate) async fn access_token(&self) -> Result<SecretString, Error> {
        let request = self.client.post(self.token_url.clone());
        let request = match &self.identity {
            Identity::Client { id, secret } => request
                .basic_auth(id, Some(secret.expose_secret()))
                .form(&[("grant_type", "client_credentials"), ("scope", "openid")]),
            Identity::RefreshToken { client_id, token } => request.form(&[
                ("grant_type", "refresh_token"),
                ("client_id", client_id),
                ("refresh_token", token.expose_secret()),
            ]),
        };
        let answer = ask(Service::Sso, &self.token_url, request).await?;
        let missing = answer.none("it has no access token");
        let token = answer.json()?["access_token"].as_str().map(SecretString::from);
        token.filter(|token| !token.expose_secret().is_empty()).ok_or(missing)
    }
}
