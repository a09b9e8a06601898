//! What the environment and the feed ask for together.

use std::collections::BTreeSet;

use feed_format::{Documents, OS_IMAGES, RELEASE_IMAGES};
use oci_registry::Config;
use provision::os_images::{self, OsImage, Source};
use release_payload::release_images::{self, ReleaseImage};

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

#[cfg(test)]
mod tests {
    use feed_format::Access;

    use super::*;

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
}
