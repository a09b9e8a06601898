mod document;
mod error;
mod key;
mod warning;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::{Credentials, EntryProblem, Reference};
use document::Document;

pub use error::{Mistake, PullSecretError};
pub use key::{Difference, KeyProblem, NearMiss};
pub use warning::{PullSecretWarning, Wrapping};

/// A pull secret: containers-auth.json(5), as found in `auth.json`, `config.json` and `.dockerconfigjson`.
///
/// It is read as people paste it: what stands around it (quotes, base64, a manifest of a Secret) is taken off where
/// there is no doubt, with a [`PullSecretWarning`]. One entry that cannot be used harms only its own registry: the
/// problem is kept and reported when that registry is asked for. Nothing secret can be printed: [`fmt::Debug`] shows
/// the entries' keys only. Cheap to clone; the default is empty, for registries that ask for nothing.
#[derive(Clone, Default)]
pub struct PullSecret(Arc<Contents>);

#[derive(Default)]
struct Contents {
    /// By keys in their normal form.
    entries: BTreeMap<String, Entry>,
    /// Keys that can never match, as they may be printed.
    unused: Vec<(String, KeyProblem)>,
    warnings: Vec<PullSecretWarning>,
}

type Entry = Result<Option<Credentials>, EntryProblem>;

/// The pull secret's entry for a registry cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pull secret entry {key:?} {problem}")]
pub struct UnusableEntry {
    /// The entry's key, a registry with or without part of a repository.
    pub key: String,
    /// What is wrong with it.
    pub problem: EntryProblem,
}

impl PullSecret {
    /// How many bytes the text may have.
    pub const MAX_SIZE: usize = 1 << 20;

    /// Reads a pull secret. Only what makes the whole text useless, or leaves in doubt what it means, is an error.
    pub fn parse(text: &str) -> Result<Self, PullSecretError> {
        if text.len() > Self::MAX_SIZE {
            return Err(PullSecretError::TooLong { limit: Self::MAX_SIZE });
        }
        let Document { auths, warnings } = Document::read(text)?;
        let mut contents = Contents { warnings, ..Contents::default() };
        // A key written as a URL yields to the same key written plainly, whichever comes first.
        let (urls, plain): (Vec<_>, Vec<_>) = auths.into_iter().partition(|(key, _)| key.contains("://"));
        for (key, value) in plain.into_iter().chain(urls) {
            contents.add(&key, value);
        }
        Ok(Self(Arc::new(contents)))
    }

    /// The credentials for an image, and the key of their entry: the longest one that is the image's repository, a
    /// leading part of it, or its registry. `None` if nothing matches or the entry that does is blank.
    pub fn lookup(&self, reference: &Reference) -> Result<Option<(&str, &Credentials)>, UnusableEntry> {
        let Some((key, entry)) = self.entry(reference) else { return Ok(None) };
        match entry {
            Ok(credentials) => Ok(credentials.as_ref().map(|credentials| (key.as_str(), credentials))),
            Err(problem) => Err(UnusableEntry { key: key.clone(), problem: *problem }),
        }
    }

    fn entry(&self, reference: &Reference) -> Option<(&String, &Entry)> {
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let mut prefixes = std::iter::successors(Some(name.as_str()), |name| Some(name.rsplit_once('/')?.0));
        prefixes.find_map(|prefix| self.0.entries.get_key_value(prefix))
    }

    /// The entry that was perhaps meant for an image that no entry is for.
    pub fn near_miss(&self, reference: &Reference) -> Option<NearMiss> {
        if self.entry(reference).is_some() {
            return None;
        }
        let entries = self.0.entries.keys().filter_map(|key| NearMiss::of_entry(key, reference));
        let unused = self.0.unused.iter();
        let unused = unused.filter_map(|(key, problem)| NearMiss::of_unused(key, *problem, reference));
        entries.chain(unused).min_by_key(NearMiss::rank)
    }

    /// The keys of all entries in the form they are looked up in, those of blank and unusable entries, too.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.entries.keys().map(String::as_str)
    }

    /// Every entry that cannot be used.
    pub fn unusable_entries(&self) -> impl Iterator<Item = UnusableEntry> {
        self.0.entries.iter().filter_map(|(key, entry)| {
            entry.as_ref().err().map(|problem| UnusableEntry { key: key.clone(), problem: *problem })
        })
    }

    /// Everything that its author should mend, entries that cannot be used included.
    pub fn warnings(&self) -> impl Iterator<Item = PullSecretWarning> {
        self.0.warnings.iter().cloned().chain(self.unusable_entries().map(PullSecretWarning::Unusable))
    }

    /// Whether both say the same of every registry.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let same = |one: &Entry, other: &Entry| match (one, other) {
            (Ok(Some(one)), Ok(Some(other))) => one.is_same_as(other),
            (Ok(None), Ok(None)) => true,
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        let (ours, theirs) = (&self.0.entries, &other.0.entries);
        ours.len() == theirs.len()
            && ours
                .iter()
                .zip(theirs)
                .all(|((ours, one), (theirs, other))| ours == theirs && same(one, other))
    }

    /// The same pull secret, in which entries that `old` has as well are those of `old`: they may hold tokens that
    /// were given in exchange meanwhile.
    pub(crate) fn keeping(&self, old: &Self) -> Self {
        let kept = self.0.entries.iter().map(|(key, entry)| {
            let entry = match (entry, old.0.entries.get(key)) {
                (Ok(Some(new)), Some(Ok(Some(old)))) if new.is_same_as(old) => Ok(Some(old.clone())),
                _ => entry.clone(),
            };
            (key.clone(), entry)
        });
        let (entries, unused, warnings) = (kept.collect(), self.0.unused.clone(), self.0.warnings.clone());
        Self(Arc::new(Contents { entries, unused, warnings }))
    }
}

#[cfg(test)]
impl PullSecret {
    /// Whether both are from one reading.
    pub(crate) fn is_identical_to(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Contents {
    fn add(&mut self, written: &str, value: Value) {
        let shown = key::shown(written);
        let (key, problem) = match key::normalised(written) {
            Ok(found) => found,
            Err(problem) => {
                self.unused.push((shown.clone(), problem));
                self.warnings.push(PullSecretWarning::Key { key: shown, problem });
                return;
            }
        };
        let problem = if self.entries.contains_key(&key) { Some(KeyProblem::Duplicate) } else { problem };
        self.warnings.extend(problem.map(|problem| PullSecretWarning::Key { key: shown, problem }));
        if problem == Some(KeyProblem::Duplicate) {
            return;
        }
        let entry = Credentials::read(value).map(|entry| {
            let odd =
                entry.oddities.iter().map(|&oddity| PullSecretWarning::Odd { key: key.clone(), oddity });
            self.warnings.extend(odd);
            entry.credentials
        });
        self.entries.insert(key, entry);
    }
}

impl From<UnusableEntry> for PullSecretWarning {
    fn from(entry: UnusableEntry) -> Self {
        Self::Unusable(entry)
    }
}

impl fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.entries.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
