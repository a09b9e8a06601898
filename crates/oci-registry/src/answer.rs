use std::fmt;

use serde::Deserialize;

use crate::excerpt::Excerpt;

/// What a refusal says for itself, as far as it can be read: the code and message of the distribution
/// specification's error body, or some other server's few words. Prints as ` (…)`, or as nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer(Option<Excerpt>);

impl Answer {
    /// How much of a body is read for it.
    pub(crate) const MAX_SIZE: u64 = 64 << 10;

    pub(crate) fn parse(body: &[u8]) -> Self {
        /// The specification's list, and the shapes that token servers and old registries use.
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            errors: Vec<Problem>,
            message: Option<String>,
            details: Option<String>,
            error: Option<String>,
            error_description: Option<String>,
        }

        #[derive(Deserialize)]
        struct Problem {
            code: Option<String>,
            message: Option<String>,
        }

        let words = match serde_json::from_slice::<Document>(body) {
            Ok(Document { errors, message, details, error, error_description }) => {
                match errors.into_iter().next() {
                    Some(Problem { code: Some(code), message: Some(message) }) => {
                        Some(format!("{code}: {message}"))
                    }
                    Some(Problem { code, message }) => code.or(message),
                    None => {
                        let words = [error, error_description, message, details].into_iter().flatten();
                        Some(words.filter(|words| !words.trim().is_empty()).collect::<Vec<_>>().join(": "))
                    }
                }
            }
            // Pages of HTML explain nothing.
            Err(_) => str::from_utf8(body)
                .ok()
                .filter(|text| !text.trim_start().starts_with(['<', '{']))
                .map(str::to_owned),
        };
        Self(words.filter(|words| !words.trim().is_empty()).map(|words| Excerpt::of(&words)))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |words| write!(f, " ({words})"))
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn answers_found_in_the_field_are_read() {
        for (body, shown) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"t"}}]}"#,
                " (MANIFEST_UNKNOWN: manifest unknown)",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, " (DENIED)"),
            (r#"{"details":"no such robot"}"#, " (no such robot)"),
            (r#"{"error":"invalid_grant"}"#, " (invalid_grant)"),
            (
                r#"{"error":"invalid_grant","error_description":"token expired"}"#,
                " (invalid_grant: token expired)",
            ),
            (r#"{"message":"no","details":"such robot"}"#, " (no: such robot)"),
            ("upstream\nconnect error", " (upstream connect error)"),
            ("<html><body>502 Bad Gateway</body></html>", ""),
            (r#"{"errors":"x"}"#, ""),
            ("{}", ""),
            ("", ""),
        ] {
            assert_eq!(Answer::parse(body.as_bytes()).to_string(), shown, "{body}");
        }
        assert_eq!(Answer::parse(b"\xff\xfe").to_string(), "");
    }
}
