use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use serde_json::{Map, Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::apply::Owners;
use super::kind::Kind;
use super::reply::Refusal;
use super::route::{Route, Selection};

/// How many changes are remembered. Whoever is further behind has to list again.
const HISTORY: usize = 1000;
/// The manager of what tests put there themselves.
const ANOTHER_CLIENT: &str = "another-client";

/// Every object, and how it came to be so.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
    /// Tells watches that there is something new, or that they may send again.
    pub(super) news: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    kinds: Vec<Kind>,
    objects: BTreeMap<Key, Stored>,
    version: u64,
    history: VecDeque<Change>,
    /// Changes up to this version are forgotten.
    compacted: u64,
    held: bool,
    /// How often all watches were ended.
    interruptions: u64,
    watches: BTreeMap<String, usize>,
}

/// Plural, namespace, name.
type Key = (String, String, String);

#[derive(Clone, Debug)]
struct Stored {
    object: Value,
    owners: Owners,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) type_: &'static str,
    key: Key,
    pub(super) object: Value,
}

/// What a watch is to send next.
pub(super) enum Next {
    Changes(Vec<Change>, u64),
    Held,
    Gone(u64),
    /// The kind is gone, or the connection is.
    End,
}

/// What is to be written, and by whom.
pub(super) struct Target<'a> {
    pub(super) kind: &'a Kind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) manager: &'a str,
    pub(super) to_status: bool,
}

/// How an object is to be written.
pub(super) enum Write {
    /// It must not exist.
    Create,
    /// It must exist, and be as the writer knows it.
    Replace,
    /// Server-side apply.
    Apply { force: bool },
    /// Merge patch.
    Merge,
    /// Whatever there is: for tests.
    Put,
}

impl Default for Store {
    fn default() -> Self {
        let state = State {
            kinds: Kind::built_in(),
            objects: BTreeMap::new(),
            version: 1,
            history: VecDeque::new(),
            compacted: 0,
            held: false,
            interruptions: 0,
            watches: BTreeMap::new(),
        };
        let store = Self { state: Mutex::new(state), news: watch::Sender::new(()) };
        store.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})).unwrap();
        store
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn tell(&self) {
        self.news.send_replace(());
    }

    pub(super) fn define(&self, kind: Kind) {
        let mut state = self.lock();
        state.kinds.retain(|known| known.plural != kind.plural || known.group != kind.group);
        state.kinds.push(kind);
    }

    pub(super) fn undefine(&self, plural: &str) {
        let mut state = self.lock();
        state.kinds.retain(|kind| kind.plural != plural);
        state.objects.retain(|(other, _, _), _| other != plural);
        state.history.retain(|change| change.key.0 != plural);
        drop(state);
        self.tell();
    }

    pub(super) fn kind(&self, route: &Route) -> Option<Kind> {
        let state = self.lock();
        let is_it = |kind: &&Kind| {
            (&kind.group, &kind.version, &kind.plural) == (&route.group, &route.version, &route.plural)
        };
        state.kinds.iter().find(is_it).cloned()
    }

    pub(super) fn find(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        self.lock().objects.get(&key).map(|stored| stored.object.clone())
    }

    pub(super) fn all(&self, plural: &str) -> Vec<Value> {
        let state = self.lock();
        let of_kind = state.objects.iter().filter(|((other, _, _), _)| other == plural);
        of_kind.map(|(_, stored)| stored.object.clone()).collect()
    }

    /// A page of a list from after a namespace and name; with the version it is of, and where the next one begins.
    pub(super) fn page(
        &self,
        plural: &str,
        selection: &Selection,
        after: Option<&(String, String)>,
        limit: usize,
    ) -> (Vec<Value>, u64, Option<(String, String)>) {
        let state = self.lock();
        let mut items = Vec::new();
        let mut last = None;
        for ((other, namespace, name), stored) in &state.objects {
            let place = (namespace.clone(), name.clone());
            if other != plural
                || !selection.includes(namespace, name)
                || after.is_some_and(|after| place <= *after)
            {
                continue;
            }
            if items.len() == limit {
                return (items, state.version, last);
            }
            items.push(stored.object.clone());
            last = Some(place);
        }
        (items, state.version, None)
    }

    pub(super) fn put(&self, object: Value) -> Result<Value, Refusal> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind_name) = (text(&object["apiVersion"]), text(&object["kind"]));
        let kind = {
            let state = self.lock();
            let is_it = |kind: &&Kind| kind.kind == kind_name && kind.api_version() == api_version;
            state.kinds.iter().find(is_it).cloned()
        };
        let kind = kind.ok_or_else(|| Refusal::not_found(&api_version, &kind_name))?;
        let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
        let status = object.get("status").cloned();
        let mut target = Target {
            kind: &kind,
            namespace: &namespace,
            name: &name,
            manager: ANOTHER_CLIENT,
            to_status: false,
        };
        let written = self.write(&target, object, &Write::Put)?.0;
        let Some(status) = status.filter(|_| kind.has_status) else { return Ok(written) };
        target.to_status = true;
        Ok(self.write(&target, json!({ "status": status }), &Write::Merge)?.0)
    }

    /// Writes an object, or its status. True if it is new.
    pub(super) fn write(
        &self,
        target: &Target<'_>,
        mut sent: Value,
        how: &Write,
    ) -> Result<(Value, bool), Refusal> {
        let &Target { kind, namespace, name, manager, to_status } = target;
        let mut state = self.lock();
        let key = (kind.plural.clone(), namespace.to_owned(), name.to_owned());
        if kind.namespaced {
            let home = ("namespaces".to_owned(), String::new(), namespace.to_owned());
            if !state.objects.contains_key(&home) && !matches!(how, Write::Put) {
                return Err(Refusal::not_found("namespaces", namespace));
            }
        }
        let before = state.objects.get(&key).cloned();
        let plural = &kind.plural;
        check(target, before.as_ref().map(|stored| &stored.object), &sent["metadata"], how)?;
        strip(&mut sent, kind, to_status);
        let empty = || json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {}});
        let Stored { object: old, mut owners } =
            before.clone().unwrap_or_else(|| Stored { object: empty(), owners: Owners::default() });
        let mut object = old.clone();
        match how {
            Write::Apply { force } => {
                owners.apply(&mut object, &sent, manager, *force).map_err(|conflicts| {
                    let conflicts: Vec<_> = conflicts
                        .iter()
                        .map(|conflict| format!("conflict with {:?}: .{}", conflict.manager, conflict.field))
                        .collect();
                    Refusal::new(
                        409,
                        "Conflict",
                        format!("Apply failed with {} conflicts: {}", conflicts.len(), conflicts.join(", ")),
                    )
                })?;
            }
            Write::Merge => merge_patch(&mut object, &sent),
            _ => replace(&mut object, sent, kind, to_status),
        }
        if let (Some(before), "secrets") = (&before, plural.as_str())
            && before.object["type"] != object["type"]
        {
            return Err(Refusal::invalid(format!("Secret {name:?} is invalid: type: field is immutable")));
        }
        if kind.kind == "Secret" && object["type"].is_null() {
            object["type"] = json!("Opaque");
        }
        if object["apiVersion"] != kind.api_version() || object["kind"] != kind.kind {
            return Err(Refusal::bad_request("the kind in the data does not match the expected one"));
        }
        if !matches!(how, Write::Apply { .. }) {
            owners.note_update(&old, &object, manager);
        }
        let identity = json!({
            "name": name,
            "uid": old["metadata"]["uid"].as_str().map_or_else(|| Uuid::new_v4().to_string(), str::to_owned),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        merge_patch(&mut object["metadata"], &identity);
        if kind.namespaced {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if before.is_some() && same(&old, &object) {
            return Ok((old, false));
        }
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        let changed = before.is_none() || content(&old) != content(&object);
        object["metadata"]["generation"] = json!(generation + i64::from(changed));
        let type_ = if before.is_some() { "MODIFIED" } else { "ADDED" };
        state.record(key.clone(), type_, &mut object);
        state.objects.insert(key, Stored { object: object.clone(), owners });
        if plural == "customresourcedefinitions" {
            let defined = Kind::of_definition(&object);
            state.kinds.retain(|kind| (&kind.group, &kind.plural) != (&defined.group, &defined.plural));
            state.kinds.push(defined);
        }
        drop(state);
        self.tell();
        Ok((object, before.is_none()))
    }

    /// Deletes an object; with a namespace everything in it, with a definition everything of it.
    pub(super) fn remove(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let mut state = self.lock();
        let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(Stored { object: definition, .. }) = state.objects.get(&key).cloned() else { return false };
        let undefined =
            (plural == "customresourcedefinitions").then(|| Kind::of_definition(&definition).plural);
        let goes = |(other, within, _): &&Key| match plural {
            "namespaces" => within == name,
            _ => undefined.as_ref().is_some_and(|undefined| undefined == other),
        };
        let mut doomed: Vec<_> = state.objects.keys().filter(goes).cloned().collect();
        doomed.push(key);
        for key in doomed {
            if let Some(Stored { mut object, .. }) = state.objects.remove(&key) {
                state.record(key, "DELETED", &mut object);
            }
        }
        drop(state);
        match undefined {
            Some(undefined) => self.undefine(&undefined),
            None => self.tell(),
        }
        true
    }

    pub(super) fn versions(&self, plural: &str, namespace: &str, name: &str) -> Vec<Value> {
        let state = self.lock();
        let is_meant = |change: &&Change| {
            let (other, within, called) = &change.key;
            (other.as_str(), within.as_str(), called.as_str()) == (plural, namespace, name)
                && change.type_ != "DELETED"
        };
        state.history.iter().filter(is_meant).map(|change| change.object.clone()).collect()
    }

    pub(super) fn compact(&self) {
        let mut state = self.lock();
        // Watches that are up to date must be told, too.
        state.version += 1;
        state.compacted = state.version;
        state.version += 1;
        state.history.clear();
        drop(state);
        self.tell();
    }

    pub(super) fn hold(&self, held: bool) {
        self.lock().held = held;
        self.tell();
    }

    pub(super) fn interrupt(&self) {
        self.lock().interruptions += 1;
        self.tell();
    }

    pub(super) fn interruptions(&self) -> u64 {
        self.lock().interruptions
    }

    /// What a watch that began after so many interruptions is told of what came after a version.
    pub(super) fn next(&self, kind: &Kind, selection: &Selection, after: u64, interruptions: u64) -> Next {
        let state = self.lock();
        if !state.kinds.contains(kind) || state.interruptions != interruptions {
            return Next::End;
        }
        if after < state.compacted {
            return Next::Gone(after);
        }
        if state.held {
            return Next::Held;
        }
        let is_meant = |change: &&Change| {
            let (plural, namespace, name) = &change.key;
            change.version > after && *plural == kind.plural && selection.includes(namespace, name)
        };
        Next::Changes(state.history.iter().filter(is_meant).cloned().collect(), state.version)
    }

    /// Whether a watch can begin there.
    pub(super) fn remembers(&self, version: u64) -> bool {
        version >= self.lock().compacted
    }

    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(super) fn open_watches(&self, plural: &str) -> usize {
        self.lock().watches.get(plural).copied().unwrap_or_default()
    }

    pub(super) fn count_watch(&self, plural: &str, opened: bool) {
        let mut state = self.lock();
        let count = state.watches.entry(plural.to_owned()).or_default();
        *count = if opened { *count + 1 } else { *count - 1 };
    }
}

impl State {
    fn record(&mut self, key: Key, type_: &'static str, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.history.push_back(Change { version: self.version, type_, key, object: object.clone() });
        while self.history.len() > HISTORY {
            if let Some(forgotten) = self.history.pop_front() {
                self.compacted = self.compacted.max(forgotten.version);
            }
        }
    }
}

/// Whether an object may be written so, as it is now.
fn check(target: &Target<'_>, before: Option<&Value>, sent: &Value, how: &Write) -> Result<(), Refusal> {
    const OTHER_UID: &str = "Precondition failed: UID in precondition";
    const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version";
    let (plural, name) = (&target.kind.plural, target.name);
    let Some(before) = before else {
        return match how {
            Write::Replace | Write::Merge => Err(Refusal::not_found(plural, name)),
            Write::Apply { .. } if target.to_status => Err(Refusal::not_found(plural, name)),
            Write::Apply { .. } if sent["uid"].is_string() => Err(Refusal::conflict(plural, name, OTHER_UID)),
            _ => Ok(()),
        };
    };
    let differs = |field: &str| sent[field].is_string() && sent[field] != before["metadata"][field];
    match how {
        Write::Create => Err(Refusal::new(409, "AlreadyExists", format!("{plural} {name:?} already exists"))),
        Write::Put => Ok(()),
        _ if differs("uid") => Err(Refusal::conflict(plural, name, OTHER_UID)),
        _ if differs("resourceVersion") => Err(Refusal::conflict(plural, name, MODIFIED)),
        _ => Ok(()),
    }
}

/// Takes out what this write must not touch.
fn strip(sent: &mut Value, kind: &Kind, to_status: bool) {
    if let Some(sent) = sent.as_object_mut() {
        if to_status {
            sent.retain(|name, _| ["apiVersion", "kind", "status"].contains(&name.as_str()));
        } else if kind.has_status {
            sent.remove("status");
        }
        if let Some(metadata) = sent.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
                metadata.remove(name);
            }
        }
    }
}

/// An update: everything but what the server keeps, and what another endpoint writes.
fn replace(object: &mut Value, mut sent: Value, kind: &Kind, to_status: bool) {
    if to_status {
        object["status"] = sent["status"].take();
        return;
    }
    if kind.has_status
        && let Some(status) = object.get("status")
    {
        sent["status"] = status.clone();
    }
    *object = sent;
}

fn merge_patch(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            object.as_object_mut().into_iter().for_each(|object| drop(object.remove(name)));
        } else {
            merge_patch(&mut object[name], value);
        }
    }
}

/// What a generation counts the changes of.
fn content(object: &Value) -> BTreeMap<&String, &Value> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !["metadata", "status"].contains(&name.as_str())).collect()
}

/// Whether nothing is different but what the server itself counts.
fn same(old: &Value, new: &Value) -> bool {
    let without_counts = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|name, _| !["resourceVersion", "generation"].contains(&name.as_str()));
        }
        object
    };
    without_counts(old) == without_counts(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_the_same_changes_nothing() {
        let store = Store::default();
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}, "data": {"a": "1"}});
        let first = store.put(object.clone()).unwrap();
        assert_eq!(store.put(object.clone()).unwrap(), first);
        let mut other = object;
        other["data"]["a"] = json!("2");
        let second = store.put(other).unwrap();
        assert_ne!(first["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
        assert_eq!(second["metadata"]["generation"], 2);
        assert_eq!(first["metadata"]["uid"], second["metadata"]["uid"]);
    }

    #[test]
    fn what_is_deleted_with_its_namespace_is_gone() {
        let store = Store::default();
        store.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})).unwrap();
        store
            .put(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}}))
            .unwrap();
        assert!(store.remove("namespaces", "", "n"));
        assert_eq!(store.all("secrets"), [] as [Value; 0]);
        let left = store.all("namespaces");
        assert_eq!(left.len(), 1);
        assert_eq!(left[0]["metadata"]["name"], "default");
    }
}
