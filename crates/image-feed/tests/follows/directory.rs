//! A directory of files.

use std::fs;
use std::path::Path;

use image_feed::Source;
use tempfile::TempDir;

use crate::site::{PULL_SECRET, Site, releases};

fn write(directory: &Path, name: &str, text: &str) {
    // As those do who want nobody to read half of it.
    let new = directory.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, directory.join(name)).unwrap();
}

#[tokio::test]
async fn what_is_there_at_the_start_is_in_the_first_list() {
    let directory = TempDir::new().unwrap();
    write(directory.path(), "release-images.json", &releases(&["r.io/a:1"]));
    write(directory.path(), ".dockerconfigjson", PULL_SECRET);
    let site = Site::start(Source::Directory(directory.path().to_owned()), None);
    assert!(site.list().is_complete);
    assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"]);
    let list = site.catalog.list();
    assert_eq!((list.of_environment, list.of_feed, list.problem), (1, 1, None));
    assert_eq!(site.catalog.statistics().applied_lists(), 0, "it is no other list");
}

#[tokio::test]
async fn files_are_followed_and_broken_ones_keep_the_list() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let site = Site::start(Source::Directory(path.to_owned()), None);
    assert!(site.pullspecs().is_empty() && site.list().is_complete, "there is no pull secret yet");
    write(path, ".dockerconfigjson", PULL_SECRET);
    site.until(&["r.io/environment:1"]).await;
    write(path, "release-images.json", &releases(&["r.io/a:1"]));
    site.until(&["r.io/environment:1", "r.io/a:1"]).await;

    write(path, "release-images.json", &releases(&["r.io/b:1"])[..40]);
    site.until_refused(1).await;
    let problem = site.catalog.list().problem.unwrap();
    assert!(problem.starts_with("release-images.json: not JSON"), "{problem}");
    assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"]);
    write(path, "release-images.json", &releases(&["r.io/b:1"]));
    site.until(&["r.io/environment:1", "r.io/b:1"]).await;
    assert_eq!(site.catalog.list().problem, None);

    fs::remove_file(path.join("release-images.json")).unwrap();
    site.until(&["r.io/environment:1"]).await;
    assert_eq!(site.catalog.statistics().refused_lists(), 1, "it was told once");
    assert_eq!(site.catalog.statistics().applied_lists(), 4);
}

#[tokio::test]
async fn how_registries_are_asked_is_followed_too() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    write(path, ".dockerconfigjson", PULL_SECRET);
    let site = Site::start(Source::Directory(path.to_owned()), None);
    let first = site.list().registry;
    write(path, "release-images.json", &releases(&["r.io/a:1"]));
    site.until(&["r.io/environment:1", "r.io/a:1"]).await;
    assert!(site.list().registry.is_same(&first), "nothing has changed for it");

    write(path, ".dockerconfigjson", r#"{"auths":{"r.io":{"username":"a","password":"b"}}}"#);
    site.wait("there is another client", |site| !site.list().registry.is_same(&first)).await;
    let second = site.list().registry;
    write(path, "ca.crt", "no certificate");
    site.until_refused(1).await;
    assert!(site.list().registry.is_same(&second));
    fs::remove_file(path.join("ca.crt")).unwrap();
    site.wait("all is well again", |site| site.catalog.list().problem.is_none()).await;
    assert!(site.list().registry.is_same(&second));
}

#[tokio::test]
async fn a_directory_that_is_away_takes_nothing_with_it() {
    let parent = TempDir::new().unwrap();
    let [path, away] = ["feed", "away"].map(|name| parent.path().join(name));
    let site = Site::start(Source::Directory(path.clone()), None);
    site.until_refused(1).await;
    assert!(!site.list().is_complete, "what it asks for is not known");
    fs::create_dir(&away).unwrap();
    write(&away, "release-images.json", &releases(&["r.io/a:1"]));
    write(&away, ".dockerconfigjson", PULL_SECRET);
    fs::rename(&away, &path).unwrap();
    site.until(&["r.io/environment:1", "r.io/a:1"]).await;
    fs::rename(&path, &away).unwrap();
    site.until_refused(2).await;
    assert_eq!(site.pullspecs(), ["r.io/environment:1", "r.io/a:1"]);
}

#[tokio::test]
async fn the_pull_secret_of_the_environment_is_read_again_when_its_file_changes() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("pull-secret.json");
    fs::write(&file, PULL_SECRET).unwrap();
    let site = Site::start(Source::None, Some(file.clone()));
    assert!(site.list().is_complete);
    assert_eq!(site.pullspecs(), ["r.io/environment:1"]);
    let first = site.list().registry;
    fs::write(&file, "{").unwrap();
    site.wait("it is told", |site| site.catalog.list().problem.is_some()).await;
    assert!(site.list().registry.is_same(&first));
    fs::write(&file, r#"{"auths":{"r.io":{"username":"a","password":"b"}}}"#).unwrap();
    site.wait("there is another client", |site| !site.list().registry.is_same(&first)).await;
    assert_eq!(site.pullspecs(), ["r.io/environment:1"]);
    assert_eq!(site.catalog.list().problem, None);
}
