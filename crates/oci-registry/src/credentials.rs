use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;

/// User and password for a registry, or for a part of it. Neither can be printed.
#[derive(Clone)]
pub struct Credentials {
    username: String,
    password: SecretString,
}

impl Credentials {
    /// Reads an entry of a pull secret. `None` for a blank one, which says "here, be anonymous".
    pub(crate) fn read(entry: Value) -> Result<Option<Self>, EntryProblem> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default)]
            auth: String,
            #[serde(default)]
            username: String,
            #[serde(default)]
            password: String,
            #[serde(default)]
            identitytoken: String,
        }

        let fields = Fields::deserialize(entry).map_err(|_| EntryProblem::Malformed)?;
        let (username, password) = if fields.auth.trim().is_empty() {
            (fields.username, fields.password)
        } else {
            decode_auth(&fields.auth)?
        };
        match (username.is_empty(), password.is_empty()) {
            (false, false) => Ok(Some(Self { username, password: password.into() })),
            (_, true) if !fields.identitytoken.is_empty() => Err(EntryProblem::IdentityToken),
            (true, true) => Ok(None),
            (true, false) => Err(EntryProblem::NoUser),
            (false, true) => Err(EntryProblem::NoPassword),
        }
    }

    pub(crate) fn username(&self) -> &str {
        &self.username
    }

    /// The value of an `Authorization` header by the scheme Basic.
    pub(crate) fn basic(&self) -> HeaderValue {
        let pair = BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password.expose_secret()));
        let mut header = HeaderValue::try_from(format!("Basic {pair}")).expect("base64 is fit for a header");
        header.set_sensitive(true);
        header
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What can be wrong with an entry of a pull secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// No object, or fields that are no strings.
    #[error("is not a map of strings")]
    Malformed,
    /// `auth` is not base64.
    #[error("has an \"auth\" that is not base64")]
    NotBase64,
    /// `auth` is base64 of something else.
    #[error("has an \"auth\" that is not base64 of user:password")]
    NoColon,
    /// A password and nobody it belongs to.
    #[error("has a password but no user")]
    NoUser,
    /// A user without password.
    #[error("has a user but no password")]
    NoPassword,
    /// The registry gave a refresh token at login, which this client cannot exchange.
    #[error("has only an identity token, which this client cannot use: it needs user and password")]
    IdentityToken,
}

/// Reads base64 of `user:password`, more kindly than Go does: line breaks and missing padding are common.
fn decode_auth(auth: &str) -> Result<(String, String), EntryProblem> {
    const TOLERANT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let auth: String = auth.split_ascii_whitespace().collect();
    let decoded = TOLERANT.decode(auth).map_err(|_| EntryProblem::NotBase64)?;
    let decoded = String::from_utf8(decoded).map_err(|_| EntryProblem::NoColon)?;
    let (username, password) = decoded.split_once(':').ok_or(EntryProblem::NoColon)?;
    // `echo user:password | base64` adds a line feed, some tools a NUL; no password may hold either (RFC 7617).
    Ok((username.to_owned(), password.trim_end_matches(['\n', '\r', '\0']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Credentials, EntryProblem};
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};

    /// User and password.
    fn read(entry: Value) -> Result<Option<(String, String)>, EntryProblem> {
        let found = Credentials::read(entry)?;
        Ok(found.map(|found| (found.username.clone(), found.password.expose_secret().to_owned())))
    }

    #[test]
    fn auth_is_read_as_tools_write_it() {
        let plain = BASE64_STANDARD.encode("user:pass:with:colons");
        for (auth, password) in [
            (plain.clone(), "pass:with:colons"),
            (plain.trim_end_matches('=').to_owned(), "pass:with:colons"),
            (format!("{}\n{}\n", &plain[..8], &plain[8..]), "pass:with:colons"),
            (BASE64_STANDARD.encode("user:echoed\n"), "echoed"),
            (BASE64_STANDARD.encode("user:padded\0\0"), "padded"),
        ] {
            assert_eq!(read(json!({"auth": auth})), Ok(Some(("user".to_owned(), password.to_owned()))));
        }
        let split = json!({"username": "user", "password": "pass", "email": "x@y.z"});
        assert_eq!(read(split), Ok(Some(("user".to_owned(), "pass".to_owned()))));
    }

    #[test]
    fn a_blank_entry_is_none() {
        for entry in [json!({}), json!({"auth": ""}), json!({"auth": BASE64_STANDARD.encode(":")})] {
            assert_eq!(read(entry), Ok(None));
        }
    }

    #[test]
    fn problems_are_told_apart() {
        let auth = |text: &[u8]| json!({"auth": BASE64_STANDARD.encode(text)});
        let with_token = json!({"auth": BASE64_STANDARD.encode("0000:"), "identitytoken": "t"});
        for (entry, problem) in [
            (json!("text"), EntryProblem::Malformed),
            (json!({"auth": 1}), EntryProblem::Malformed),
            (json!({"auth": "***"}), EntryProblem::NotBase64),
            (auth(b"no colon"), EntryProblem::NoColon),
            (auth(b"u:\xff"), EntryProblem::NoColon),
            (auth(b":p"), EntryProblem::NoUser),
            (auth(b"u:"), EntryProblem::NoPassword),
            (with_token, EntryProblem::IdentityToken),
        ] {
            assert_eq!(read(entry), Err(problem));
        }
    }

    #[test]
    fn neither_they_nor_the_header_can_be_printed() {
        let entry = json!({"auth": BASE64_STANDARD.encode("robot:hunter2")});
        let credentials = Credentials::read(entry).unwrap().unwrap();
        assert_eq!(credentials.basic(), "Basic cm9ib3Q6aHVudGVyMg==");
        let shown = format!("{credentials:?} {:?}", credentials.basic());
        assert!(!shown.contains("hunter2") && !shown.contains("robot") && !shown.contains("cm9i"), "{shown}");
    }
}
