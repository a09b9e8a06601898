//! What OpenShift says of mirrors: ImageDigestMirrorSet, ImageTagMirrorSet, ImageContentSourcePolicy.
//!
//! Any number of documents of any of these kinds, in Lists or not, becomes rules for [`oci_registry::Mirrors`]. The
//! parts of an install-config that mirroring tools print to be pasted (`imageDigestSources`, `imageContentSources`) are
//! read as well. The meaning is the one that a cluster gives to them, which is not that of `oc`: the most specific
//! source alone counts, and tags have their own mirrors (openshift/api config/v1, openshift/runtime-utils).

use std::collections::{BTreeMap, BTreeSet};

use oci_registry::{InvalidScope, Location, Mirror, MirrorPull, MirrorRule, Scope};
use serde::Deserialize as _;
use serde_yaml_ng::{Deserializer, Mapping, Value};

/// The largest text that is read, in bytes.
pub const MAX_SIZE: usize = 1 << 20;
/// How deep Lists may lie in Lists.
const MAX_NESTING: usize = 4;
/// As much of a name as is repeated.
const MAX_SHOWN: usize = 100;

/// The mirror sets cannot be used. Every problem in them is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct InvalidMirrorSets {
    /// What is wrong, one sentence each, naming document, object and member.
    pub problems: Vec<String>,
}

/// The lists of mirrors that there are.
#[derive(Clone, Copy)]
struct List {
    /// Where the list is in its document.
    path: &'static [&'static str],
    /// What the member is called that may keep the source from being asked, if there is one.
    policy: Option<&'static str>,
    pull: MirrorPull,
}

const fn kind(name: &str) -> Option<List> {
    let (path, policy, pull): (&[&str], _, _) = match name.as_bytes() {
        b"ImageDigestMirrorSet" => {
            (&["spec", "imageDigestMirrors"], Some("mirrorSourcePolicy"), MirrorPull::DigestOnly)
        }
        b"ImageTagMirrorSet" => {
            (&["spec", "imageTagMirrors"], Some("mirrorSourcePolicy"), MirrorPull::TagOnly)
        }
        b"ImageContentSourcePolicy" => (&["spec", "repositoryDigestMirrors"], None, MirrorPull::DigestOnly),
        _ => return None,
    };
    Some(List { path, policy, pull })
}

/// What an install-config has at its top.
const INSTALL_CONFIG: [List; 2] = [
    List { path: &["imageDigestSources"], policy: Some("sourcePolicy"), pull: MirrorPull::DigestOnly },
    List { path: &["imageContentSources"], policy: None, pull: MirrorPull::DigestOnly },
];

/// Reads mirror sets. No document at all is valid: an operator may fill the file later.
pub fn parse(yaml: &str) -> Result<Vec<MirrorRule>, InvalidMirrorSets> {
    if yaml.len() > MAX_SIZE {
        return Err(InvalidMirrorSets { problems: vec![format!("larger than {MAX_SIZE} bytes")] });
    }
    let mut reader = Reader::default();
    for (index, document) in Deserializer::from_str(yaml).enumerate() {
        let place = format!("document {}", index + 1);
        match Value::deserialize(document) {
            Ok(document) => reader.document(&document, &place, None, 0),
            Err(error) => {
                reader.problem(&place, format_args!("not YAML: {error}"));
                // What follows a broken document cannot be told from it.
                break;
            }
        }
    }
    let sources = std::mem::take(&mut reader.sources);
    let rules: Vec<_> = sources.into_iter().map(|(scope, source)| source.into_rule(scope)).collect();
    for rule in rules.iter().filter(|rule| rule.mirrors.len() > MirrorRule::MAX_MIRRORS) {
        let (found, most) = (rule.mirrors.len(), MirrorRule::MAX_MIRRORS);
        reader
            .problem(&rule.scope.to_string(), format_args!("{found} mirrors, but at most {most} are asked"));
    }
    if reader.problems.is_empty() { Ok(rules) } else { Err(InvalidMirrorSets { problems: reader.problems }) }
}

/// What all sets together say of a source.
#[derive(Default)]
struct Source {
    /// Each set's mirrors, in its order.
    by_digest: Vec<Vec<Location>>,
    by_tag: Vec<Vec<Location>>,
    blocked: Option<bool>,
}

impl Source {
    fn into_rule(self, scope: Scope) -> MirrorRule {
        let lists = [(MirrorPull::DigestOnly, self.by_digest), (MirrorPull::TagOnly, self.by_tag)];
        let mirrors = lists.into_iter().flat_map(|(pull, lists)| {
            let mirrors = in_order_of_all(lists, scope.location()).into_iter();
            mirrors.map(move |location| Mirror { location, pull, insecure: None })
        });
        MirrorRule { mirrors: mirrors.collect(), blocked: self.blocked, ..MirrorRule::new(scope) }
    }
}

/// Brings lists together so that what precedes another in one of them does so in the result: B C and A B become A B C.
/// Where lists contradict each other, the one that was first to name a mirror counts. The source is the last of every
/// list that does not name it, and of the result is left out where it is the last.
fn in_order_of_all(mut lists: Vec<Vec<Location>>, source: Option<&Location>) -> Vec<Location> {
    for list in &mut lists {
        list.extend(source.filter(|source| !list.contains(source)).cloned());
    }
    let mut names: Vec<&Location> = Vec::new();
    let mut numbers = BTreeMap::new();
    for name in lists.iter().flatten() {
        numbers.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() - 1
        });
    }
    let mut followers = vec![BTreeSet::new(); names.len()];
    let mut leaders = vec![0_usize; names.len()];
    for pair in lists.iter().flat_map(|list| list.windows(2)) {
        let (leader, follower) = (numbers[&pair[0]], numbers[&pair[1]]);
        if leader != follower && followers[leader].insert(follower) {
            leaders[follower] += 1;
        }
    }
    let mut waiting: BTreeSet<usize> = (0..names.len()).collect();
    let mut ready: BTreeSet<usize> = waiting.iter().copied().filter(|&number| leaders[number] == 0).collect();
    let mut ordered = Vec::with_capacity(names.len());
    while let Some(next) = ready.pop_first().or_else(|| waiting.first().copied()) {
        waiting.remove(&next);
        ordered.push(names[next].clone());
        for &follower in &followers[next] {
            leaders[follower] -= 1;
            if leaders[follower] == 0 && waiting.contains(&follower) {
                ready.insert(follower);
            }
        }
    }
    ordered.pop_if(|last| Some(&*last) == source);
    ordered
}

/// Collects sources, and what is wrong with them.
#[derive(Default)]
struct Reader {
    sources: BTreeMap<Scope, Source>,
    problems: Vec<String>,
}

impl Reader {
    fn problem(&mut self, place: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{place}: {what}"));
    }

    /// A document, or an item of a List, which need not repeat its kind where the List is called after it.
    fn document(&mut self, document: &Value, place: &str, kind_of_list: Option<&str>, depth: usize) {
        let document = match document {
            Value::Null => return,
            Value::Mapping(document) => document,
            _ => {
                return self
                    .problem(place, "expected an object of Kubernetes, or a part of an install-config");
            }
        };
        let Some(name) = document.get("kind").and_then(Value::as_str).or(kind_of_list) else {
            return self.install_config(document, place);
        };
        let place = match document.get("metadata").and_then(|metadata| metadata.get("name")?.as_str()) {
            Some(own) => format!("{place} ({} {})", shown(name), shown(own)),
            None => format!("{place} ({})", shown(name)),
        };
        if let Some(list) = kind(name) {
            self.list(document, list, &place);
        } else if let Some(kind_of_items) = name.strip_suffix("List").filter(|_| depth < MAX_NESTING) {
            let kind_of_items = kind(kind_of_items).map(|_| kind_of_items);
            for (index, item) in self.items(document, &["items"], &place).iter().enumerate() {
                self.document(item, &format!("{place}: item {}", index + 1), kind_of_items, depth + 1);
            }
        } else {
            self.problem(
                &place,
                "expected ImageDigestMirrorSet, ImageTagMirrorSet, ImageContentSourcePolicy or a List of them",
            );
        }
    }

    fn install_config(&mut self, document: &Mapping, place: &str) {
        let given = INSTALL_CONFIG.map(|list| document.contains_key(list.path[0]).then_some(list));
        if given.iter().all(Option::is_none) {
            self.problem(place, "kind is missing");
        }
        for list in given.into_iter().flatten() {
            self.list(document, list, place);
        }
    }

    /// The items of a list somewhere in a document. An absent or empty list has none.
    fn items<'v>(&mut self, document: &'v Mapping, path: &[&str], place: &str) -> &'v [Value] {
        let (last, parents) = path.split_last().expect("every path has a member");
        let mut parent = Some(document);
        for member in parents {
            parent = match parent.and_then(|parent| parent.get(*member)) {
                None | Some(Value::Null) => None,
                Some(Value::Mapping(child)) => Some(child),
                Some(_) => {
                    self.problem(place, format_args!("{member} must be an object"));
                    None
                }
            };
        }
        match parent.and_then(|parent| parent.get(*last)) {
            None | Some(Value::Null) => &[],
            Some(Value::Sequence(items)) => items,
            Some(_) => {
                self.problem(place, format_args!("{} must be a list", path.join(".")));
                &[]
            }
        }
    }

    fn list(&mut self, document: &Mapping, list: List, place: &str) {
        for (index, entry) in self.items(document, list.path, place).iter().enumerate() {
            let place = format!("{place}: {}[{index}]", list.path.join("."));
            match entry {
                Value::Mapping(entry) => self.entry(entry, list, &place),
                _ => self.problem(&place, "expected an object with source and mirrors"),
            }
        }
    }

    /// Everything is read before the first problem ends the entry, so that all problems are found at once.
    fn entry(&mut self, entry: &Mapping, list: List, place: &str) {
        let text = entry.get("source").and_then(Value::as_str);
        if text.is_none() {
            self.problem(place, "source must be a string");
        }
        let source: Option<Scope> = text.and_then(|text| self.parsed(text, &format!("{place}: source")));
        if source.as_ref().is_some_and(Scope::is_pinned) {
            self.problem(place, "source: a source has neither tag nor digest");
        }
        let mut mirrors = Vec::new();
        for (index, mirror) in self.items(entry, &["mirrors"], place).iter().enumerate() {
            let place = format!("{place}: mirrors[{index}]");
            match mirror {
                Value::String(text) => mirrors.extend(self.parsed::<Location>(text, &place)),
                _ => self.problem(&place, "must be a string"),
            }
        }
        let blocked = list.policy.and_then(|member| self.policy(entry, member, place));
        let Some(scope) = source else { return };
        // A set without any mirror but the source itself means nothing to a cluster, whatever its policy.
        if mirrors.iter().all(|mirror| scope.location() == Some(mirror)) {
            return;
        }
        let source = self.sources.entry(scope).or_default();
        match list.pull {
            MirrorPull::TagOnly => source.by_tag.push(mirrors),
            MirrorPull::DigestOnly | MirrorPull::All => source.by_digest.push(mirrors),
        }
        // One ban among several sets counts.
        source.blocked = source.blocked.max(blocked);
    }

    fn parsed<T: std::str::FromStr<Err = InvalidScope>>(&mut self, text: &str, place: &str) -> Option<T> {
        text.parse().map_err(|error| self.problem(place, error)).ok()
    }

    /// Whether the source must not be asked, where that is said.
    fn policy(&mut self, entry: &Mapping, member: &str, place: &str) -> Option<bool> {
        match entry.get(member)? {
            Value::Null => None,
            Value::String(policy) if policy.is_empty() => None,
            Value::String(policy) if policy == "NeverContactSource" => Some(true),
            Value::String(policy) if policy == "AllowContactingSource" => Some(false),
            _ => {
                self.problem(
                    place,
                    format_args!("{member}: expected AllowContactingSource or NeverContactSource"),
                );
                None
            }
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}
