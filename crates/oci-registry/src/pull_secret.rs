use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::{Credentials, EntryProblem, Reference, RegistryHost};

/// A pull secret: containers-auth.json(5), as found in `auth.json`, `config.json` and `.dockerconfigjson`.
///
/// One entry that cannot be used harms only its own registry: the problem is kept and reported when that registry is
/// asked for. Nothing secret can be printed: [`fmt::Debug`] shows the entries' keys only. Cheap to clone; the default
/// is empty, for registries that ask for nothing.
#[derive(Clone, Default)]
pub struct PullSecret {
    entries: Arc<BTreeMap<String, Entry>>,
}

type Entry = Result<Option<Credentials>, EntryProblem>;

/// The text is no pull secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullSecretError {
    /// No text.
    #[error("the pull secret is empty: for registries without passwords write {{\"auths\":{{}}}}")]
    Empty,
    /// Not JSON. Nothing of the text is repeated here.
    #[error("the pull secret is not JSON (line {line}, column {column}){guess}")]
    NotJson {
        /// Where reading stopped, from 1.
        line: usize,
        /// Where reading stopped, from 1.
        column: usize,
        /// What it may be instead.
        guess: Guess,
    },
    /// JSON, but no object, or one without a map `auths`.
    #[error("the pull secret has no map \"auths\"")]
    NoAuths,
}

/// What a text that is not JSON may be instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// The whole file in base64, as Kubernetes keeps secrets.
    Base64,
    /// JSON with quotes around, as copied from install-config.yaml.
    Quoted,
    /// A manifest of a Secret, for example.
    Yaml,
    /// No idea.
    Unknown,
}

impl fmt::Display for Guess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64 => ": it looks like base64, decode it first",
            Self::Quoted => ": it has quotes around it, remove them",
            Self::Yaml => ": it looks like YAML",
            Self::Unknown => "",
        })
    }
}

/// The pull secret's entry for a registry cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pull secret entry {key:?} {problem}")]
pub struct UnusableEntry {
    /// The entry's key, a registry with or without part of a repository.
    pub key: String,
    /// What is wrong with it.
    pub problem: EntryProblem,
}

impl PullSecret {
    /// Reads a pull secret. Only what makes the whole text useless is an error.
    pub fn parse(text: &str) -> Result<Self, PullSecretError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err(PullSecretError::Empty);
        }
        // The parser's own message could repeat a password.
        let document: Value = serde_json::from_str(text).map_err(|error| PullSecretError::NotJson {
            line: error.line(),
            column: error.column(),
            guess: Guess::at(text),
        })?;
        let auths = match document {
            Value::Object(mut document) => document.remove("auths"),
            Value::String(text) if text.trim().is_empty() => return Err(PullSecretError::Empty),
            Value::String(_) => {
                return Err(PullSecretError::NotJson { line: 1, column: 1, guess: Guess::Quoted });
            }
            _ => None,
        };
        let Some(Value::Object(auths)) = auths else { return Err(PullSecretError::NoAuths) };

        let mut entries = BTreeMap::new();
        // A key written as a URL yields to the same key written plainly, whichever comes first.
        let (urls, plain): (Vec<_>, Vec<_>) = auths.into_iter().partition(|(key, _)| key.contains("://"));
        for (key, value) in plain.into_iter().chain(urls) {
            if let Some(key) = normalised(&key) {
                entries.entry(key).or_insert_with(|| Credentials::read(value));
            }
        }
        Ok(Self { entries: Arc::new(entries) })
    }

    /// The credentials for an image, and the key of their entry: the longest one that is the image's repository, a
    /// leading part of it, or its registry. `None` if nothing matches or the entry that does is blank.
    pub fn lookup(&self, reference: &Reference) -> Result<Option<(&str, &Credentials)>, UnusableEntry> {
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let mut prefixes = std::iter::successors(Some(name.as_str()), |name| Some(name.rsplit_once('/')?.0));
        let Some((key, entry)) = prefixes.find_map(|prefix| self.entries.get_key_value(prefix)) else {
            return Ok(None);
        };
        match entry {
            Ok(credentials) => Ok(credentials.as_ref().map(|credentials| (key.as_str(), credentials))),
            Err(problem) => Err(UnusableEntry { key: key.clone(), problem: *problem }),
        }
    }

    /// Every entry that cannot be used, to warn about them at the start.
    pub fn unusable_entries(&self) -> impl Iterator<Item = UnusableEntry> {
        self.entries.iter().filter_map(|(key, entry)| {
            entry.as_ref().err().map(|problem| UnusableEntry { key: key.clone(), problem: *problem })
        })
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl Guess {
    fn at(text: &str) -> Self {
        let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(&byte);
        let yaml_key = |line: &str| {
            let key = line.split(':').next().unwrap_or_default();
            line.contains(':')
                && !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if text.starts_with(['\'', '"', '`']) {
            Self::Quoted
        } else if text.bytes().all(base64) {
            Self::Base64
        } else if text.starts_with("---")
            || text.lines().find(|line| !line.starts_with('#')).is_some_and(yaml_key)
        {
            Self::Yaml
        } else {
            Self::Unknown
        }
    }
}

/// The form keys are looked up in. `None` for keys that can never match, such as those with `@`.
fn normalised(key: &str) -> Option<String> {
    let bare = match key.split_once("://") {
        // Of a URL only the host counts: `https://index.docker.io/v1/`.
        Some((_, rest)) => rest.split('/').next().unwrap_or_default(),
        None => key.trim_end_matches('/'),
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/:[]".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(known) {
        return None;
    }
    let (host, path) = bare.split_once('/').map_or((bare, None), |(host, path)| (host, Some(path)));
    let host = host.parse().map_or_else(|_| host.to_owned(), |host: RegistryHost| host.to_string());
    Some(path.map_or(host.clone(), |path| format!("{host}/{path}")))
}

#[cfg(test)]
mod tests {
    use super::{Guess, PullSecret, PullSecretError};
    use crate::EntryProblem;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use serde_json::json;

    /// Key and user found for an image.
    fn found(secret: &PullSecret, image: &str) -> Option<(String, String)> {
        let (key, credentials) = secret.lookup(&image.parse().unwrap()).unwrap()?;
        Some((key.to_owned(), credentials.username().to_owned()))
    }

    fn entry(user_and_password: &str) -> serde_json::Value {
        json!({"auth": BASE64_STANDARD.encode(user_and_password)})
    }

    fn secret(auths: &serde_json::Value) -> PullSecret {
        PullSecret::parse(&json!({"auths": auths}).to_string()).unwrap()
    }

    #[test]
    fn the_longest_matching_key_wins() {
        let secret = secret(&json!({
            "quay.io": entry("host:1"), "quay.io/a": entry("org:2"), "quay.io/a/b": entry("repo:3"), "mirror.lab:5000": entry("port:4"),
        }));
        for (image, user) in [
            ("quay.io/a/b:t", Some("repo")),
            ("quay.io/a/b/c", Some("repo")),
            ("quay.io/a/bc", Some("org")),
            ("quay.io/ab/b", Some("host")),
            ("mirror.lab:5000/x", Some("port")),
            ("mirror.lab/x", None),
            ("mirror.lab:5001/x", None),
        ] {
            assert_eq!(found(&secret, image).map(|(_, user)| user).as_deref(), user, "{image}");
        }
    }

    #[test]
    fn an_empty_entry_means_anonymous_and_ends_the_search() {
        let secret =
            secret(&json!({"quay.io": entry("u:p"), "quay.io/public": {"auth": "", "email": "x@y.z"}}));
        assert_eq!(found(&secret, "quay.io/public/image"), None);
    }

    #[test]
    fn keys_are_read_as_people_write_them() {
        let secret = secret(&json!({
            "https://index.docker.io/v1/": entry("hub:1"),
            "https://quay.io/v2/": entry("url:2"),
            "quay.io/": entry("slash:3"),
            "Registry.Lab": entry("case:4"),
            "u@registry.other": entry("at:5"),
        }));
        for (image, user) in [
            ("docker.io/ubuntu", Some("hub")),
            ("quay.io/a", Some("slash")),
            ("registry.lab/a", Some("case")),
            ("registry.other/a", None),
        ] {
            assert_eq!(found(&secret, image).map(|(_, user)| user).as_deref(), user, "{image}");
        }
    }

    #[test]
    fn a_bad_entry_harms_only_its_registry() {
        let secret = secret(&json!({"good.io": entry("u:p"), "a.io": {"auth": "***"}, "b.io": entry("u:")}));
        assert_eq!(found(&secret, "good.io/x"), Some(("good.io".to_owned(), "u".to_owned())));
        for (image, problem) in [("a.io/x", EntryProblem::NotBase64), ("b.io/x", EntryProblem::NoPassword)] {
            assert_eq!(secret.lookup(&image.parse().unwrap()).unwrap_err().problem, problem);
        }
        assert_eq!(secret.unusable_entries().count(), 2);
    }

    #[test]
    fn common_mistakes_are_told_apart() {
        let good = r#"{"auths":{"quay.io":{"auth":"dTpw"}}}"#;
        let guess = |text: &str| match PullSecret::parse(text).unwrap_err() {
            PullSecretError::NotJson { guess, .. } => guess,
            other => panic!("{other:?}"),
        };
        assert_eq!(guess(&BASE64_STANDARD.encode(good)), Guess::Base64);
        assert_eq!(guess(&format!("'{good}'")), Guess::Quoted);
        assert_eq!(guess(&json!(good).to_string()), Guess::Quoted);
        assert_eq!(guess("apiVersion: v1\nkind: Secret\n"), Guess::Yaml);
        assert_eq!(guess("---\nauths: {}\n"), Guess::Yaml);
        assert_eq!(guess(&format!("{good}{good}")), Guess::Unknown);
        assert_eq!(guess(r#"{"auths":{},}"#), Guess::Unknown);
        for text in ["", " \n", "\u{feff}", "\"\""] {
            assert_eq!(PullSecret::parse(text).unwrap_err(), PullSecretError::Empty, "{text:?}");
        }
        for text in ["{}", "[]", "null", r#"{"auths":[]}"#, r#"{"quay.io":{"auth":"dTpw"}}"#] {
            assert_eq!(PullSecret::parse(text).unwrap_err(), PullSecretError::NoAuths, "{text:?}");
        }
        assert!(PullSecret::parse(&format!("\u{feff}{good}\n")).is_ok());
        assert!(PullSecret::parse(r#"{"auths":{}}"#).is_ok());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let secret = secret(&json!({
            "quay.io": entry("robot:hunter2"), "a.io": {"auth": "hunter2***"}, "https://u:hunter2@b.io/": entry("u:p"),
        }));
        let shown = [
            format!("{secret:?}"),
            format!("{:?}", secret.lookup(&"quay.io/a".parse().unwrap())),
            format!("{:?}", secret.unusable_entries().collect::<Vec<_>>()),
            format!("{:?}", PullSecret::parse("{\"auths\": {\"quay.io\": \"hunter2\"").unwrap_err()),
        ]
        .concat();
        assert!(shown.contains("quay.io") && shown.contains("a.io"));
        for word in ["hunter2", "robot", &BASE64_STANDARD.encode("robot:hunter2")] {
            assert!(!shown.contains(word), "{word} in {shown}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_found(user in "[^:\\p{C}]{1,20}", password in "[^\\p{C}]{1,20}") {
            let secret = secret(&json!({"quay.io": entry(&format!("{user}:{password}"))}));
            prop_assert_eq!(found(&secret, "quay.io/a/b"), Some(("quay.io".to_owned(), user)));
        }

        #[test]
        fn no_text_makes_it_panic(text: String, key: String, auth: String) {
            let _ = PullSecret::parse(&text);
            let secret = PullSecret::parse(&json!({"auths": {key: {"auth": auth}}}).to_string()).unwrap();
            let _ = secret.lookup(&"quay.io/a/b".parse().unwrap());
        }
    }
}
