//! The infra-env's id inside a JSON web token.
//!
//! The signature is not looked at: nothing is believed because of it here. Whoever keeps the infra-env gets the whole
//! token and decides.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use crate::infra_env::InfraEnvId;

/// Real tokens have some hundred bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Tokens come with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why there is no infra-env's id in a token. The words are the predecessor's, which are those of Go's libraries.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidToken {
    #[error("failed to parse JWT from URL")]
    NotThreeParts,
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    #[error("{0}")]
    Json(String),
    #[error("json: cannot unmarshal {found} into Go struct field payload.{field} of type string")]
    NotText { field: &'static str, found: &'static str },
    #[error("InfraEnv ID not found in token")]
    NoId,
    #[error("InfraEnv ID in token is not a UUID")]
    IdNotUuid,
}

/// Finds the id in the claim `sub` (tokens of the hosted service) or else `infra_env_id` (tokens of local
/// authentication).
pub(super) fn infra_env(token: &str) -> Result<InfraEnvId, InvalidToken> {
    let claims = claims(payload(token)?)?;
    let sub = text(&claims, "sub")?;
    let infra_env_id = text(&claims, "infra_env_id")?;
    let id = [sub, infra_env_id].into_iter().find(|id| !id.is_empty()).ok_or(InvalidToken::NoId)?;
    id.parse().map_err(|_| InvalidToken::IdNotUuid)
}

/// The part before the last one, of at least three.
fn payload(token: &str) -> Result<&str, InvalidToken> {
    let mut parts = token.rsplitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(signature), Some(payload), Some(header))
            if token.len() <= MAX_TOKEN
                && ![signature, payload, header].iter().any(|part| part.is_empty()) =>
        {
            Ok(payload)
        }
        _ => Err(InvalidToken::NotThreeParts),
    }
}

/// Reads the payload in base64, of which tokens use the URL-safe alphabet and the predecessor reads only the other
/// one.
fn claims(payload: &str) -> Result<Value, InvalidToken> {
    let url_safe = payload.replace('+', "-").replace('/', "_");
    let json = BASE64.decode(&url_safe).map_err(|error| {
        InvalidToken::Base64(match error {
            base64::DecodeError::InvalidByte(offset, _)
            | base64::DecodeError::InvalidLastSymbol(offset, _) => offset,
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => payload.len(),
        })
    })?;
    serde_json::from_slice(&json).map_err(|error| {
        let culprit = String::from_utf8_lossy(&json).chars().nth(error.column().saturating_sub(1));
        InvalidToken::Json(match culprit {
            Some(culprit) if !error.is_eof() => {
                format!("invalid character {culprit:?} looking for beginning of value")
            }
            _ => "unexpected end of JSON input".to_owned(),
        })
    })
}

/// The text of a claim; empty where it has none.
fn text<'a>(claims: &'a Value, field: &'static str) -> Result<&'a str, InvalidToken> {
    let found = match claims.get(field) {
        None | Some(Value::Null) => return Ok(""),
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(_)) => "number",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    };
    Err(InvalidToken::NotText { field, found })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::{InvalidToken, MAX_TOKEN, infra_env};

    const ID: &str = "0a5b1d7e-8f3c-4a52-9d36-2f1c64a8e001";

    fn read(claims: &str) -> Result<String, InvalidToken> {
        infra_env(&format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))).map(|id| id.to_string())
    }

    #[test]
    fn both_alphabets_are_read_with_and_without_padding() {
        // The question marks make a '/' or a '_' of base64.
        let claims = format!(r#"{{"x":"???>>>~~~","sub":"{ID}"}}"#);
        for engine in [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD] {
            let token = format!("e30.{}.c2ln", engine.encode(&claims));
            assert_eq!(infra_env(&token).map(|id| id.to_string()).as_deref(), Ok(ID), "{token}");
        }
    }

    #[test]
    fn sub_wins_over_infra_env_id() {
        let other = "11111111-2222-3333-4444-555555555555";
        assert_eq!(read(&format!(r#"{{"sub":"{ID}","infra_env_id":"{other}"}}"#)).as_deref(), Ok(ID));
        assert_eq!(read(&format!(r#"{{"sub":"","infra_env_id":"{ID}"}}"#)).as_deref(), Ok(ID));
        assert_eq!(read(&format!(r#"{{"sub":null,"infra_env_id":"{ID}"}}"#)).as_deref(), Ok(ID));
    }

    #[test]
    fn the_payload_is_the_last_part_but_one() {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"{ID}"}}"#));
        assert!(infra_env(&format!("a.b.{payload}.c")).is_ok());
        for token in ["", "a", "a.b", "a.b.", ".b.c", "a..c", &format!("{payload}."), &"a.".repeat(MAX_TOKEN)]
        {
            assert_eq!(infra_env(token), Err(InvalidToken::NotThreeParts), "{token:.40}");
        }
    }

    #[test]
    fn errors_are_in_the_predecessors_words() {
        for (claims, message) in [
            ("hello", "invalid character 'h' looking for beginning of value"),
            (r#"{"sub":"#, "unexpected end of JSON input"),
            (r#"{"sub":7}"#, "json: cannot unmarshal number into Go struct field payload.sub of type string"),
            (
                r#"{"infra_env_id":[]}"#,
                "json: cannot unmarshal array into Go struct field payload.infra_env_id of type string",
            ),
            ("{}", "InfraEnv ID not found in token"),
            (r#"{"sub":"../../x"}"#, "InfraEnv ID in token is not a UUID"),
        ] {
            assert_eq!(read(claims).map_err(|error| error.to_string()), Err(message.to_owned()), "{claims}");
        }
        let error = infra_env("a.eyJ*.c").unwrap_err();
        assert_eq!(error.to_string(), "illegal base64 data at input byte 3");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(token in "[\\x21-\\x7e]{0,8}\\.[A-Za-z0-9_+/=-]{0,40}\\.\\PC{0,8}") {
            let _ = infra_env(&token);
        }

        #[test]
        fn no_claims_are_too_strange(claims in "\\PC{0,60}") {
            let _ = read(&claims);
        }
    }
}
