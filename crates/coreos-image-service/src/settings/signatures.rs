//! Whose signature a release must carry, for every command that looks at releases.

use std::io::Read as _;
use std::path::Path;

use coreos_names::WithCauses;
use release_signature::{Config, Keyring, SignaturePolicy, Store};

use super::{InvalidSettings, Merged, Problems};

const KEYS: &str = "RELEASE_SIGNATURE_KEYS";
const STORES: &str = "RELEASE_SIGNATURE_STORES";

/// More than any keyring has, in bytes.
const MAX_KEYRING: u64 = 16 << 20;

/// What is asked of releases; `None` where no keys are given.
pub(crate) fn validate(
    merged: &Merged,
    registry: &oci_registry::Config,
) -> Result<Option<Config>, InvalidSettings> {
    let mut problems = merged.problems();
    let config = read(merged, registry, &mut problems);
    problems.finish(Some(config))
}

/// The same as a part of a larger validation.
pub(super) fn read(
    merged: &Merged,
    registry: &oci_registry::Config,
    problems: &mut Problems,
) -> Option<Config> {
    let keyrings = merged.text(KEYS).map(|text| keyrings(text, problems));
    let stores = merged.text(STORES).map(|text| stores(text, problems));
    if keyrings.is_none() && stores.is_some() {
        problems.add(format!("{STORES} is given without {KEYS}: nothing would be verified"));
    }
    Some(Config {
        keyrings: keyrings?,
        stores: stores.unwrap_or_else(Store::openshift),
        trusted_ca_pem: registry.trusted_ca_pem.clone(),
        user_agent: registry.user_agent.clone(),
    })
}

/// The policy that was configured.
pub(crate) fn policy(config: Option<Config>) -> Result<Option<SignaturePolicy>, InvalidSettings> {
    let Some(config) = config else { return Ok(None) };
    for keyring in &config.keyrings {
        for key in keyring.keys() {
            tracing::info!(
                keyring = keyring.name(),
                key,
                "releases have to be signed with a key of this keyring"
            );
        }
    }
    let policy = SignaturePolicy::new(config);
    policy.map(Some).map_err(|error| InvalidSettings::in_use("REGISTRY_TRUSTED_CA_FILE", &error))
}

fn keyrings(text: &str, problems: &mut Problems) -> Vec<Keyring> {
    let mut keyrings = Vec::new();
    for file in listed(text) {
        let bytes = match bytes(Path::new(file)) {
            Ok(bytes) => bytes,
            Err(error) => {
                problems.add(format!("{KEYS}={file}: cannot be read: {error}"));
                continue;
            }
        };
        match Keyring::read(file, &bytes) {
            Ok(keyring) => keyrings.push(keyring),
            Err(error) => problems.add(format!("{KEYS}={file}: {}", WithCauses(&error))),
        }
    }
    if listed(text).next().is_none() {
        problems.add(format!("{KEYS}={text}: names no file"));
    }
    keyrings
}

fn stores(text: &str, problems: &mut Problems) -> Vec<Store> {
    if listed(text).next().is_none() {
        problems.add(format!("{STORES}={text}: names no store"));
    }
    // What is no URL may still hold a password, and is not repeated.
    let mut store = |(number, store): (usize, &str)| {
        store.parse().map_err(|error| problems.add(format!("{STORES}: store {number}: {error}"))).ok()
    };
    (1..).zip(listed(text)).filter_map(&mut store).collect()
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_KEYRING).read_to_end(&mut bytes)?;
    Ok(bytes)
}
