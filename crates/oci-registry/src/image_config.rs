use std::collections::BTreeMap;

use serde::Deserialize;

/// What an image says about itself, as far as it matters for telling images apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig {
    /// The architecture in Go's words. The only place a single-platform image states it.
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
}

impl ImageConfig {
    /// Real ones have a few KiB.
    pub const MAX_SIZE: u64 = 4 << 20;

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        /// The document as it is serialised. Go writes `null` for an empty map.
        #[derive(Deserialize)]
        struct Document {
            #[serde(default)]
            architecture: String,
            #[serde(default)]
            os: String,
            config: Option<Section>,
        }

        #[derive(Deserialize)]
        struct Section {
            #[serde(rename = "Labels")]
            labels: Option<BTreeMap<String, String>>,
        }

        let document: Document = serde_json::from_slice(bytes)?;
        let labels = document.config.and_then(|section| section.labels).unwrap_or_default();
        Ok(Self { architecture: document.architecture, os: document.os, labels })
    }
}

#[cfg(test)]
mod tests {
    use super::ImageConfig;

    #[test]
    fn labels_may_be_missing_at_every_level() {
        for text in [
            r#"{"architecture":"arm64","os":"linux"}"#,
            r#"{"architecture":"arm64","os":"linux","config":null}"#,
            r#"{"architecture":"arm64","os":"linux","config":{"Env":[]}}"#,
            r#"{"architecture":"arm64","os":"linux","config":{"Labels":null}}"#,
        ] {
            let config = ImageConfig::parse(text.as_bytes()).unwrap();
            assert_eq!((config.architecture.as_str(), config.os.as_str()), ("arm64", "linux"));
            assert!(config.labels.is_empty());
        }
        let config =
            ImageConfig::parse(br#"{"config":{"Labels":{"io.openshift.release":"4.18.52"}}}"#).unwrap();
        assert_eq!(config.labels["io.openshift.release"], "4.18.52");
    }
}
