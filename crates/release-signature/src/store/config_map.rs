//! ConfigMaps with signatures, as the cluster-version operator reads them in a cluster.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coreos_names::Sha256;
use serde::Deserialize;
use serde::de::Error as _;

use super::{MAX_SIGNATURE, Unreadable};

/// How many documents of a file are read.
const MAX_DOCUMENTS: usize = 10_000;

/// A ConfigMap, a list of them, or something else, of which nothing is wanted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    items: Option<Vec<Item>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, String>>,
}

/// The signatures for a digest in a file of ConfigMaps, JSON or YAML. One that is damaged harms no other.
pub(crate) fn signatures(
    bytes: &[u8],
    digest: Sha256,
) -> Result<Vec<Result<Vec<u8>, Unreadable>>, Unreadable> {
    let mut signatures = Vec::new();
    for Document { kind, binary_data, items } in documents(bytes)? {
        let items = items.unwrap_or_default().into_iter().chain([Item { kind, binary_data }]);
        for Item { binary_data, .. } in items.filter(|item| item.kind == "ConfigMap") {
            for (key, value) in binary_data.unwrap_or_default() {
                if key.strip_prefix("sha256-").is_some_and(|key| key.starts_with(&digest.to_string())) {
                    signatures.push(decode(&key, &value));
                }
            }
        }
    }
    Ok(signatures)
}

fn documents(bytes: &[u8]) -> Result<Vec<Document>, Unreadable> {
    let invalid = |error: Box<dyn std::error::Error + Send + Sync>| Unreadable::ConfigMap(error);
    if bytes.trim_ascii_start().starts_with(b"{") {
        let documents = serde_json::Deserializer::from_slice(bytes).into_iter().take(MAX_DOCUMENTS);
        return documents.collect::<Result<_, _>>().map_err(|error| invalid(error.into()));
    }
    let mut documents = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_slice(bytes).take(MAX_DOCUMENTS) {
        // An empty one is null.
        let document = Option::<Document>::deserialize(document).map_err(|error| invalid(error.into()))?;
        documents.extend(document);
    }
    Ok(documents)
}

fn decode(key: &str, base64: &str) -> Result<Vec<u8>, Unreadable> {
    let base64: Vec<u8> = base64.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let invalid = |error| {
        let error = serde_json::Error::custom(format!("{key} is not base64: {error}"));
        Unreadable::ConfigMap(error.into())
    };
    let bytes = STANDARD.decode(base64).map_err(invalid)?;
    if bytes.len() > MAX_SIGNATURE { Err(Unreadable::TooLarge { limit: MAX_SIGNATURE }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use coreos_names::{Sha256, WithCauses};

    use super::signatures;

    fn config_map(key: &str, value: &str) -> String {
        format!(r#"{{"kind": "ConfigMap", "apiVersion": "v1", "binaryData": {{"{key}": "{value}"}}}}"#)
    }

    #[test]
    fn signatures_are_found_by_the_digest_in_json_and_yaml() {
        let digest = Sha256::from([0xab; 32]);
        let (key, other) = (format!("sha256-{digest}-1"), format!("sha256-{}-1", "cd".repeat(32)));
        let found = |text: &str| -> Vec<Vec<u8>> {
            signatures(text.as_bytes(), digest).unwrap().into_iter().map(Result::unwrap).collect()
        };
        let expected = [b"signature".to_vec()];
        let json = config_map(&key, "c2lnbmF0dXJl");
        assert_eq!(found(&json), expected);
        assert_eq!(found(&format!(r#"{{"kind": "List", "items": [{json}]}}"#)), expected);
        assert_eq!(found(&config_map(&other, "c2lnbmF0dXJl")), [] as [Vec<u8>; 0]);
        assert_eq!(found(&json.replace("ConfigMap", "Secret")), [] as [Vec<u8>; 0]);
        let yaml = format!(
            "---\n---\nkind: ImageDigestMirrorSet\n---\nkind: ConfigMap\nbinaryData:\n  {key}: |\n    c2ln\n    bmF0dXJl\n"
        );
        assert_eq!(found(&yaml), expected);
        assert_eq!(found("kind: ConfigMap\nbinaryData:\n"), [] as [Vec<u8>; 0]);
        assert_eq!(found(""), [] as [Vec<u8>; 0]);
        for (text, reason) in [("{", "EOF"), ("[1]", "is no list of ConfigMaps")] {
            let text = WithCauses(&signatures(text.as_bytes(), digest).unwrap_err()).to_string();
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn a_damaged_signature_harms_no_other() {
        let digest = Sha256::from([0xab; 32]);
        for (damaged, reason) in
            [("%", "-0 is not base64"), (&*"AAAA".repeat(20_000), "has more than 51200 bytes")]
        {
            let (key, good) = (format!("sha256-{digest}-0"), format!("sha256-{digest}-1"));
            let json = format!(
                r#"{{"kind": "ConfigMap", "binaryData": {{"{key}": "{damaged}", "{good}": "c2lnbmF0dXJl"}}}}"#
            );
            let found = signatures(json.as_bytes(), digest).unwrap();
            let [Err(error), Ok(signature)] = &found[..] else { panic!("{found:?}") };
            assert_eq!(signature, b"signature");
            assert!(WithCauses(error).to_string().contains(reason), "{error:?}");
        }
    }
}
