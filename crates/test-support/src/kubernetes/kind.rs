use serde_json::Value;

/// A kind of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub kind: String,
    /// Its name in paths.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is a subresource.
    pub has_status: bool,
}

impl Kind {
    /// A kind; `api_version` as in objects.
    pub fn new(api_version: &str, kind: &str, plural: &str, namespaced: bool, has_status: bool) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced,
            has_status,
        }
    }

    /// What a CustomResourceDefinition defines.
    pub fn of_definition(definition: &Value) -> Self {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = &spec["versions"][0];
        Self {
            group: text(&spec["group"]),
            version: text(&version["name"]),
            kind: text(&spec["names"]["kind"]),
            plural: text(&spec["names"]["plural"]),
            namespaced: spec["scope"] == "Namespaced",
            has_status: version["subresources"]["status"].is_object(),
        }
    }

    /// As objects name it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Those that every cluster has, as far as anybody here needs them.
    pub(super) fn built_in() -> Vec<Self> {
        vec![
            Self::new("v1", "Namespace", "namespaces", false, true),
            Self::new("v1", "ConfigMap", "configmaps", true, false),
            Self::new("v1", "Secret", "secrets", true, false),
            Self::new("apps/v1", "Deployment", "deployments", true, true),
            Self::new("apps/v1", "StatefulSet", "statefulsets", true, true),
            Self::new("coordination.k8s.io/v1", "Lease", "leases", true, false),
            Self::new("events.k8s.io/v1", "Event", "events", true, false),
            Self::new(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "customresourcedefinitions",
                false,
                true,
            ),
        ]
    }
}
