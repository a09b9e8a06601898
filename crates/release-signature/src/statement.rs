//! What is signed: a JSON document that says which digest belongs to which image name.

use coreos_names::Sha256;
use serde::Deserialize;

const TYPE: &str = "atomic container signature";

/// Why a signed document vouches for nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("it does not sign what signatures of releases sign")]
    Json(#[from] serde_json::Error),
    #[error("it signs a document of type {0:?} instead of {TYPE:?}")]
    Type(String),
    #[error("it names no image")]
    NoReference,
    #[error("it is for the digest {0:?}")]
    OtherDigest(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    critical: Critical,
    #[serde(default, rename = "optional")]
    _optional: Optional,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    r#type: String,
    image: Image,
    identity: Identity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Optional {
    #[serde(default, rename = "creator")]
    _creator: String,
    #[serde(default, rename = "timestamp")]
    _timestamp: i64,
}

/// Reads a document whose signature is good. Returns the image name in it if it is for `digest`.
///
/// Any name will do, since a mirrored release has another. A field that is unknown may restrict what is signed.
pub(crate) fn read(json: &[u8], digest: Sha256) -> Result<String, Error> {
    let Statement { critical, .. } = serde_json::from_slice(json)?;
    if critical.r#type != TYPE {
        return Err(Error::Type(shortened(&critical.r#type)));
    }
    if critical.identity.reference.is_empty() {
        return Err(Error::NoReference);
    }
    if critical.image.digest != format!("sha256:{digest}") {
        return Err(Error::OtherDigest(shortened(&critical.image.digest)));
    }
    Ok(shortened(&critical.identity.reference))
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use coreos_names::{Sha256, WithCauses};

    use super::read;

    fn digest() -> Sha256 {
        Sha256::from([0xab; 32])
    }

    fn document(kind: &str, digest: &str, reference: &str, more: &str) -> String {
        format!(
            r#"{{"critical": {{"type": "{kind}", "image": {{"docker-manifest-digest": "{digest}"}},
            "identity": {{"docker-reference": "{reference}"}}}}{more}}}"#
        )
    }

    #[test]
    fn only_the_document_of_this_digest_counts() {
        let (kind, right) = ("atomic container signature", format!("sha256:{}", digest()));
        let name = "quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64";
        let optional = r#", "optional": {"creator": "Red Hat", "timestamp": 1700000000}"#;
        for more in ["", optional, r#", "optional": {}"#] {
            assert_eq!(read(document(kind, &right, name, more).as_bytes(), digest()).unwrap(), name);
        }
        let upper = format!("sha256:{}", digest().to_string().to_uppercase());
        let other = right.replace("ab", "cb");
        for (json, reason) in [
            (document("other", &right, name, ""), "of type \"other\""),
            (document(kind, &other, name, ""), "it is for the digest \"sha256:cbcb"),
            (document(kind, &upper, name, ""), "it is for the digest"),
            (document(kind, "", name, ""), "it is for the digest \"\""),
            (document(kind, &right, "", ""), "it names no image"),
            (document(kind, &right, name, r#", "more": 1"#), "unknown field `more`"),
            (document(kind, &right, name, r#", "optional": {"more": 1}"#), "unknown field `more`"),
            (document(kind, &right, &format!(r#"{name}", "more": "1"#), ""), "unknown field `more`"),
            (document(kind, &right, &format!(r#"{name}", "docker-reference": "b"#), ""), "duplicate field"),
            (document(kind, &right, name, "") + "{}", "trailing characters"),
            ("[]".to_owned(), "invalid length"),
            (String::new(), "EOF"),
        ] {
            let error = read(json.as_bytes(), digest()).unwrap_err();
            let text = WithCauses(&error).to_string();
            assert!(text.contains(reason), "{json}: {text}");
        }
    }
}
