use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

/// What was applied to an object last, and what that made of it.
///
/// An object can differ from what is wanted for good, since others may add entries to it that are not ours to remove.
/// Applying the same again would change nothing; that is known when it is as it was left.
#[derive(Debug, Default)]
pub(super) struct Applied {
    content: Option<u64>,
    resource_version: Option<String>,
}

impl Applied {
    pub(super) fn needs_nothing(
        &self,
        content: &impl Hash,
        owner: &OwnerReference,
        current: &ObjectMeta,
        is_current: bool,
    ) -> bool {
        let is_owned = current.owner_references.iter().flatten().any(|reference| reference.uid == owner.uid);
        let as_left = self.content == Some(mark(content, owner))
            && self.resource_version.is_some()
            && self.resource_version == current.resource_version;
        is_current && is_owned || as_left
    }

    pub(super) fn remember(&mut self, content: &impl Hash, owner: &OwnerReference, written: &ObjectMeta) {
        self.content = Some(mark(content, owner));
        self.resource_version.clone_from(&written.resource_version);
    }
}

fn mark(content: &impl Hash, owner: &OwnerReference) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    owner.uid.hash(&mut hasher);
    hasher.finish()
}

/// The metadata of an object that goes with ours.
pub(super) fn metadata(name: &str, owner: &OwnerReference) -> Value {
    json!({
        "name": name,
        "labels": { "app.kubernetes.io/managed-by": super::FIELD_MANAGER },
        "ownerReferences": [owner],
    })
}
