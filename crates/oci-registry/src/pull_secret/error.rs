//! Why a text is no pull secret.

use std::fmt;

/// The text is no pull secret, or not one that is understood beyond doubt. Nothing of the text is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullSecretError {
    /// No text.
    #[error("the pull secret is empty: for registries without passwords write {{\"auths\":{{}}}}")]
    Empty,
    /// More text than any pull secret has.
    #[error("the pull secret is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Not JSON.
    #[error("the pull secret is not JSON (line {line}, column {column}){mistake}")]
    NotJson {
        /// Where reading stopped, from 1. In what is left when quotes and base64 are taken off.
        line: usize,
        /// Where reading stopped, from 1.
        column: usize,
        /// What has probably gone wrong.
        mistake: Mistake,
    },
    /// Several texts one after the other.
    #[error("the pull secret holds several documents: merge the maps \"auths\" into one")]
    SeveralDocuments,
    /// JSON or YAML, but no object, or one without a map `auths`.
    #[error("the pull secret has no map \"auths\"")]
    NoAuths,
    /// A manifest of a Secret with something else in it.
    #[error("the pull secret is the manifest of a Kubernetes Secret that has no key \".dockerconfigjson\"")]
    OtherSecret,
    /// Base64 of base64 of base64.
    #[error("the pull secret is wrapped too often")]
    TooDeep,
}

/// What has probably gone wrong with a text that is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// Base64, or a part of it.
    Base64,
    /// A quote at one end only.
    Quote,
    /// YAML that cannot be read.
    Yaml,
    /// `,}` or `,]`.
    TrailingComma,
    /// Typographic quotes, as word processors make them.
    SmartQuotes,
    /// `'` for `"`.
    SingleQuotes,
    /// A line break inside a string, as base64 makes them.
    LineBreak,
    /// It ends too early.
    Truncated,
    /// No idea.
    Unknown,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64 => ": it looks like base64, but not of a pull secret; was all of it copied?",
            Self::Quote => ": it has a quote at one end, remove it",
            Self::Yaml => ": it looks like YAML, but cannot be read as such",
            Self::TrailingComma => ": there is a comma after the last entry, remove it",
            Self::SmartQuotes => ": it has typographic quotes, write \" instead",
            Self::SingleQuotes => ": names and values are in single quotes, write \" instead",
            Self::LineBreak => {
                ": there is a line break within a string; base64 is to be made by `base64 -w0`"
            }
            Self::Truncated => ": it ends too early, was all of it copied?",
            Self::Unknown => "",
        })
    }
}

impl Mistake {
    pub(super) fn in_json(text: &str, error: &serde_json::Error) -> Self {
        const SMART: [char; 8] = ['“', '”', '„', '‟', '‘', '’', '«', '»'];
        // The parser's own words could repeat a password and are looked at only.
        let words = error.to_string();
        if words.starts_with("trailing comma") {
            Self::TrailingComma
        } else if words.starts_with("control character") {
            Self::LineBreak
        } else if text.contains(SMART) {
            Self::SmartQuotes
        } else if words.starts_with("key must be a string") && text.contains('\'') {
            Self::SingleQuotes
        } else if error.is_eof() {
            Self::Truncated
        } else {
            Self::Unknown
        }
    }
}
