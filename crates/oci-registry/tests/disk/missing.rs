//! What is told about something that is not there.

use std::fs;
use std::path::Path;

use coreos_names::{Arch, WithCauses};
use oci_registry::{Digest, DiskError, ImageLayout, Reference};
use tempfile::TempDir;
use test_support::payload::MediaTypes;
use test_support::registry::DockerRegistry;

use crate::support::{REPOSITORY, TAG, client, descriptor, image, in_folder, oc_mirror, problem, reference};

async fn told(reference: &Reference) -> String {
    let error = client().manifest(reference).await.unwrap_err();
    assert!(!error.is_retryable());
    WithCauses(&error).to_string()
}

fn file(path: &Path) -> Reference {
    reference(&format!("file://{}", path.display()))
}

#[tokio::test]
async fn no_layout_is_found_where_there_is_none() {
    let directory = TempDir::new().unwrap();
    // What docker-archive unpacks to.
    fs::write(directory.path().join("manifest.json"), "[]").unwrap();
    for path in [directory.path().to_owned(), directory.path().join("a/b/c")] {
        let error = client().manifest(&file(&path)).await.unwrap_err();
        assert!(error.is_not_found());
        assert!(matches!(problem(error), DiskError::NoLayout { path: told } if told == path));
    }
}

#[tokio::test]
async fn what_is_packed_is_to_be_unpacked() {
    let directory = TempDir::new().unwrap();
    for name in ["mirror_000001.tar", "image.tar"] {
        fs::write(directory.path().join(name), "").unwrap();
    }
    let archive = directory.path().join("mirror_000001.tar");
    for path in [archive.clone(), archive.join("openshift/release-images")] {
        let text = told(&file(&path)).await;
        assert!(text.contains(&format!("{} is an archive of oc-mirror", archive.display())), "{text}");
        assert!(text.contains("unpack it (tar -xf"), "{text}");
    }
    let text = told(&file(&directory.path().join("image.tar"))).await;
    assert!(
        text.ends_with(
            "image.tar is a file, and images are read from folders only: unpack or copy it into one"
        )
    );
}

#[tokio::test]
async fn the_layout_and_its_folder_are_named_with_what_they_lack() {
    let mirror = TempDir::new().unwrap();
    let image = oc_mirror(mirror.path());
    let folder = mirror.path().display();
    let release = in_folder(mirror.path());
    let absent = Digest::of(b"absent");

    let text = told(&release.with_tag("4.19.1-x86_64").unwrap()).await;
    let expected = format!("{folder} has no tag 4.19.1-x86_64 in repository {REPOSITORY:?}, only {TAG}");
    assert!(text.ends_with(&expected), "{text}");
    let text = told(&release.with_digest(absent)).await;
    assert!(text.ends_with(&format!(
        "the mirror of oc in {folder} has no manifest {absent} in repository {REPOSITORY:?}"
    )));
    let text = told(&reference(&format!("file://{folder}/openshift/releases:t"))).await;
    assert!(
        text.ends_with(&format!("the mirror of oc in {folder} has no repository \"openshift/releases\"")),
        "{text}"
    );

    let layer = &image.layers[1].content;
    fs::remove_file(mirror.path().join(format!("v2/{REPOSITORY}/blobs/{}", layer.digest()))).unwrap();
    let error = client().blob(&release, &descriptor(layer)).await.unwrap_err();
    assert!(error.is_not_found());
    let DiskError::Missing { layout, wanted, .. } = problem(error) else { panic!() };
    assert_eq!((layout, wanted), (ImageLayout::Oc, format!("blob {}", layer.digest())));
}

#[tokio::test]
async fn an_increment_of_oc_mirror_says_where_the_rest_may_be() {
    let registry = DockerRegistry::start();
    let image = image(MediaTypes::Docker, Arch::X86_64);
    registry.push(&format!("{REPOSITORY}:{TAG}"), &image.clone().into());
    let release = in_folder(&registry.storage()).with_tag(TAG).unwrap();
    let layer = &image.layers[1].content;
    let hex = layer.sha256().to_string();
    let blob = registry.storage().join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]));
    fs::remove_file(blob).unwrap();

    client().manifest(&release).await.unwrap();
    let error = client().blob(&release, &descriptor(layer)).await.unwrap_err();
    assert!(WithCauses(&error).to_string().ends_with(
        "an archive of oc-mirror has only what was new when it was written, so it may be in an earlier one"
    ));
    let text = told(&release.with_tag("t").unwrap()).await;
    assert!(text.ends_with(&format!("has no tag t in repository {REPOSITORY:?}, only {TAG}")), "{text}");
    let text = told(&release.with_repository(&format!("{}/x", registry.storage().display())).unwrap()).await;
    assert!(text.ends_with("has no repository \"x\""), "{text}");
}
