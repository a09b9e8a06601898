//! Who set which field, and server-side apply by it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// The way to a field. Elements of lists that are merged are named by their key: `containers[name=x]`.
pub(super) type Path = Vec<String>;

/// Which managers set each leaf of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners(BTreeMap<Path, BTreeSet<String>>);

/// A field belongs to another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) manager: String,
    pub(super) field: String,
}

impl Owners {
    /// Notes that a manager wrote a whole object: it owns what it changed, and nobody owns what is gone.
    pub(super) fn note_update(&mut self, before: &Value, after: &Value, manager: &str) {
        let (before, after) = (leaves(before), leaves(after));
        self.0.retain(|path, _| after.contains_key(path));
        for (path, value) in after {
            if before.get(&path) != Some(&value) {
                self.0.insert(path, BTreeSet::from([manager.to_owned()]));
            }
        }
    }

    /// Applies a configuration to an object. Without `force` a field that another manager set otherwise is a conflict.
    pub(super) fn apply(
        &mut self,
        object: &mut Value,
        configuration: &Value,
        manager: &str,
        force: bool,
    ) -> Result<(), Vec<Conflict>> {
        let current = leaves(object);
        let wanted = leaves(configuration);
        let mut conflicts = Vec::new();
        for (path, value) in &wanted {
            if current.get(path) == Some(value) {
                continue;
            }
            let others = self.0.get(path).into_iter().flatten().filter(|other| *other != manager);
            conflicts.extend(others.map(|other| Conflict { manager: other.clone(), field: path.join(".") }));
        }
        if !conflicts.is_empty() && !force {
            return Err(conflicts);
        }
        // What this manager applied before and applies no more goes, unless somebody else wants it, too.
        let mut abandoned = Vec::new();
        for (path, managers) in &mut self.0 {
            if !wanted.contains_key(path) && managers.remove(manager) && managers.is_empty() {
                abandoned.push(path.clone());
            }
        }
        for path in abandoned {
            self.0.remove(&path);
            remove(object, &path);
        }
        merge(object, configuration);
        for (path, value) in &wanted {
            let owners = self.0.entry(path.clone()).or_default();
            if current.get(path) != Some(value) {
                owners.clear();
            }
            owners.insert(manager.to_owned());
        }
        Ok(())
    }
}

/// The keys by which elements of a list are known, if all have one.
fn list_key(list: &[Value]) -> Option<&'static str> {
    let all_have = |key: &&str| list.iter().all(|element| element.get(*key).is_some_and(Value::is_string));
    if list.is_empty() {
        return None;
    }
    // An entry of osImages has a version, but is no named thing; neither are entries of atomic lists.
    ["name", "type", "uid"].into_iter().find(all_have)
}

fn element_name(element: &Value, key: &str) -> String {
    format!("[{key}={}]", element[key].as_str().unwrap_or_default())
}

/// Every field that holds a value, by the way to it.
fn leaves(value: &Value) -> BTreeMap<Path, Value> {
    fn walk(value: &Value, path: &mut Path, leaves: &mut BTreeMap<Path, Value>) {
        match value {
            Value::Object(object) if !object.is_empty() => {
                for (name, value) in object {
                    if path.is_empty() && ["apiVersion", "kind"].contains(&name.as_str())
                        || is_identity(path, name)
                    {
                        continue;
                    }
                    path.push(name.clone());
                    walk(value, path, leaves);
                    path.pop();
                }
            }
            Value::Array(list) if list_key(list).is_some() => {
                let key = list_key(list).unwrap_or_default();
                for element in list {
                    path.push(element_name(element, key));
                    walk(element, path, leaves);
                    path.pop();
                }
            }
            leaf => {
                leaves.insert(path.clone(), leaf.clone());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(value, &mut Path::new(), &mut found);
    found
}

/// Metadata that nobody owns.
fn is_identity(path: &Path, name: &str) -> bool {
    let identity =
        ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"];
    path.len() == 1 && path[0] == "metadata" && identity.contains(&name)
}

fn merge(object: &mut Value, configuration: &Value) {
    match (object, configuration) {
        (Value::Object(object), Value::Object(configuration)) => {
            for (name, value) in configuration {
                match object.get_mut(name) {
                    Some(existing) => merge(existing, value),
                    None => drop(object.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(list), Value::Array(wanted))
            if list_key(wanted).is_some() && (list.is_empty() || list_key(list) == list_key(wanted)) =>
        {
            let key = list_key(wanted).unwrap_or_default();
            for element in wanted {
                match list.iter_mut().find(|existing| existing[key] == element[key]) {
                    Some(existing) => merge(existing, element),
                    None => list.push(element.clone()),
                }
            }
        }
        (object, value) => *object = value.clone(),
    }
}

/// Removes a leaf, and what is empty without it.
fn remove(value: &mut Value, path: &[String]) {
    let [name, rest @ ..] = path else { return };
    match value {
        Value::Object(object) => {
            if let Some(inner) = object.get_mut(name) {
                remove(inner, rest);
                if rest.is_empty() || is_hollow(inner) {
                    object.remove(name);
                }
            }
        }
        Value::Array(list) => {
            let Some(key) = list_key(list) else { return };
            let Some(at) = list.iter().position(|element| element_name(element, key) == *name) else {
                return;
            };
            // Its key is what an element is known by: it goes with the element.
            if rest == [key.to_owned()] {
                if list[at].as_object().is_some_and(|element| element.len() == 1) {
                    list.remove(at);
                }
                return;
            }
            remove(&mut list[at], rest);
            if list[at].as_object().is_none_or(|element| element.keys().all(|name| name == key)) {
                list.remove(at);
            }
        }
        _ => {}
    }
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manager_takes_back_what_it_applied_and_nothing_else() {
        let mut owners = Owners::default();
        let mut object = json!({"data": {"theirs": "1"}});
        owners.note_update(&Value::Null, &object, "them");
        owners.apply(&mut object, &json!({"data": {"a": "1", "b": "2"}}), "us", false).unwrap();
        assert_eq!(object, json!({"data": {"theirs": "1", "a": "1", "b": "2"}}));
        owners.apply(&mut object, &json!({"data": {"a": "3"}}), "us", false).unwrap();
        assert_eq!(object, json!({"data": {"theirs": "1", "a": "3"}}));
    }

    #[test]
    fn what_another_set_is_a_conflict_unless_forced() {
        let mut owners = Owners::default();
        let mut object = json!({"spec": {"osImages": [{"version": "1"}]}});
        owners.note_update(&Value::Null, &object, "them");
        let ours = json!({"spec": {"osImages": [{"version": "2"}]}});
        let conflicts = owners.apply(&mut object, &ours, "us", false).unwrap_err();
        assert_eq!(conflicts, [Conflict { manager: "them".into(), field: "spec.osImages".into() }]);
        assert_eq!(object["spec"]["osImages"][0]["version"], "1");
        owners.apply(&mut object, &ours, "us", true).unwrap();
        assert_eq!(object, ours);
        owners.note_update(&object, &json!({"spec": {"osImages": []}}), "them");
        object = json!({"spec": {"osImages": []}});
        assert!(owners.apply(&mut object, &ours, "us", false).is_err());
    }

    #[test]
    fn the_same_value_is_shared() {
        let mut owners = Owners::default();
        let mut object = json!({"data": {"a": "1"}});
        owners.note_update(&Value::Null, &object, "them");
        owners.apply(&mut object, &json!({"data": {"a": "1"}}), "us", false).unwrap();
        owners.apply(&mut object, &json!({"data": {}}), "us", false).unwrap();
        assert_eq!(object["data"]["a"], "1");
    }

    #[test]
    fn lists_of_named_things_are_merged() {
        let mut owners = Owners::default();
        let mut object =
            json!({"containers": [{"name": "main", "image": "x", "env": [{"name": "A", "value": "1"}]}]});
        owners.note_update(&Value::Null, &object, "them");
        let ours = json!({"containers": [{"name": "main", "env": [{"name": "B", "value": "2"}]}]});
        owners.apply(&mut object, &ours, "us", false).unwrap();
        assert_eq!(
            object,
            json!({"containers": [{"name": "main", "image": "x", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]})
        );
        owners.apply(&mut object, &json!({}), "us", false).unwrap();
        assert_eq!(object["containers"][0]["env"], json!([{"name": "A", "value": "1"}]));
    }
}
