//! What the environment and the feed ask for together.

use std::collections::BTreeSet;

use oci_registry::{Config, Mirrors, PullSecret, RegistriesConf};
use provision::os_images::{self, OsImage, Source};
use release_payload::mirror_sets;
use release_payload::release_images::{self, ReleaseImage};

use crate::documents::{Access, Documents, MIRRORS, OS_IMAGES, PULL_SECRET, REGISTRIES_CONF, RELEASE_IMAGES};

/// What the environment says, for good.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `OS_IMAGES`.
    pub os_images: Vec<OsImage>,
    /// `RELEASE_IMAGES`. Nothing is done about them as long as there is no pull secret.
    pub releases: Vec<ReleaseImage>,
    /// How registries are asked. Its credentials are those of the pull secret, if there is one.
    pub registry: Config,
    /// Whether there is a pull secret, be it an empty one.
    pub has_pull_secret: bool,
}

/// All that is asked for.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) os_images: Vec<OsImage>,
    pub(crate) releases: Vec<ReleaseImage>,
    /// How many of these entries the environment has.
    pub(crate) of_environment: usize,
    /// How many are left alone because there is no pull secret.
    pub(crate) without_pull_secret: usize,
}

impl List {
    pub(crate) fn of_feed(&self) -> usize {
        self.os_images.len() + self.releases.len() - self.of_environment
    }
}

/// Brings what the feed asks for together with the environment, or says everything that is wrong with it.
///
/// Of a release that both have the feed's entry counts. Images by URL of the environment go before the feed's. Releases
/// count only if there is a pull secret, so that lists which were meant for another program start nothing. Once there was
/// one, a list without it is never asked for here.
pub(crate) fn list(
    environment: &Environment,
    feed: &Documents,
    has_pull_secret: bool,
) -> Result<List, Vec<String>> {
    let mut problems = Vec::new();
    let releases = feed.release_images.as_deref().map_or(Ok(Vec::new()), release_images::parse);
    let releases = releases.unwrap_or_else(|error| {
        problems.extend(error.problems.into_iter().map(|problem| format!("{RELEASE_IMAGES}: {problem}")));
        Vec::new()
    });
    let os_images = feed.os_images.as_deref().filter(|json| !is_empty_list(json));
    let os_images = os_images.map_or(Ok(Vec::new()), os_images::parse).unwrap_or_else(|error| {
        problems.extend(error.problems.into_iter().map(|problem| format!("{OS_IMAGES}: {problem}")));
        Vec::new()
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let of_feed: BTreeSet<_> = releases.iter().map(ReleaseImage::identity).collect();
    let mut all_releases = environment.releases.clone();
    all_releases.retain(|release| !of_feed.contains(&release.identity()));
    let mut all_os_images = environment.os_images.clone();
    let mut of_environment = all_releases.len() + all_os_images.len();
    all_releases.extend(releases);
    all_os_images.extend(os_images.into_iter().filter(|image| !environment.os_images.contains(image)));
    let mut without_pull_secret = 0;
    if !has_pull_secret {
        let is_release = |image: &OsImage| matches!(image.source, Source::Release(_));
        let before = all_releases.len() + all_os_images.len();
        all_releases.clear();
        all_os_images.retain(|image| !is_release(image));
        without_pull_secret = before - all_os_images.len();
        of_environment = environment.os_images.iter().filter(|image| !is_release(image)).count();
    }
    Ok(List { os_images: all_os_images, releases: all_releases, of_environment, without_pull_secret })
}

/// An operator may take the last image away, while an empty setting is a mistake.
fn is_empty_list(json: &str) -> bool {
    json.split_ascii_whitespace().collect::<String>() == "[]"
}

/// How registries are asked, as the environment and the feed say. The pull secret of the feed takes the place of the
/// environment's; CAs and mirrors are added to it.
pub(crate) fn registry(environment: &Environment, feed: &Access) -> Result<Config, Vec<String>> {
    let mut config = environment.registry.clone();
    let mut problems = Vec::new();
    // The value itself is a secret and is not repeated.
    if let Some(text) = &feed.pull_secret {
        match PullSecret::parse(text.expose()) {
            Ok(secret) => config.credentials = secret.into(),
            Err(error) => problems.push(format!("{PULL_SECRET}: {error}")),
        }
    }
    if let Some(pem) = feed.trusted_ca.as_deref().filter(|pem| !pem.trim().is_empty()) {
        let bundle = config.trusted_ca_pem.get_or_insert_default();
        // A file need not end with a line feed.
        bundle.push(b'\n');
        bundle.extend_from_slice(pem.as_bytes());
    }
    match mirrors(&config.mirrors, feed) {
        Ok(mirrors) => config.mirrors = mirrors,
        Err(found) => problems.extend(found),
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// The environment's mirrors and, behind them where both are about the same, those of the feed.
fn mirrors(environment: &Mirrors, feed: &Access) -> Result<Mirrors, Vec<String>> {
    let mut problems = Vec::new();
    let conf = feed.registries_conf.as_deref().map(|text| RegistriesConf::parse(REGISTRIES_CONF, text));
    let conf = conf.unwrap_or_else(|| Ok(RegistriesConf::default())).unwrap_or_else(|invalid| {
        problems.extend(invalid.problems);
        RegistriesConf::default()
    });
    let sets = feed.mirrors.as_deref().map_or_else(|| Ok(Vec::new()), mirror_sets::parse);
    let sets = sets.unwrap_or_else(|invalid| {
        problems.extend(invalid.problems.into_iter().map(|problem| format!("{MIRRORS}: {problem}")));
        Vec::new()
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Mirrors::new(environment.rules().iter().cloned().chain(conf.into_rules()).chain(sets)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::SecretText;

    const OS_IMAGE: &str =
        r#"{"openshift_version":"4.18","cpu_architecture":"x86_64","version":"1","url":"URL"}"#;

    fn release(version: &str, url: &str) -> String {
        format!(
            r#"{{"openshift_version":"{version}","cpu_architecture":"x86_64","version":"4.18.1","url":"{url}"}}"#
        )
    }

    fn environment(releases: &[String], urls: &[&str]) -> Environment {
        let os_images: Vec<_> = urls.iter().map(|url| OS_IMAGE.replace("URL", url)).collect();
        let os_images = if urls.is_empty() { Ok(Vec::new()) } else { os_images::parse(&array(&os_images)) };
        Environment {
            os_images: os_images.unwrap(),
            releases: release_images::parse(&array(releases)).unwrap(),
            registry: Config::default(),
            has_pull_secret: true,
        }
    }

    fn array(entries: &[String]) -> String {
        format!("[{}]", entries.join(","))
    }

    fn feed(releases: &[String], urls: &[&str]) -> Documents {
        let os_images: Vec<_> = urls.iter().map(|url| OS_IMAGE.replace("URL", url)).collect();
        Documents {
            release_images: Some(array(releases)),
            os_images: Some(array(&os_images)),
            access: Access::default(),
        }
    }

    #[test]
    fn both_count_and_of_the_same_release_the_feeds_entry() {
        let environment =
            environment(&[release("4.18", "r.io/a:1"), release("4.17", "r.io/b:1")], &["http://e/1"]);
        let feed = feed(
            &[release("4.18.1", "r.io/a:1"), release("4.16", "r.io/c:1")],
            &["http://f/1", "http://e/1"],
        );
        let list = list(&environment, &feed, true).unwrap();
        let releases: Vec<_> = list
            .releases
            .iter()
            .map(|release| format!("{} {}", release.pullspec, release.openshift_version))
            .collect();
        assert_eq!(releases, ["r.io/b:1 4.17", "r.io/a:1 4.18.1", "r.io/c:1 4.16"]);
        let urls: Vec<_> = list.os_images.iter().map(|image| image.source.to_string()).collect();
        assert_eq!(urls, ["http://e/1", "http://f/1"]);
        assert_eq!((list.of_environment, list.of_feed(), list.without_pull_secret), (2, 3, 0));
    }

    #[test]
    fn without_a_pull_secret_nothing_is_asked_of_registries() {
        let environment =
            environment(&[release("4.18", "r.io/a:1")], &["http://e/1", "release-image://r.io/x:1"]);
        let feed = feed(&[release("4.16", "r.io/c:1")], &["release-image://r.io/y:1", "http://f/1"]);
        let list = list(&environment, &feed, false).unwrap();
        assert!(list.releases.is_empty());
        let urls: Vec<_> = list.os_images.iter().map(|image| image.source.to_string()).collect();
        assert_eq!(urls, ["http://e/1", "http://f/1"]);
        assert_eq!((list.of_environment, list.of_feed(), list.without_pull_secret), (1, 1, 4));
    }

    #[test]
    fn every_problem_of_a_feed_is_named() {
        let feed = Documents {
            release_images: Some(String::new()),
            os_images: Some("[{}]".to_owned()),
            access: Access::default(),
        };
        let problems = list(&environment(&[], &[]), &feed, true).unwrap_err();
        assert!(problems[0].starts_with("release-images.json: not JSON: "), "{problems:?}");
        assert!(
            problems[1..].iter().all(|problem| problem.starts_with("os-images.json: entry 0: ")),
            "{problems:?}"
        );
        let none = Documents { os_images: Some(" [\n] ".to_owned()), ..Documents::default() };
        assert!(list(&environment(&[], &[]), &none, true).unwrap().os_images.is_empty());
    }

    #[test]
    fn the_feeds_pull_secret_goes_before_the_environments() {
        let secret =
            |user: &str| format!(r#"{{"auths":{{"r.io":{{"username":"{user}","password":"secret"}}}}}}"#);
        let environment = environment(&[], &[]);
        let access = |text: Option<&str>| Access {
            pull_secret: text.map(|text| SecretText::new(text.to_owned())),
            ..Access::default()
        };
        let has_entry = |config: Config| {
            config.credentials.current().lookup(&"r.io/a:1".parse().unwrap()).unwrap().is_some()
        };
        assert!(!has_entry(registry(&environment, &access(None)).unwrap()));
        let none = r#"{"auths":{}}"#;
        assert!(!has_entry(registry(&environment, &access(Some(none))).unwrap()));
        assert!(has_entry(registry(&environment, &access(Some(&secret("a")))).unwrap()));
        let problems = registry(&environment, &access(Some("secret"))).unwrap_err();
        assert!(problems[0].starts_with(".dockerconfigjson: the pull secret is not JSON"), "{problems:?}");
    }

    #[test]
    fn cas_are_added_to_the_environments() {
        let mut environment = environment(&[], &[]);
        environment.registry.trusted_ca_pem = Some(b"one".to_vec());
        let access = |pem: &str| Access { trusted_ca: Some(pem.to_owned()), ..Access::default() };
        let bundle = |pem| registry(&environment, &access(pem)).unwrap().trusted_ca_pem.unwrap();
        assert_eq!(bundle("two"), b"one\ntwo");
        assert_eq!(bundle(" \n"), b"one");
    }

    #[test]
    fn mirrors_of_the_feed_come_behind_the_environments() {
        let conf = |mirror: &str| {
            format!("[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\nlocation = '{mirror}'\n")
        };
        let sets = "kind: ImageTagMirrorSet\napiVersion: config.openshift.io/v1\nmetadata: {name: x}\n\
                    spec: {imageTagMirrors: [{source: a.io, mirrors: [sets.lab]}]}\n";
        let mut environment = environment(&[], &[]);
        environment.registry.mirrors =
            Mirrors::new(RegistriesConf::parse("file", &conf("environment.lab")).unwrap().into_rules());
        let feed = Access {
            registries_conf: Some(conf("feed.lab")),
            mirrors: Some(sets.to_owned()),
            ..Access::default()
        };
        let config = registry(&environment, &feed).unwrap();
        let sources = config.mirrors.pull_sources(&"a.io/x:1".parse().unwrap()).unwrap();
        let places: Vec<_> = sources.iter().map(|source| source.reference.to_string()).collect();
        assert_eq!(places, ["environment.lab/x:1", "feed.lab/x:1", "sets.lab/x:1", "a.io/x:1"]);

        let broken = Access {
            registries_conf: Some("[[registry]]".to_owned()),
            mirrors: Some("{".to_owned()),
            ..Access::default()
        };
        let problems = registry(&environment, &broken).unwrap_err();
        assert!(
            problems[0].starts_with("registries.conf: ") && problems[1].starts_with("mirrors.yaml: "),
            "{problems:?}"
        );
    }
}
