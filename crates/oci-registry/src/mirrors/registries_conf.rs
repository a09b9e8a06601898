//! registries.conf, version 2. Reads text only; the caller knows where the file and its drop-ins are.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use toml::{Table, Value};

use super::{Location, Mirror, MirrorPull, MirrorRule, Scope};

/// The `[[registry]]` tables of a registries.conf (containers-registries.conf(5), version 2).
///
/// What is not about mirrors is ignored: this program knows no short names and asks no credential helpers.
#[derive(Clone, Debug, Default)]
pub struct RegistriesConf {
    rules: BTreeMap<Scope, MirrorRule>,
    warnings: Vec<String>,
}

/// A registries.conf cannot be used. Every problem in it is named.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct InvalidRegistriesConf {
    /// What is wrong, one sentence each, naming file, table and key.
    pub problems: Vec<String>,
}

impl RegistriesConf {
    /// The largest file that is read, in bytes.
    pub const MAX_SIZE: usize = 1 << 20;

    /// Reads a file that is called `file` wherever something is said of it.
    pub fn parse(file: &str, text: &str) -> Result<Self, InvalidRegistriesConf> {
        let unusable = |what: &str| InvalidRegistriesConf { problems: vec![format!("{file}: {what}")] };
        if text.len() > Self::MAX_SIZE {
            return Err(unusable(&format!("larger than {} bytes", Self::MAX_SIZE)));
        }
        let text = text.trim_start_matches('\u{feff}');
        let document: Table = toml::from_str(text)
            .map_err(|error| unusable(&format!("not TOML: {}", located(&error, text))))?;
        let mut reader =
            Reader { file, problems: Vec::new(), warnings: Vec::new(), security: BTreeMap::new() };
        reader.refuse_version_1(&document);
        let mut rules = BTreeMap::new();
        for (index, table) in reader.tables(&document, "registry", "").into_iter().enumerate() {
            let place = place(index + 1, table);
            let Some(rule) = reader.rule(table, &place) else { continue };
            match rules.entry(rule.scope.clone()) {
                Entry::Vacant(entry) => drop(entry.insert(rule)),
                Entry::Occupied(_) => reader.warnings.push(format!(
                    "{file}: {place}: an earlier table has the same prefix, and only that one counts"
                )),
            }
        }
        if reader.problems.is_empty() {
            Ok(Self { rules, warnings: reader.warnings })
        } else {
            Err(InvalidRegistriesConf { problems: reader.problems })
        }
    }

    /// Adds a drop-in. Its tables replace earlier ones with the same prefix as a whole.
    pub fn override_by(&mut self, drop_in: Self) {
        self.rules.extend(drop_in.rules);
        self.warnings.extend(drop_in.warnings);
    }

    /// What is odd, but does not keep the file from being used, such as keys that nobody knows.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What it says of mirrors.
    pub fn into_rules(self) -> impl Iterator<Item = MirrorRule> {
        self.rules.into_values()
    }
}

/// The parser's message without the excerpt it likes to draw.
fn located(error: &toml::de::Error, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
    format!("{}{}", line.unwrap_or_default(), error.message())
}

/// What a table is called, by its number and its name. A name that is none may hold a password.
fn place(number: usize, table: &Table) -> String {
    let name = ["prefix", "location"].into_iter().find_map(|key| table.get(key)?.as_str());
    match name.and_then(|name| name.parse::<Scope>().ok()) {
        Some(name) => format!("[[registry]] {number} ({name})"),
        None => format!("[[registry]] {number}"),
    }
}

/// The last one belongs into a mirror, which is a problem of its own.
const REGISTRY_KEYS: [&str; 7] =
    ["prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "mirror", "pull-from-mirror"];
const MIRROR_KEYS: [&str; 3] = ["location", "insecure", "pull-from-mirror"];

/// Collects what is wrong with a file while it is read.
struct Reader<'a> {
    file: &'a str,
    problems: Vec<String>,
    warnings: Vec<String>,
    /// What earlier tables say of a location: whether it is insecure, and whether it is blocked.
    security: BTreeMap<String, (bool, bool)>,
}

impl Reader<'_> {
    fn problem(&mut self, place: &str, what: impl std::fmt::Display) {
        let separator = if place.is_empty() { "" } else { ": " };
        self.problems.push(format!("{}: {place}{separator}{what}", self.file));
    }

    /// A file of version 1 is known by lists that are not empty; many old files still have empty ones.
    fn refuse_version_1(&mut self, document: &Table) {
        let filled = |table: &Value| {
            let list = table.get("registries").and_then(Value::as_array);
            list.is_some_and(|list| !list.is_empty())
        };
        let old = document.get("registries").and_then(Value::as_table);
        let found = ["search", "insecure", "block"]
            .into_iter()
            .find(|name| old.and_then(|old| old.get(*name)).is_some_and(filled));
        if let Some(name) = found {
            self.problem(
                "",
                format_args!(
                    "[registries.{name}] is of version 1 of the format, which knows no mirrors and is not read: \
                     write [[registry]] tables"
                ),
            );
        }
    }

    /// The tables of an array.
    fn tables<'t>(&mut self, parent: &'t Table, key: &str, place: &str) -> Vec<&'t Table> {
        let tables = match parent.get(key) {
            None => Some(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(Value::as_table).collect(),
            Some(_) => None,
        };
        tables.unwrap_or_else(|| {
            self.problem(place, format_args!("{key} is no array of tables: write [[{key}]]"));
            Vec::new()
        })
    }

    /// A string; an empty one counts as absent.
    fn text<'t>(&mut self, table: &'t Table, key: &str, place: &str) -> Option<&'t str> {
        let text = table.get(key)?.as_str();
        if text.is_none() {
            self.problem(place, format_args!("{key} must be a string"));
        }
        text.filter(|text| !text.is_empty())
    }

    fn flag(&mut self, table: &Table, key: &str, place: &str) -> bool {
        match table.get(key) {
            None => false,
            Some(Value::Boolean(flag)) => *flag,
            Some(_) => {
                self.problem(place, format_args!("{key} must be true or false"));
                false
            }
        }
    }

    fn scope(&mut self, text: &str, key: &str, place: &str) -> Option<Scope> {
        text.parse().map_err(|error| self.problem(place, format_args!("{key}: {error}"))).ok()
    }

    /// Where the images of a scope are. It may repeat the scope's tag and digest, but not change them.
    fn location(&mut self, text: &str, scope: Option<&Scope>, place: &str) -> Option<Location> {
        let location = self.scope(text, "location", place)?;
        if location.is_wildcard() {
            self.problem(place, format_args!("location: {location} is no place"));
        } else if location.is_pinned() && scope.is_some_and(|scope| !scope.pins_like(&location)) {
            self.problem(place, format_args!("location: {location} changes the tag or digest of its prefix"));
        }
        location.location().cloned()
    }

    fn unknown_keys(&mut self, table: &Table, known: &[&str], place: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.warnings.push(format!("{}: {place}: nobody knows the key {key:?}", self.file));
        }
    }

    /// Every key is read before the first problem ends the table, so that all problems are found at once.
    fn rule(&mut self, table: &Table, place: &str) -> Option<MirrorRule> {
        self.unknown_keys(table, &REGISTRY_KEYS, place);
        let before = self.problems.len();
        let prefix = self.text(table, "prefix", place);
        let location = self.text(table, "location", place);
        if table.contains_key("pull-from-mirror") {
            self.problem(place, "pull-from-mirror belongs into a [[registry.mirror]]");
        }
        let scope = match (prefix, location) {
            (Some(prefix), _) => self.scope(prefix, "prefix", place),
            (None, Some(location)) => self.scope(location, "location", place),
            (None, None) => {
                self.problem(place, "neither prefix nor location is given");
                None
            }
        };
        let needs_location = scope.as_ref().is_some_and(|scope| !scope.is_wildcard());
        if location.is_none() && needs_location && self.problems.len() == before {
            self.problem(place, "location is missing; only a prefix such as *.example.com needs none");
        }
        // A location that is the prefix as well was judged above.
        let judged = prefix.is_none() && scope.is_none();
        let location = location.filter(|_| !judged);
        let location = location.and_then(|location| self.location(location, scope.as_ref(), place));
        let insecure = self.flag(table, "insecure", place);
        let blocked = self.flag(table, "blocked", place);
        let digest_only = self.flag(table, "mirror-by-digest-only", place);
        let mirrors = self.mirrors(table, scope.as_ref(), digest_only, place);
        let scope = scope?;
        self.conflicts(location.as_ref(), &scope, (insecure, blocked), place);
        Some(MirrorRule { scope, location, mirrors, insecure: Some(insecure), blocked: Some(blocked) })
    }

    fn mirrors(
        &mut self,
        table: &Table,
        scope: Option<&Scope>,
        digest_only: bool,
        place: &str,
    ) -> Vec<Mirror> {
        let tables = self.tables(table, "mirror", place);
        if tables.len() > MirrorRule::MAX_MIRRORS {
            let most = MirrorRule::MAX_MIRRORS;
            self.problem(place, format_args!("{} mirrors, but at most {most} are asked", tables.len()));
            return Vec::new();
        }
        let mirrors = tables.into_iter().enumerate();
        mirrors
            .filter_map(|(index, table)| {
                self.mirror(table, scope, digest_only, &format!("{place}: mirror {}", index + 1))
            })
            .collect()
    }

    fn mirror(
        &mut self,
        table: &Table,
        scope: Option<&Scope>,
        digest_only: bool,
        place: &str,
    ) -> Option<Mirror> {
        self.unknown_keys(table, &MIRROR_KEYS, place);
        let before = self.problems.len();
        let pull = self.text(table, "pull-from-mirror", place);
        if digest_only && pull.is_some() {
            self.problem(
                place,
                "pull-from-mirror is given beside mirror-by-digest-only: one of them is enough",
            );
        }
        let pull = match pull {
            None if digest_only => MirrorPull::DigestOnly,
            None | Some("all") => MirrorPull::All,
            Some("digest-only") => MirrorPull::DigestOnly,
            Some("tag-only") => MirrorPull::TagOnly,
            Some(other) => {
                let other: String = other.chars().take(100).collect();
                self.problem(
                    place,
                    format_args!("pull-from-mirror: expected all, digest-only or tag-only, not {other:?}"),
                );
                MirrorPull::All
            }
        };
        let insecure = Some(self.flag(table, "insecure", place));
        let text = self.text(table, "location", place);
        if text.is_none() && self.problems.len() == before {
            self.problem(place, "location is missing");
        }
        let location = self.location(text?, scope, place)?;
        Some(Mirror { location, pull, insecure })
    }

    /// A place that several tables are about has to be equally trusted in all of them.
    fn conflicts(
        &mut self,
        location: Option<&Location>,
        scope: &Scope,
        (insecure, blocked): (bool, bool),
        place: &str,
    ) {
        let location = location.map_or_else(|| scope.to_string(), ToString::to_string);
        let (other_insecure, other_blocked) =
            *self.security.entry(location.clone()).or_insert((insecure, blocked));
        for (key, conflicting) in
            [("insecure", insecure != other_insecure), ("blocked", blocked != other_blocked)]
        {
            if conflicting {
                let what =
                    format!("{key} differs from what another table says of the same location, {location}");
                self.problem(place, what);
            }
        }
    }
}
