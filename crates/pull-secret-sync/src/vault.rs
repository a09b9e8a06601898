//! Vault's key-value store, version 2, and the ways into it.

use std::path::PathBuf;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use url::Url;

use crate::http::{self, Answer, ask};
use crate::{Error, Service};

/// How to get in.
#[derive(Clone, Debug)]
pub enum Login {
    /// With a token that somebody made.
    Token(SecretString),
    /// As a service account of Kubernetes.
    Kubernetes {
        /// Where the method is mounted, `kubernetes` as a rule.
        mount: String,
        /// Vault's role for it.
        role: String,
        /// The file with the service account's token, read at every login because it is renewed.
        token_file: PathBuf,
    },
    /// As an application.
    AppRole {
        /// Where the method is mounted, `approle` as a rule.
        mount: String,
        /// The application.
        role_id: String,
        /// Its secret.
        secret_id: SecretString,
    },
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub struct SecretPlace {
    /// Where the store is mounted.
    pub mount: String,
    /// The path of the secret in it.
    pub path: String,
    /// The field that holds the pull secret as text. Others are left as they are.
    pub field: String,
}

/// A Vault.
#[derive(Debug)]
pub struct Vault {
    client: Client,
    address: Url,
    namespace: Option<String>,
    login: Login,
    place: SecretPlace,
    token: Mutex<Option<SecretString>>,
}

/// What a secret holds, and which version of it that is.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) fields: Map<String, Value>,
    /// 0 if there has never been any.
    pub(crate) version: u64,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// As this version.
    Version(u64),
    /// Somebody else was faster.
    Conflict,
}

impl Vault {
    /// The Vault at this address. `trusted_ca_pem` is trusted beside the system's CAs.
    pub fn new(
        address: Url,
        namespace: Option<String>,
        login: Login,
        place: SecretPlace,
        trusted_ca_pem: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let client = http::client(trusted_ca_pem)?;
        Ok(Self { client, address, namespace, login, place, token: Mutex::default() })
    }

    /// The field of the secret that is looked after.
    pub(crate) fn field(&self) -> &str {
        &self.place.field
    }

    pub(crate) async fn read(&self) -> Result<Held, Error> {
        let answer = self.ask_for_secret(Service::VaultRead, Method::GET, None).await?;
        // A secret that was deleted is "not found", too, but has a version to go on from.
        let deleted = answer.status == StatusCode::NOT_FOUND;
        if deleted && answer.body.is_empty() {
            return Ok(Held { fields: Map::new(), version: 0 });
        }
        let malformed = answer.none("it has no data of a secret of version 2");
        let document: Value = if deleted {
            serde_json::from_slice(&answer.body).map_err(|_| answer.none("it is not JSON"))?
        } else {
            answer.json()?
        };
        let data = &document["data"];
        let fields = match &data["data"] {
            Value::Object(fields) => fields.clone(),
            Value::Null => Map::new(),
            _ => return Err(malformed),
        };
        match data["metadata"]["version"].as_u64() {
            Some(version) => Ok(Held { fields, version }),
            None if deleted => Ok(Held { fields: Map::new(), version: 0 }),
            None => Err(malformed),
        }
    }

    /// Writes all fields of the secret, if it is still at this version.
    pub(crate) async fn write(&self, fields: &Map<String, Value>, version: u64) -> Result<Written, Error> {
        let body = json!({ "options": { "cas": version }, "data": fields });
        let answer = self.ask_for_secret(Service::VaultWrite, Method::POST, Some(body)).await?;
        if answer.status == StatusCode::BAD_REQUEST {
            let error = answer.into_error();
            // Vault has no other word for it.
            let conflict =
                matches!(&error, Error::Refused { answer, .. } if answer.as_str().contains("check-and-set"));
            return if conflict { Ok(Written::Conflict) } else { Err(error) };
        }
        let malformed = answer.none("it does not tell the version");
        answer.json()?["data"]["version"].as_u64().map(Written::Version).ok_or(malformed)
    }

    /// Asks for the secret; once more if the token we had is not good any more.
    async fn ask_for_secret(
        &self,
        service: Service,
        method: Method,
        body: Option<Value>,
    ) -> Result<Answer, Error> {
        let SecretPlace { mount, path, .. } = &self.place;
        let url = self.url(&[mount, "data", path]);
        loop {
            let (token, is_new) = self.token().await?;
            let request = self.request(method.clone(), &url).header("X-Vault-Token", token.expose_secret());
            let request = match &body {
                Some(body) => request.json(body),
                None => request,
            };
            let answer = ask(service, &url, request).await?;
            if answer.status != StatusCode::FORBIDDEN {
                return Ok(answer);
            }
            *self.token.lock().await = None;
            if is_new {
                return Err(answer.into_error());
            }
        }
    }

    /// The token to introduce ourselves with, and whether it was made just now.
    async fn token(&self) -> Result<(SecretString, bool), Error> {
        let mut token = self.token.lock().await;
        if let Some(token) = &*token {
            return Ok((token.clone(), false));
        }
        Ok((token.insert(self.log_in().await?).clone(), true))
    }

    async fn log_in(&self) -> Result<SecretString, Error> {
        let (mount, body) = match &self.login {
            Login::Token(token) => return Ok(token.clone()),
            Login::Kubernetes { mount, role, token_file } => {
                let jwt = tokio::fs::read_to_string(token_file)
                    .await
                    .map_err(|source| Error::File { path: token_file.display().to_string(), source })?;
                (mount, json!({ "role": role, "jwt": jwt.trim() }))
            }
            Login::AppRole { mount, role_id, secret_id } => {
                (mount, json!({ "role_id": role_id, "secret_id": secret_id.expose_secret() }))
            }
        };
        let url = self.url(&["auth", mount, "login"]);
        let answer = ask(Service::VaultLogin, &url, self.request(Method::POST, &url).json(&body)).await?;
        let missing = answer.none("it has no token");
        let token = answer.json()?["auth"]["client_token"].as_str().map(SecretString::from);
        token.filter(|token| !token.expose_secret().is_empty()).ok_or(missing)
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.client.request(method, url.clone()).header("X-Vault-Request", "true");
        match &self.namespace {
            Some(namespace) => request.header("X-Vault-Namespace", namespace),
            None => request,
        }
    }

    /// A URL of version 1 of the API. Parts may be paths.
    fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.address.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1");
            path.extend(parts.iter().flat_map(|part| part.split('/')).filter(|part| !part.is_empty()));
        }
        url
    }
}
