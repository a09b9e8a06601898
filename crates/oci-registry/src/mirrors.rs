//! Where else the images of a registry lie.
//!
//! [`Mirrors`] is a set of rules, from a [`RegistriesConf`] or from elsewhere, and answers in which places an image is
//! to be asked for. A place is only a hint: what is fetched there is verified like anything else.
//!
//! The rules are those of containers-registries.conf(5). The rule with the longest matching scope decides, and it
//! alone: its mirrors are asked in order, and then the place itself, unless it is blocked. No place that is blocked
//! under its own name is asked on behalf of another.

mod registries_conf;
mod rule;
mod scope;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use crate::Reference;

pub use registries_conf::{InvalidRegistriesConf, RegistriesConf};
pub use rule::{Mirror, MirrorPull, MirrorRule};
pub use scope::{InvalidScope, Location, Scope};

/// What the admin says of mirrors. The default knows none.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    /// The most specific scope first, each only once.
    rules: Vec<MirrorRule>,
}

/// One place to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSource {
    /// The image's name there, with the tag and digest that were asked for.
    pub reference: Reference,
    /// Whether the admin lets this place go without verified TLS, or without TLS.
    pub insecure: bool,
}

/// The admin forbids to pull an image from anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reference} must not be pulled: {rule:?} is blocked, and no mirror is left to ask")]
pub struct Blocked {
    /// What was asked for.
    pub reference: Reference,
    /// The scope of the rule that says so.
    pub rule: String,
}

impl Mirrors {
    /// Brings rules together. Rules for one scope are merged: the mirrors of the earlier one go first, and a ban in any
    /// of them counts.
    pub fn new(rules: impl IntoIterator<Item = MirrorRule>) -> Self {
        let mut merged: BTreeMap<Scope, MirrorRule> = BTreeMap::new();
        for rule in rules {
            match merged.get_mut(&rule.scope) {
                Some(earlier) => earlier.merge(rule),
                None => drop(merged.insert(rule.scope.clone(), rule)),
            }
        }
        let mut rules: Vec<_> = merged.into_values().collect();
        rules.sort_by_cached_key(|rule| Reverse(rule.scope.specificity()));
        Self { rules }
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The places to ask for an image, the first one first, never none.
    pub fn pull_sources(&self, reference: &Reference) -> Result<Vec<PullSource>, Blocked> {
        let found = self.rules.iter().find_map(|rule| Some((rule, rule.scope.remainder(reference)?)));
        let Some((rule, remainder)) = found else {
            return Ok(vec![PullSource { reference: reference.clone(), insecure: false }]);
        };
        let at = |location: &Location| match location.relocated(reference, remainder) {
            Ok(there) => Some(there),
            Err(error) => {
                tracing::warn!(image = %reference, rule = %rule.scope, %location, %error, "mirror rule skipped");
                None
            }
        };
        let by_digest = reference.digest().is_some();
        let mirrors = rule.mirrors.iter().filter(|mirror| mirror.pull.applies(by_digest));
        let mirrors = mirrors.filter_map(|mirror| Some((at(&mirror.location)?, mirror.insecure)));
        let primary = match &rule.location {
            _ if rule.blocked == Some(true) => None,
            Some(location) => at(location),
            None => Some(reference.clone()),
        };
        let mut seen = HashSet::new();
        let sources: Vec<_> = mirrors
            .chain(primary.map(|primary| (primary, rule.insecure)))
            .filter(|(place, _)| self.ban(place).is_none() && seen.insert(place.clone()))
            .map(|(reference, insecure)| PullSource {
                insecure: insecure.unwrap_or_else(|| self.is_insecure(&reference)),
                reference,
            })
            .collect();
        if sources.is_empty() {
            let rule = self.ban(reference).unwrap_or(rule);
            return Err(Blocked { reference: reference.clone(), rule: rule.scope.to_string() });
        }
        Ok(sources)
    }

    /// The place that an image's name says, mirrored, blocked or not.
    pub(crate) fn source_itself(&self, reference: &Reference) -> PullSource {
        PullSource { reference: reference.clone(), insecure: self.is_insecure(reference) }
    }

    /// The rules about an image, the most specific one first.
    fn matching(&self, reference: &Reference) -> impl Iterator<Item = &MirrorRule> {
        self.rules.iter().filter(|rule| rule.scope.remainder(reference).is_some())
    }

    fn is_insecure(&self, place: &Reference) -> bool {
        self.matching(place).find_map(|rule| rule.insecure).unwrap_or(false)
    }

    /// The rule by which a place must not be asked under its own name.
    fn ban(&self, place: &Reference) -> Option<&MirrorRule> {
        self.matching(place).find(|rule| rule.blocked.is_some()).filter(|rule| rule.blocked == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::{Mirror, MirrorPull, MirrorRule, Mirrors, RegistriesConf};
    use crate::{Digest, Reference};

    fn mirror(location: &str, pull: MirrorPull) -> Mirror {
        Mirror { location: location.parse().unwrap(), pull, insecure: None }
    }

    fn conf(text: &str) -> impl Iterator<Item = MirrorRule> {
        RegistriesConf::parse("x.conf", text).unwrap().into_rules()
    }

    fn places(mirrors: &Mirrors, image: &str) -> Vec<(String, bool)> {
        let sources = mirrors.pull_sources(&image.parse().unwrap()).unwrap();
        sources.into_iter().map(|source| (source.reference.to_string(), source.insecure)).collect()
    }

    #[test]
    fn rules_of_one_scope_are_merged_and_others_are_not() {
        let text = "[[registry]]\nlocation = 'quay.lab/a'\ninsecure = true\n\
             [[registry.mirror]]\nlocation = 'first.lab'\n[[registry.mirror]]\nlocation = 'both.lab'\n\
             [[registry]]\nlocation = 'second.lab'\ninsecure = true\n";
        let mut set = MirrorRule::new("quay.lab/a".parse().unwrap());
        set.mirrors = vec![mirror("both.lab", MirrorPull::DigestOnly), mirror("second.lab", MirrorPull::All)];
        let mut wider = MirrorRule::new("quay.lab".parse().unwrap());
        wider.mirrors = vec![mirror("wider.lab", MirrorPull::All)];
        let mirrors = Mirrors::new(conf(text).chain([set, wider]));

        let digest = Digest::of(b"image");
        let expected =
            [("first.lab", false), ("both.lab", false), ("second.lab", true), ("quay.lab/a", true)]
                .map(|(place, insecure)| (format!("{place}/x@{digest}"), insecure));
        assert_eq!(places(&mirrors, &format!("quay.lab/a/x@{digest}")), expected);
        let wider = [("wider.lab/b:1".to_owned(), false), ("quay.lab/b:1".to_owned(), false)];
        assert_eq!(places(&mirrors, "quay.lab/b:1"), wider);
    }

    #[test]
    fn a_rule_that_says_nothing_of_trust_follows_the_next_wider_one() {
        let text = "[[registry]]\nlocation = 'plain.lab'\ninsecure = true\n\
             [[registry]]\nlocation = 'closed.lab'\nblocked = true\n";
        let rule = |scope: &str, blocked| MirrorRule {
            mirrors: vec![mirror("m.lab", MirrorPull::DigestOnly)],
            blocked,
            ..MirrorRule::new(scope.parse().unwrap())
        };
        let mirrors = Mirrors::new(conf(text).chain([
            rule("plain.lab/a", None),
            rule("closed.lab/a", None),
            rule("closed.lab/b", Some(false)),
        ]));
        assert_eq!(places(&mirrors, "plain.lab/a/x:1"), [("plain.lab/a/x:1".to_owned(), true)]);
        let blocked = mirrors.pull_sources(&"closed.lab/a/x:1".parse().unwrap()).unwrap_err();
        assert_eq!(blocked.rule, "closed.lab");
        assert_eq!(places(&mirrors, "closed.lab/b/x:1"), [("closed.lab/b/x:1".to_owned(), false)]);
    }

    fn place() -> impl Strategy<Value = String> {
        "(([ab]\\.)?[ab]\\.lab|\\*\\.[ab]\\.lab|\\*\\.lab|\\[::1\\])(:[12])?(/[ab]{1,2}){0,3}(:t)?"
    }

    prop_compose! {
        fn table()(
            prefix in prop::option::of(place()),
            location in prop::option::of(place()),
            insecure in any::<bool>(),
            blocked in prop::bool::weighted(0.2),
            digest_only in prop::bool::weighted(0.2),
            mirrors in prop::collection::vec((place(), any::<bool>(), "(all|digest-only|tag-only)?"), 0..4),
        ) -> String {
            let line = |key: &str, value: Option<String>| value.map(|value| format!("{key} = '{value}'\n")).unwrap_or_default();
            let mut text = format!(
                "[[registry]]\n{}{}insecure = {insecure}\nblocked = {blocked}\nmirror-by-digest-only = {digest_only}\n",
                line("prefix", prefix), line("location", location)
            );
            for (location, insecure, pull) in mirrors {
                let pull = if digest_only { "" } else { &pull };
                text.push_str(&line("[[registry.mirror]]\nlocation", Some(location)));
                text.push_str(&line("pull-from-mirror", Some(pull.to_owned())));
                text.push_str(if insecure { "insecure = true\n" } else { "" });
            }
            text
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = RegistriesConf::parse("x.conf", &text);
        }

        #[test]
        fn there_is_a_place_unless_a_rule_blocks(
            tables in prop::collection::vec(table(), 1..4),
            image in "([ab]\\.)?[ab]\\.lab(:[12])?(/[ab]{1,2}){1,3}(:t)?(@sha256:0{64})?",
        ) {
            // Each table alone, too: a problem in one keeps no other from being tried.
            let rules = tables.iter().filter_map(|table| RegistriesConf::parse("x.conf", table).ok());
            let mirrors = Mirrors::new(rules.flat_map(RegistriesConf::into_rules));
            let image: Reference = image.parse().unwrap();
            match mirrors.pull_sources(&image) {
                Ok(sources) => {
                    prop_assert!(!sources.is_empty());
                    let mut seen = HashSet::new();
                    for source in &sources {
                        prop_assert_eq!(source.reference.tag(), image.tag());
                        prop_assert_eq!(source.reference.digest(), image.digest());
                        prop_assert_eq!(source.reference.to_string().parse(), Ok(source.reference.clone()));
                        prop_assert!(mirrors.ban(&source.reference).is_none());
                        prop_assert!(seen.insert(source.reference.clone()));
                    }
                }
                Err(blocked) => prop_assert_eq!(blocked.reference, image),
            }
        }
    }
}
