//! What running image services read, made of what the cluster says.
//!
//! Beside the list it carries what is needed to reach the images: mirrors, CAs and the pull secret. Everything is in a
//! stable order, so that equal input gives equal bytes and nothing is written without need.

mod certificates;

use std::collections::BTreeMap;

use feed_format::{Access, Documents, REGISTRIES_CONF, RELEASE_IMAGES, SecretText};
use oci_registry::{PullSecret, RegistriesConf};
use release_payload::mirror_sets;
use release_payload::release_images::{self, ReleaseImage};
use serde_json::Value;

use crate::inputs::{ConfigData, PullSecretSeen, Seen};
use crate::plan::Problem;

/// etcd takes 1.5 MiB and the API server 1 MiB of a ConfigMap; some of it is metadata.
const MAX_SIZE: usize = 1_000_000;

/// The feed would not fit into a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ConfigMap would have {size} bytes, and can have {MAX_SIZE}: {largest} is the largest part")]
pub(crate) struct FeedTooLarge {
    size: usize,
    largest: &'static str,
}

/// The pull secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PullSecretProblem {
    #[error("the Secret {place} does not exist")]
    Missing { place: String },
    #[error("the Secret {place} has no entry {key}")]
    NoEntry { place: String, key: String },
    #[error("{key} of the Secret {place} is not UTF-8")]
    NotText { place: String, key: String },
    #[error("{key} of the Secret {place}: {source}")]
    Unusable { place: String, key: String, source: oci_registry::PullSecretError },
}

/// How registries are reached, read out of what the cluster says; with what is wrong with parts of it, which are left out and harm nothing
/// else. Each part is read as the image service will, which uses nothing of a text that is wrong somewhere.
pub(crate) fn access(seen: &Seen) -> (Access, Vec<Problem>) {
    let mut problems = Vec::new();
    let pull_secret = pull_secret(&seen.pull_secret)
        .map_err(|problem| problems.push(Problem::new("PullSecretUnusable", problem.to_string())))
        .ok();
    let mirror_registry = |key: &str| seen.mirror_registry.as_ref()?.get(key);
    let registries_conf =
        mirror_registry(REGISTRIES_CONF).filter(|conf| !conf.trim().is_empty()).filter(|conf| {
            let read = RegistriesConf::parse(REGISTRIES_CONF, conf);
            problems.extend(read.as_ref().err().map(|error| {
                let message = format!("the ConfigMap of mirrorRegistryRef is left out: {error}");
                Problem::new("RegistriesConfUnusable", message)
            }));
            read.is_ok()
        });
    let mirrors = mirrors(&seen.mirror_sets, &mut problems);
    let bundles = mirror_registry("ca-bundle.crt")
        .map(|bundle| ("the ConfigMap of mirrorRegistryRef".to_owned(), bundle))
        .into_iter()
        .chain(seen.ca_bundles.iter().flat_map(|(name, data)| {
            data.iter().map(move |(key, bundle)| (format!("{key} of {name}"), bundle))
        }));
    let trusted_ca = certificates::bundle(bundles, &mut problems);
    (Access { pull_secret, registries_conf: registries_conf.cloned(), mirrors, trusted_ca }, problems)
}

/// The entries of the ConfigMap.
pub(crate) fn config_data(
    releases: &[ReleaseImage],
    access: &Access,
) -> Result<BTreeMap<&'static str, String>, FeedTooLarge> {
    let documents = Documents {
        release_images: Some(release_images::to_json(releases)),
        os_images: None,
        access: access.clone(),
    };
    let data = documents.configuration();
    let size = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size <= MAX_SIZE {
        return Ok(data);
    }
    let largest = data.iter().max_by_key(|(_, value)| value.len()).map_or(RELEASE_IMAGES, |(key, _)| *key);
    Err(FeedTooLarge { size, largest })
}

/// What a ConfigMap that was written before lists. Entries that are not understood, because somebody changed them, are
/// left out.
pub(crate) fn listed(config: &ConfigData) -> Vec<ReleaseImage> {
    let Some(Ok(Value::Array(entries))) = config.get(RELEASE_IMAGES).map(|list| serde_json::from_str(list))
    else {
        return Vec::new();
    };
    let entry = |entry| release_images::parse(&Value::Array(vec![entry]).to_string()).ok()?.pop();
    entries.into_iter().filter_map(entry).collect()
}

fn pull_secret(seen: &PullSecretSeen) -> Result<SecretText, PullSecretProblem> {
    let PullSecretSeen { place, key, data } = seen;
    let (place, key) = (place.clone(), key.clone());
    let Some(data) = data else { return Err(PullSecretProblem::Missing { place }) };
    let Some(bytes) = data.get(&key) else { return Err(PullSecretProblem::NoEntry { place, key }) };
    let Ok(text) = str::from_utf8(bytes) else { return Err(PullSecretProblem::NotText { place, key }) };
    match PullSecret::parse(text) {
        Ok(_) => Ok(SecretText::from(text)),
        Err(source) => Err(PullSecretProblem::Unusable { place, key, source }),
    }
}

fn mirrors(sets: &[Value], problems: &mut Vec<Problem>) -> Option<String> {
    let mut documents = Vec::new();
    for set in sets {
        // JSON values can always be written as YAML.
        let Ok(document) = serde_yaml_ng::to_string(set) else { continue };
        match mirror_sets::parse(&document) {
            Ok(_) => documents.push(document),
            Err(error) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (kind, name) = (text(&set["kind"]), text(&set["metadata"]["name"]));
                problems.push(Problem::new("MirrorsUnusable", format!("{kind} {name} is left out: {error}")));
            }
        }
    }
    (!documents.is_empty()).then(|| documents.join("---\n"))
}

#[cfg(test)]
mod tests {
    use feed_format::PULL_SECRET;
    use serde_json::json;

    use super::*;

    fn access(trusted_ca: usize) -> Access {
        Access { trusted_ca: Some("x".repeat(trusted_ca)), ..Access::default() }
    }

    #[test]
    fn a_feed_that_does_not_fit_names_its_largest_part() {
        assert!(config_data(&[], &access(900_000)).is_ok());
        let error = config_data(&[], &access(1_100_000)).unwrap_err();
        assert!(error.to_string().ends_with("ca.crt is the largest part"), "{error}");
    }

    #[test]
    fn mirror_sets_are_yaml_documents() {
        let set = |name: &str| json!({"kind": "ImageDigestMirrorSet", "metadata": {"name": name}, "spec": {"imageDigestMirrors": []}});
        let mut problems = Vec::new();
        assert_eq!(mirrors(&[], &mut problems), None);
        let bad = json!({"kind": "ImageDigestMirrorSet", "metadata": {"name": "bad"}, "spec": {"imageDigestMirrors": [{"source": 7}]}});
        let text = mirrors(&[set("a"), bad, set("b")], &mut problems).unwrap();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("ImageDigestMirrorSet bad is left out: "), "{problems:?}");
        let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(&text)
            .map(|document| serde::Deserialize::deserialize(document).unwrap())
            .collect();
        assert_eq!(documents, [set("a"), set("b")]);
    }

    #[test]
    fn what_is_wrong_with_a_pull_secret_is_said_without_repeating_it() {
        let missing = PullSecretSeen { place: "ns/s".into(), key: PULL_SECRET.into(), data: None };
        assert_eq!(pull_secret(&missing).unwrap_err().to_string(), "the Secret ns/s does not exist");
    }
}
