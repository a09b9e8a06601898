//! What a client shows to the source of its infra-env; none of it is printable.

use axum::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What a client sent to prove who it is. It is passed on to the source of infra-envs and never looked at here.
///
/// None of it can be printed.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A token of local authentication, which travels as the query parameter `api_key`.
    ApiKey(SecretString),
    /// A token for images only, which travels as the header `Image-Token`.
    ImageToken(SecretHeader),
    /// The client's `Authorization` header.
    Authorization(SecretHeader),
}

impl Credentials {
    /// A name for these credentials that tells nothing about them to who does not know the salt.
    pub(super) fn hash(&self, salt: Uuid) -> [u8; 32] {
        let (kind, secret): (u8, &[u8]) = match self {
            Self::Anonymous => (0, &[]),
            Self::ApiKey(key) => (1, key.expose_secret().as_bytes()),
            Self::ImageToken(token) => (2, token.0.as_bytes()),
            Self::Authorization(value) => (3, value.0.as_bytes()),
        };
        Sha256::new().chain_update(salt).chain_update([kind]).chain_update(secret).finalize().into()
    }
}

/// The value of a header that nobody prints.
#[derive(Clone, Debug)]
pub struct SecretHeader(HeaderValue);

impl SecretHeader {
    /// The value, marked as sensitive.
    pub fn expose(&self) -> &HeaderValue {
        &self.0
    }
}

impl From<HeaderValue> for SecretHeader {
    fn from(mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::{Credentials, SecretHeader};

    #[test]
    fn credentials_are_not_printable() {
        let header = || SecretHeader::from(HeaderValue::from_static("hunter2"));
        let all = [
            Credentials::ApiKey("hunter2".into()),
            Credentials::ImageToken(header()),
            Credentials::Authorization(header()),
        ];
        for credentials in all {
            assert!(!format!("{credentials:?}").contains("hunter2"));
        }
    }
}
