use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use image_server::InfraEnvDirectory;
use tempfile::TempDir;

use crate::site::{FULL_ISO, ID, Site, ignition_config};

async fn site() -> (Site, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::with_infra_envs(Arc::new(InfraEnvDirectory::new(directory.path()))).await;
    (site, directory)
}

fn write(directory: &Path, file: &str, content: impl AsRef<[u8]>) {
    let infra_env = directory.join(ID);
    fs::create_dir_all(&infra_env).unwrap();
    fs::write(infra_env.join(file), content).unwrap();
}

#[tokio::test]
async fn the_ignition_config_is_a_file() {
    let (site, directory) = site().await;
    write(directory.path(), "discovery.ign", r#"{"ignition":{"version":"3.2.0"}}"#);
    let file = fs::File::options().write(true).open(directory.path().join(ID).join("discovery.ign")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 999)).unwrap();
    let iso = site.get(FULL_ISO).await;
    assert_eq!(iso.status, 200);
    assert_eq!(iso.header("last-modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
    assert_eq!(ignition_config(&iso.body).unwrap(), r#"{"ignition":{"version":"3.2.0"}}"#);
    assert!(site.upstream.asked().is_empty());
}

#[tokio::test]
async fn kernel_arguments_are_an_optional_file() {
    let (site, directory) = site().await;
    write(directory.path(), "discovery.ign", "{}");
    let without = site.head(FULL_ISO).await;
    write(directory.path(), "kernel_arguments.json", r#"[{"operation":"append","value":"p1"}]"#);
    let with = site.head(FULL_ISO).await;
    assert_eq!((without.status.as_u16(), with.status.as_u16()), (200, 200));
    assert_ne!(without.header("etag"), with.header("etag"));
    write(directory.path(), "kernel_arguments.json", r#"["p1"]"#);
    let answer = site.get(FULL_ISO).await;
    answer.assert_line(422, "the kernel arguments are not a JSON list of operations and values");
}

#[tokio::test]
async fn the_ramdisk_is_an_optional_file() {
    let (site, directory) = site().await;
    let path = format!("/images/{ID}/pxe-initrd?version=4.18");
    write(directory.path(), "discovery.ign", "{}");
    let without = site.get(&path).await;
    write(directory.path(), "minimal-initrd", "");
    let empty = site.get(&path).await;
    write(directory.path(), "minimal-initrd", "ramdisk!");
    write(directory.path(), "kernel_arguments.json", "this is not looked at");
    let with = site.get(&path).await;
    assert_eq!((without.status.as_u16(), with.status.as_u16()), (200, 200));
    assert_eq!(empty.body, without.body);
    let (before, behind) = with.body.split_at(without.body.len());
    assert!(before == without.body && behind.starts_with(b"ramdisk!"));
}

#[tokio::test]
async fn an_infra_env_without_files_is_not_found() {
    let (site, directory) = site().await;
    site.get(FULL_ISO).await.assert_empty(404);
    write(directory.path(), "kernel_arguments.json", "[]");
    site.get(FULL_ISO).await.assert_empty(404);
}

#[tokio::test]
async fn files_beyond_all_bounds_are_unprocessable() {
    let (site, directory) = site().await;
    write(directory.path(), "discovery.ign", vec![b' '; 8 * 1024 * 1024 + 1]);
    site.get(FULL_ISO).await.assert_line(422, "more than 8388608 bytes of Ignition config are not accepted");
    write(directory.path(), "discovery.ign", "{}");
    write(directory.path(), "kernel_arguments.json", vec![b' '; 64 * 1024 + 1]);
    site.get(FULL_ISO).await.assert_line(422, "more than 65536 bytes of kernel arguments are not accepted");
    write(directory.path(), "minimal-initrd", vec![b' '; 16 * 1024 * 1024 + 1]);
    let answer = site.get(&format!("/images/{ID}/pxe-initrd?version=4.18")).await;
    answer.assert_line(422, "more than 16777216 bytes of network configuration are not accepted");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_our_trouble_and_its_path_is_not_told() {
    let (site, directory) = site().await;
    fs::create_dir_all(directory.path().join(ID).join("discovery.ign")).unwrap();
    site.get(FULL_ISO).await.assert_trouble(500, "the infra-env cannot be read");
}
