use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

/// What introduces us to a registry, or to a part of it: user and password, or a token that somebody has got at a
/// login. Nothing of it can be printed.
#[derive(Clone)]
pub struct Credentials {
    username: String,
    /// Empty beside a token.
    password: SecretString,
    identity_token: Option<IdentityToken>,
    registry_token: Option<SecretString>,
}

/// A refresh token of OAuth 2. Whoever exchanges it may get another one back, which counts from then on.
#[derive(Clone)]
struct IdentityToken {
    given: SecretString,
    current: Arc<Mutex<SecretString>>,
}

impl Credentials {
    /// Reads an entry of a pull secret. Without credentials if it is blank, which says "here, be anonymous".
    pub(crate) fn read(entry: Value) -> Result<ReadEntry, EntryProblem> {
        /// Go writes null where nothing is.
        #[derive(Deserialize)]
        struct Fields {
            auth: Option<String>,
            username: Option<String>,
            password: Option<String>,
            identitytoken: Option<String>,
            registrytoken: Option<String>,
        }

        let fields = Fields::deserialize(entry).map_err(|_| EntryProblem::Malformed)?;
        let mut oddities = Vec::new();
        let (username, password) = match fields.auth {
            Some(auth) if !auth.trim().is_empty() => decode_auth(&auth, &mut oddities)?,
            _ => (fields.username.unwrap_or_default(), fields.password.unwrap_or_default()),
        };
        let identity_token = fields.identitytoken.filter(|token| !token.is_empty()).map(IdentityToken::new);
        let registry_token = fields.registrytoken.filter(|token| !token.is_empty()).map(SecretString::from);
        if registry_token.as_ref().is_some_and(|token| bearer(token).is_none()) {
            return Err(EntryProblem::Malformed);
        }
        let token = identity_token.is_some() || registry_token.is_some();
        match (username.is_empty(), password.is_empty()) {
            (true, true) if !token => return Ok(ReadEntry { credentials: None, oddities }),
            (true, false) if !token => return Err(EntryProblem::NoUser),
            (false, true) if !token => return Err(EntryProblem::NoPassword),
            _ => {}
        }
        let credentials = Self { username, password: password.into(), identity_token, registry_token };
        Ok(ReadEntry { credentials: Some(credentials), oddities })
    }

    /// The user's name. Empty, or of no meaning, beside a token.
    pub(crate) fn username(&self) -> &str {
        &self.username
    }

    /// The value of an `Authorization` header by the scheme Basic, if there are user and password.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        if self.username.is_empty() || self.password.expose_secret().is_empty() {
            return None;
        }
        let pair = BASE64_STANDARD.encode(format!("{}:{}", self.username, self.password.expose_secret()));
        let mut header = HeaderValue::try_from(format!("Basic {pair}")).expect("base64 is fit for a header");
        header.set_sensitive(true);
        Some(header)
    }

    /// The value of an `Authorization` header by the scheme Bearer, if the entry holds a token for the registry itself.
    pub(crate) fn registry_token(&self) -> Option<HeaderValue> {
        self.registry_token.as_ref().and_then(bearer)
    }

    /// The identity token as it is now. Whoever holds it may put its successor there; others wait meanwhile, since a
    /// token that is exchanged twice may count as stolen.
    pub(crate) async fn identity_token(&self) -> Option<MutexGuard<'_, SecretString>> {
        match &self.identity_token {
            Some(token) => Some(token.current.lock().await),
            None => None,
        }
    }

    /// Whether both were given the same. What has become of a token since does not count.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let given = |credentials: &Self| {
            let token =
                credentials.identity_token.as_ref().map(|token| token.given.expose_secret().to_owned());
            let registry = credentials.registry_token.as_ref().map(|token| token.expose_secret().to_owned());
            (token, registry)
        };
        self.username == other.username
            && self.password.expose_secret() == other.password.expose_secret()
            && given(self) == given(other)
    }
}

impl IdentityToken {
    fn new(token: String) -> Self {
        let given = SecretString::from(token);
        Self { current: Arc::new(Mutex::new(given.clone())), given }
    }
}

/// `None` if the token is not fit for a header.
fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// An entry of a pull secret that can be used.
#[derive(Debug)]
pub(crate) struct ReadEntry {
    /// `None` if it is blank.
    pub(crate) credentials: Option<Credentials>,
    /// What is wrong with it all the same.
    pub(crate) oddities: Vec<EntryOddity>,
}

/// What is wrong with an entry of a pull secret that this client can use and others perhaps not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryOddity {
    /// `echo user:password | base64`.
    #[error(
        "has a password that ends in a line break, which is left out here: encode it by `printf %s user:password | base64 -w0`"
    )]
    LineBreakInPassword,
    /// No padding, or line breaks. Go's decoder refuses both, and then oc refuses every registry.
    #[error(
        "has an \"auth\" with line breaks or without padding, which oc refuses: encode it by `base64 -w0`"
    )]
    LooseBase64,
}

/// What can be wrong with an entry of a pull secret, so that it cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryProblem {
    /// No object, or fields that are no strings.
    #[error("is not a map of strings")]
    Malformed,
    /// `auth` is not base64.
    #[error("has an \"auth\" that is not base64")]
    NotBase64,
    /// `auth` is `user:password` as it is.
    #[error("has an \"auth\" that is not base64 but looks like plain user:password: encode it")]
    NotEncoded,
    /// `auth` is base64 of base64.
    #[error("has an \"auth\" that is in base64 twice: encode user:password once")]
    EncodedTwice,
    /// `auth` is base64 of something else.
    #[error(
        "has an \"auth\" that is not base64 of user:password: there is no colon in it, is it a token without its user?"
    )]
    NoColon,
    /// A password and nobody it belongs to.
    #[error("has a password or token but no user")]
    NoUser,
    /// A user without password.
    #[error("has a user but no password")]
    NoPassword,
    /// The registry wants user and password with every request.
    #[error("has only an identity token, but this registry wants user and password")]
    IdentityToken,
}

/// More kindly than Go's: line breaks and missing padding are common.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const TOLERANT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let text: String = text.split_ascii_whitespace().collect();
    TOLERANT.decode(text).ok()
}

/// Reads base64 of `user:password`.
fn decode_auth(auth: &str, oddities: &mut Vec<EntryOddity>) -> Result<(String, String), EntryProblem> {
    let not_base64 = || if auth.contains(':') { EntryProblem::NotEncoded } else { EntryProblem::NotBase64 };
    let decoded = decode_base64(auth).ok_or_else(not_base64)?;
    let decoded = String::from_utf8(decoded).map_err(|_| EntryProblem::NoColon)?;
    let Some((username, password)) = decoded.split_once(':') else {
        let twice = decode_base64(&decoded).is_some_and(|inner| {
            inner.contains(&b':') && str::from_utf8(&inner).is_ok_and(|text| !text.contains(char::is_control))
        });
        return Err(if twice { EntryProblem::EncodedTwice } else { EntryProblem::NoColon });
    };
    if BASE64_STANDARD.decode(auth).is_err() {
        oddities.push(EntryOddity::LooseBase64);
    }
    // `echo user:password | base64` adds a line feed, some tools a NUL; no password may hold either (RFC 7617).
    let bare = password.trim_end_matches(['\n', '\r', '\0']);
    if password.ends_with(['\n', '\r']) {
        oddities.push(EntryOddity::LineBreakInPassword);
    }
    Ok((username.to_owned(), bare.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Credentials, EntryOddity, EntryProblem};
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};

    /// User and password.
    fn read(entry: Value) -> Result<Option<(String, String)>, EntryProblem> {
        let found = Credentials::read(entry)?.credentials;
        Ok(found.map(|found| (found.username.clone(), found.password.expose_secret().to_owned())))
    }

    fn credentials(entry: Value) -> Credentials {
        Credentials::read(entry).unwrap().credentials.unwrap()
    }

    #[test]
    fn auth_is_read_as_tools_write_it() {
        let plain = BASE64_STANDARD.encode("user:pass:with:colons");
        for (auth, password, oddity) in [
            (plain.clone(), "pass:with:colons", None),
            (BASE64_STANDARD.encode("user:1").replace('=', ""), "1", None),
            (BASE64_STANDARD.encode("user:12").replace('=', ""), "12", Some(EntryOddity::LooseBase64)),
            (
                format!("{}\n{}\n", &plain[..8], &plain[8..]),
                "pass:with:colons",
                Some(EntryOddity::LooseBase64),
            ),
            (BASE64_STANDARD.encode("user:echoed\n"), "echoed", Some(EntryOddity::LineBreakInPassword)),
            (BASE64_STANDARD.encode("user:padded\0\0"), "padded", None),
        ] {
            let entry = json!({"auth": auth});
            assert_eq!(Credentials::read(entry.clone()).unwrap().oddities, Vec::from_iter(oddity), "{auth}");
            assert_eq!(read(entry), Ok(Some(("user".to_owned(), password.to_owned()))));
        }
        let split = json!({"username": "user", "password": "pass", "email": "x@y.z", "auth": null});
        assert_eq!(read(split), Ok(Some(("user".to_owned(), "pass".to_owned()))));
    }

    #[test]
    fn a_blank_entry_is_none() {
        for entry in [json!({}), json!({"auth": ""}), json!({"auth": BASE64_STANDARD.encode(":")})] {
            assert_eq!(read(entry), Ok(None));
        }
    }

    #[tokio::test]
    async fn tokens_are_credentials_without_a_password() {
        let acr = credentials(
            json!({"auth": BASE64_STANDARD.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": "refresh"}),
        );
        assert!(acr.basic().is_none() && acr.registry_token().is_none());
        assert_eq!(acr.identity_token().await.unwrap().expose_secret(), "refresh");

        let both = credentials(json!({"username": "u", "password": "p", "identitytoken": "refresh"}));
        assert!(both.basic().is_some() && both.identity_token().await.is_some());

        let bearer = credentials(json!({"registrytoken": "abc"}));
        assert_eq!(bearer.registry_token().unwrap(), "Bearer abc");
        assert!(bearer.basic().is_none() && bearer.identity_token().await.is_none());
        assert_eq!(read(json!({"registrytoken": "a\nb"})), Err(EntryProblem::Malformed));
    }

    #[tokio::test]
    async fn a_token_given_in_exchange_does_not_make_other_credentials() {
        let entry = json!({"identitytoken": "first"});
        let (one, other) = (credentials(entry.clone()), credentials(entry));
        *one.identity_token().await.unwrap() = "second".into();
        assert!(one.is_same_as(&other));
        assert_eq!(one.clone().identity_token().await.unwrap().expose_secret(), "second");
        for different in [
            json!({"identitytoken": "second"}),
            json!({"registrytoken": "first"}),
            json!({"username": "u", "password": "p", "identitytoken": "first"}),
        ] {
            assert!(!credentials(different).is_same_as(&other));
        }
    }

    #[test]
    fn problems_are_told_apart() {
        let auth = |text: &[u8]| json!({"auth": BASE64_STANDARD.encode(text)});
        for (entry, problem) in [
            (json!("text"), EntryProblem::Malformed),
            (json!({"auth": 1}), EntryProblem::Malformed),
            (json!({"auth": "***"}), EntryProblem::NotBase64),
            (json!({"auth": "user:password"}), EntryProblem::NotEncoded),
            (auth(BASE64_STANDARD.encode("user:password").as_bytes()), EntryProblem::EncodedTwice),
            (auth(b"no colon"), EntryProblem::NoColon),
            (auth(b"u:\xff"), EntryProblem::NoColon),
            (auth(b":p"), EntryProblem::NoUser),
            (json!({"password": "p"}), EntryProblem::NoUser),
            (auth(b"u:"), EntryProblem::NoPassword),
        ] {
            assert_eq!(read(entry), Err(problem));
        }
    }

    #[test]
    fn neither_they_nor_the_header_can_be_printed() {
        let entry = json!({"auth": BASE64_STANDARD.encode("robot:hunter2"), "registrytoken": "hunter2", "identitytoken": "hunter2"});
        let credentials = credentials(entry);
        assert_eq!(credentials.basic().unwrap(), "Basic cm9ib3Q6aHVudGVyMg==");
        let shown = format!("{credentials:?} {:?} {:?}", credentials.basic(), credentials.registry_token());
        assert!(!shown.contains("hunter2") && !shown.contains("robot") && !shown.contains("cm9i"), "{shown}");
    }
}
