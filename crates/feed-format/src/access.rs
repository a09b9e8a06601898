use oci_registry::{Config, Mirrors, PullSecret, RegistriesConf};
use release_payload::mirror_sets;

use crate::{MIRRORS, PULL_SECRET, REGISTRIES_CONF, SecretText};

/// What a feed says of how registries are asked: all that it carries beside the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// registries.conf(5), version 2.
    pub registries_conf: Option<String>,
    /// YAML documents of mirror sets.
    pub mirrors: Option<String>,
    /// PEM certificates.
    pub trusted_ca: Option<String>,
    /// The pull secret, as JSON.
    pub pull_secret: Option<SecretText>,
}

impl Access {
    /// How registries are asked with this beside what is known anyway: its pull secret takes the place of the other; CAs
    /// are added, and so are mirrors, behind the others where both are about the same. Or everything that is wrong, each
    /// with its key; of a text that is wrong somewhere nothing is used.
    pub fn added_to(&self, mut config: Config) -> Result<Config, Vec<String>> {
        let mut problems = Vec::new();
        // The value itself is a secret and is not repeated.
        if let Some(text) = &self.pull_secret {
            match PullSecret::parse(text.expose()) {
                Ok(secret) => config.credentials = secret.into(),
                Err(error) => problems.push(format!("{PULL_SECRET}: {error}")),
            }
        }
        if let Some(pem) = self.trusted_ca.as_deref().filter(|pem| !pem.trim().is_empty()) {
            let bundle = config.trusted_ca_pem.get_or_insert_default();
            // A file need not end with a line feed.
            bundle.push(b'\n');
            bundle.extend_from_slice(pem.as_bytes());
        }
        match self.mirrors_behind(&config.mirrors) {
            Ok(mirrors) => config.mirrors = mirrors,
            Err(found) => problems.extend(found),
        }
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    fn mirrors_behind(&self, others: &Mirrors) -> Result<Mirrors, Vec<String>> {
        let mut problems = Vec::new();
        let conf = self.registries_conf.as_deref().map(|text| RegistriesConf::parse(REGISTRIES_CONF, text));
        let conf = conf.unwrap_or_else(|| Ok(RegistriesConf::default())).unwrap_or_else(|invalid| {
            problems.extend(invalid.problems);
            RegistriesConf::default()
        });
        let sets = self.mirrors.as_deref().map_or_else(|| Ok(Vec::new()), mirror_sets::parse);
        let sets = sets.unwrap_or_else(|invalid| {
            problems.extend(invalid.problems.into_iter().map(|problem| format!("{MIRRORS}: {problem}")));
            Vec::new()
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Mirrors::new(others.rules().iter().cloned().chain(conf.into_rules()).chain(sets)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_secret_takes_the_place_of_the_other() {
        let secret =
            |user: &str| format!(r#"{{"auths":{{"r.io":{{"username":"{user}","password":"secret"}}}}}}"#);
        let config = |text: Option<&str>, before: Config| {
            Access { pull_secret: text.map(SecretText::from), ..Access::default() }.added_to(before)
        };
        let has_entry = |config: &Config| {
            config.credentials.current().lookup(&"r.io/a:1".parse().unwrap()).unwrap().is_some()
        };
        assert!(!has_entry(&config(None, Config::default()).unwrap()));
        let with_entry = config(Some(&secret("a")), Config::default()).unwrap();
        assert!(has_entry(&with_entry));
        assert!(has_entry(&config(None, with_entry.clone()).unwrap()));
        assert!(!has_entry(&config(Some(r#"{"auths":{}}"#), with_entry).unwrap()));
        let problems = config(Some("secret"), Config::default()).unwrap_err();
        assert!(problems[0].starts_with(".dockerconfigjson: the pull secret is not JSON"), "{problems:?}");
    }

    #[test]
    fn cas_are_added() {
        let bundle = |pem: &str| {
            let config = Config { trusted_ca_pem: Some(b"one".to_vec()), ..Config::default() };
            let access = Access { trusted_ca: Some(pem.to_owned()), ..Access::default() };
            access.added_to(config).unwrap().trusted_ca_pem.unwrap()
        };
        assert_eq!(bundle("two"), b"one\ntwo");
        assert_eq!(bundle(" \n"), b"one");
    }

    #[test]
    fn mirrors_come_behind_the_others_and_those_of_registries_conf_first() {
        let conf = |mirror: &str| {
            format!("[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\nlocation = '{mirror}'\n")
        };
        let sets = "kind: ImageTagMirrorSet\napiVersion: config.openshift.io/v1\nmetadata: {name: x}\n\
                    spec: {imageTagMirrors: [{source: a.io, mirrors: [sets.lab]}]}\n";
        let others =
            Mirrors::new(RegistriesConf::parse("file", &conf("environment.lab")).unwrap().into_rules());
        let config = || Config { mirrors: others.clone(), ..Config::default() };
        let access = Access {
            registries_conf: Some(conf("feed.lab")),
            mirrors: Some(sets.to_owned()),
            ..Access::default()
        };
        let mirrors = access.added_to(config()).unwrap().mirrors;
        let sources = mirrors.pull_sources(&"a.io/x:1".parse().unwrap()).unwrap();
        let places: Vec<_> = sources.iter().map(|source| source.reference.to_string()).collect();
        assert_eq!(places, ["environment.lab/x:1", "feed.lab/x:1", "sets.lab/x:1", "a.io/x:1"]);

        let broken = Access {
            registries_conf: Some("[[registry]]".to_owned()),
            mirrors: Some("{".to_owned()),
            ..Access::default()
        };
        let problems = broken.added_to(config()).unwrap_err();
        assert!(
            problems[0].starts_with("registries.conf: ") && problems[1].starts_with("mirrors.yaml: "),
            "{problems:?}"
        );
    }
}
