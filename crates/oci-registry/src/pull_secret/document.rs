//! From a text as people paste it to the map `auths`: what is around it is taken off, layer by layer.

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::{Mistake, PullSecretError, PullSecretWarning, Wrapping};
use crate::credentials::decode_base64;

/// The map `auths`, and what was odd on the way to it.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) auths: Map<String, Value>,
    pub(super) warnings: Vec<PullSecretWarning>,
}

/// Base64 of a Secret with base64 of JSON in quotes is the worst that was ever seen.
const MAX_LAYERS: usize = 5;

impl Document {
    pub(super) fn read(text: &str) -> Result<Self, PullSecretError> {
        let mut reader = Reader { layers: 0, warnings: Vec::new() };
        let auths = reader.text(text)?;
        Ok(Self { auths, warnings: reader.warnings })
    }
}

struct Reader {
    layers: usize,
    warnings: Vec<PullSecretWarning>,
}

type Auths = Result<Map<String, Value>, PullSecretError>;

impl Reader {
    fn warn(&mut self, wrapping: Wrapping) {
        let warning = PullSecretWarning::Wrapped(wrapping);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn text(&mut self, text: &str) -> Auths {
        self.layers += 1;
        if self.layers > MAX_LAYERS {
            return Err(PullSecretError::TooDeep);
        }
        let bare = text.trim().trim_start_matches('\u{feff}');
        if bare.len() < text.trim().len() {
            self.warn(Wrapping::ByteOrderMark);
        }
        let text = bare.trim();
        if text.is_empty() {
            return Err(PullSecretError::Empty);
        }
        match json(text) {
            Ok(Value::String(inner)) => {
                self.warn(Wrapping::Quotes);
                self.text(&inner)
            }
            Ok(Value::Object(document)) => self.object(document),
            Ok(_) => Err(PullSecretError::NoAuths),
            Err(error) if text.starts_with(['{', '[']) => Err(error),
            Err(error) => self.no_json(text, error),
        }
    }

    fn no_json(&mut self, text: &str, error: PullSecretError) -> Auths {
        const QUOTES: [char; 3] = ['\'', '"', '`'];
        let mistaken = |mistake| match error {
            PullSecretError::NotJson { line, column, .. } => {
                PullSecretError::NotJson { line, column, mistake }
            }
            _ => error.clone(),
        };
        if let Some(quote) = text.chars().next().filter(|first| QUOTES.contains(first)) {
            let inner = text[1..].strip_suffix(quote).ok_or_else(|| mistaken(Mistake::Quote))?;
            self.warn(Wrapping::Quotes);
            return self.text(inner);
        }
        if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\r\n\t ".contains(&byte)) {
            let inner = decode_base64(text).and_then(|inner| String::from_utf8(inner).ok());
            let inner = inner.filter(|inner| !inner.contains(is_binary));
            let inner = inner.ok_or_else(|| mistaken(Mistake::Base64))?;
            self.warn(Wrapping::Base64);
            return self.text(&inner);
        }
        // Word processors quote the whole as well.
        if text.starts_with(['“', '„', '‘', '«']) {
            return Err(mistaken(Mistake::SmartQuotes));
        }
        match yaml(text) {
            Some(Ok(document)) => {
                let secret = is_secret(&document);
                if !secret && !document.contains_key("pullSecret") {
                    self.warn(Wrapping::Yaml);
                }
                self.object(document)
            }
            Some(Err(PullSecretError::SeveralDocuments)) => Err(PullSecretError::SeveralDocuments),
            Some(Err(_)) => Err(mistaken(Mistake::Yaml)),
            None if text.ends_with(QUOTES) => Err(mistaken(Mistake::Quote)),
            None => Err(error),
        }
    }

    fn object(&mut self, mut document: Map<String, Value>) -> Auths {
        match document.remove("auths") {
            Some(Value::Object(auths)) => {
                self.helpers(&document);
                return Ok(auths);
            }
            Some(_) => return Err(PullSecretError::NoAuths),
            None => {}
        }
        if is_secret(&document) {
            return self.secret(&document);
        }
        if let Some(Value::String(inner)) = document.get("pullSecret") {
            self.warn(Wrapping::InstallConfig);
            return self.text(inner);
        }
        if !document.is_empty() && document.iter().all(|(key, entry)| is_entry(key, entry)) {
            self.warn(Wrapping::NoAuths);
            return Ok(document);
        }
        Err(PullSecretError::NoAuths)
    }

    fn secret(&mut self, document: &Map<String, Value>) -> Auths {
        let value = |map: &str| {
            let map = document.get(map)?;
            [".dockerconfigjson", ".dockercfg"].iter().find_map(|key| map.get(key)?.as_str())
        };
        // Kubernetes, too, lets `stringData` go before `data`.
        if let Some(inner) = value("stringData") {
            self.warn(Wrapping::Secret);
            return self.text(inner);
        }
        let encoded = value("data").ok_or(PullSecretError::OtherSecret)?;
        let inner = decode_base64(encoded).and_then(|inner| String::from_utf8(inner).ok());
        self.warn(if inner.is_some() { Wrapping::Secret } else { Wrapping::PlainData });
        self.text(inner.as_deref().unwrap_or(encoded))
    }

    fn helpers(&mut self, document: &Map<String, Value>) {
        if let Some(Value::Object(helpers)) = document.get("credHelpers") {
            let warnings =
                helpers.keys().map(|key| PullSecretWarning::Helper { registry: super::key::shown(key) });
            self.warnings.extend(warnings);
        }
        if document.get("credsStore").and_then(Value::as_str).is_some_and(|store| !store.is_empty()) {
            self.warnings.push(PullSecretWarning::Store);
        }
    }
}

/// Line feeds and tabs are text.
fn is_binary(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
}

fn is_secret(document: &Map<String, Value>) -> bool {
    document.get("kind").and_then(Value::as_str) == Some("Secret")
        || ["data", "stringData"].iter().any(|map| {
            document
                .get(*map)
                .is_some_and(|map| map.get(".dockerconfigjson").or(map.get(".dockercfg")).is_some())
        })
}

/// Whether this is an entry of a pull secret and cannot be anything else.
fn is_entry(key: &str, entry: &Value) -> bool {
    const SECRETS: [&str; 4] = ["auth", "password", "identitytoken", "registrytoken"];
    key.contains(['.', ':', '/'])
        && entry.as_object().is_some_and(|entry| SECRETS.iter().any(|field| entry.contains_key(*field)))
}

fn json(text: &str) -> Result<Value, PullSecretError> {
    serde_json::from_str(text).map_err(|error| {
        let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        if documents.next().is_some_and(|first| first.is_ok_and(|first| first.is_object()))
            && documents.next().is_some_and(|second| second.is_ok_and(|second| second.is_object()))
        {
            return PullSecretError::SeveralDocuments;
        }
        let mistake = Mistake::in_json(text, &error);
        PullSecretError::NotJson { line: error.line(), column: error.column(), mistake }
    })
}

/// Reads YAML. `None` if it does not even look so: nearly every text is YAML, but not nearly every text is a mapping.
fn yaml(text: &str) -> Option<Result<Map<String, Value>, PullSecretError>> {
    let is_key = |line: &str| {
        let key = line.split(':').next().unwrap_or_default();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        line.contains(':') && !key.is_empty() && key.bytes().all(known)
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(['#', '-', '%']));
    if !lines.next().is_some_and(is_key) {
        return None;
    }
    let mut documents = serde_yaml_ng::Deserializer::from_str(text)
        .map(Value::deserialize)
        // Files often begin or end with an empty document.
        .filter(|document| !document.as_ref().is_ok_and(Value::is_null));
    let first = documents.next();
    Some(match (first, documents.next()) {
        (Some(Ok(Value::Object(document))), None) => Ok(document),
        (Some(Ok(_)), Some(Ok(_))) => Err(PullSecretError::SeveralDocuments),
        _ => Err(PullSecretError::NoAuths),
    })
}
