use std::collections::HashMap;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Route {
    /// `/api/v1/…` or `/apis/GROUP/VERSION/…`
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/').map(str::to_owned);
        let (group, version) = match parts.next()?.as_str() {
            "api" => (String::new(), parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<String> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            [word, namespace, rest @ ..] if word == "namespaces" && !rest.is_empty() => {
                (Some(namespace.clone()), rest)
            }
            rest => (None, rest),
        };
        let [plural, rest @ ..] = rest else { return None };
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some(name.clone()), None),
            [name, subresource] => (Some(name.clone()), Some(subresource.clone())),
            _ => return None,
        };
        Some(Self { group, version, plural: plural.clone(), namespace, name, subresource })
    }
}

/// The query's parameters.
pub(super) type Query = HashMap<String, String>;

/// Which objects of a kind are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
}

impl Selection {
    /// From the path and `fieldSelector`; `Err` with a selector that is not understood.
    pub(super) fn new(namespace: Option<&str>, query: &Query) -> Result<Self, String> {
        let mut selection = Self { namespace: namespace.map(str::to_owned), name: None };
        if let Some(selector) = query.get("labelSelector").filter(|selector| !selector.is_empty()) {
            return Err(format!("labelSelector={selector} is beyond this server"));
        }
        for field in query.get("fieldSelector").into_iter().flat_map(|fields| fields.split(',')) {
            match field.split_once('=') {
                Some(("metadata.name", name)) => {
                    selection.name = Some(name.trim_start_matches('=').to_owned());
                }
                _ if field.is_empty() => {}
                _ => return Err(format!("field label not supported: {field}")),
            }
        }
        Ok(selection)
    }

    pub(super) fn includes(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.name.as_deref().is_none_or(|wanted| wanted == name)
    }
}

#[cfg(test)]
mod tests {
    use super::Route;

    fn route(path: &str) -> (String, Option<String>, Option<String>, Option<String>) {
        let Route { plural, namespace, name, subresource, .. } = Route::parse(path).unwrap();
        (plural, namespace, name, subresource)
    }

    #[test]
    fn paths_name_objects() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(route("/api/v1/namespaces"), ("namespaces".into(), None, None, None));
        assert_eq!(route("/api/v1/namespaces/n"), ("namespaces".into(), None, some("n"), None));
        assert_eq!(route("/api/v1/namespaces/n/secrets"), ("secrets".into(), some("n"), None, None));
        assert_eq!(
            route("/apis/g.io/v1/namespaces/n/things/t/status"),
            ("things".into(), some("n"), some("t"), some("status"))
        );
        assert_eq!(route("/apis/g.io/v1/things/t"), ("things".into(), None, some("t"), None));
        for path in ["/", "/api", "/healthz", "/apis/g.io", "/apis/g.io/v1", "/api/v1/a/b/c/d"] {
            assert_eq!(Route::parse(path), None, "{path}");
        }
    }
}
