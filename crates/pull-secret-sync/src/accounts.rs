//! The account service, which gives every account its pull secret.

use oci_registry::PullSecret;
use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use crate::http::{self, ask};
use crate::{Error, Service};

/// The account service of <https://api.openshift.com>, `accounts_mgmt` version 1.
#[derive(Debug)]
pub struct Accounts {
    client: Client,
    access_token: Url,
}

impl Accounts {
    /// The service at this address, of which only scheme, host and port count. `trusted_ca_pem` is trusted beside the
    /// system's CAs.
    pub fn new(base: &Url, trusted_ca_pem: Option<&[u8]>) -> Result<Self, Error> {
        let mut access_token = base.clone();
        access_token.set_path("/api/accounts_mgmt/v1/access_token");
        access_token.set_query(None);
        Ok(Self { client: http::client(trusted_ca_pem)?, access_token })
    }

    /// The pull secret of the account that the token is about, and its text.
    pub(crate) async fn pull_secret(&self, token: &SecretString) -> Result<(PullSecret, Value), Error> {
        let request = self.client.post(self.access_token.clone()).bearer_auth(token.expose_secret());
        let request = request.json(&serde_json::json!({}));
        let document = ask(Service::Accounts, &self.access_token, request).await?.json()?;
        let pull_secret = PullSecret::parse(&document.to_string()).map_err(Error::NoPullSecret)?;
        Ok((pull_secret, document))
    }
}
