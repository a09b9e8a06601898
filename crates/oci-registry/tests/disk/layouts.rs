//! Every layout, as its own tool writes it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use coreos_names::{Arch, WithCauses};
use tempfile::TempDir;
use test_support::payload::{Artifact, MediaTypes};
use test_support::registry::DockerRegistry;

use crate::support::{REPOSITORY, TAG, assert_whole, client, image, in_folder, list, oc_mirror, reference};

fn registry_with(artifact: &Artifact) -> (DockerRegistry, String) {
    let registry = DockerRegistry::start();
    let name = format!("{REPOSITORY}:{TAG}");
    registry.push(&name, artifact);
    (registry, name)
}

#[tokio::test]
async fn skopeos_oci_layout_is_read_by_tag_by_digest_and_by_being_the_only_image() {
    for artifact in [image(MediaTypes::Oci, Arch::X86_64).into(), list(MediaTypes::Oci)] {
        let (registry, name) = registry_with(&artifact);
        let directory = TempDir::new().unwrap();
        let layout = format!("oci:{}/layout", directory.path().display());
        registry.pull_to(&name, &format!("{layout}:{TAG}"));
        assert_whole(&reference(&format!("{layout}:{TAG}")), &artifact).await;
        assert_whole(&reference(&format!("{layout}@{}", artifact.digest())), &artifact).await;
        assert_whole(&reference(&layout), &artifact).await;

        let other = image(MediaTypes::Oci, Arch::Arm64).into();
        registry.push("other:t", &other);
        registry.pull_to("other:t", &format!("{layout}:other"));
        assert_whole(&reference(&format!("{layout}:other")), &other).await;
        assert_whole(&reference(&format!("{layout}:{TAG}")), &artifact).await;
        let error = client().manifest(&reference(&layout)).await.unwrap_err();
        let text = WithCauses(&error).to_string();
        assert!(
            text.contains("has no single image, only 4.18.52-x86_64, other; name one by its tag"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_oci_layout_for_which_skopeo_has_rewritten_an_image_says_so() {
    let artifact = Artifact::from(image(MediaTypes::Docker, Arch::X86_64));
    let (registry, name) = registry_with(&artifact);
    let directory = TempDir::new().unwrap();
    let layout = format!("oci:{}", directory.path().display());
    registry.pull_to(&name, &format!("{layout}:{TAG}"));

    let rewritten = client().manifest(&reference(&format!("{layout}:{TAG}"))).await.unwrap();
    assert_ne!(rewritten.digest.to_string(), artifact.digest());
    let original = reference(&format!("{layout}@{}", artifact.digest()));
    let error = client().manifest(&original).await.unwrap_err();
    assert!(error.is_not_found());
    assert!(WithCauses(&error).to_string().contains("skopeo gives images of Docker's format other digests"));
}

#[tokio::test]
async fn skopeos_dir_layout_keeps_images_and_lists_as_they_are() {
    for artifact in [image(MediaTypes::Docker, Arch::X86_64).into(), list(MediaTypes::Docker)] {
        let (registry, name) = registry_with(&artifact);
        let directory = TempDir::new().unwrap();
        let layout = format!("dir:{}/a:b/image", directory.path().display());
        fs::create_dir(directory.path().join("a:b")).unwrap();
        registry.pull_to(&name, &layout);
        assert_whole(&reference(&layout), &artifact).await;
        assert_whole(&reference(&format!("{layout}@{}", artifact.digest())), &artifact).await;
        let error = client().manifest(&reference(&format!("{layout}:{TAG}"))).await.unwrap_err();
        assert!(WithCauses(&error).to_string().ends_with("it holds one image, which is named without a tag"));
    }
}

#[tokio::test]
async fn the_storage_of_a_registry_is_read_while_it_runs_and_after() {
    let artifact = list(MediaTypes::Docker);
    let (registry, _) = registry_with(&artifact);
    assert_whole(&in_folder(&registry.storage()).with_tag(TAG).unwrap(), &artifact).await;

    let kept = TempDir::new().unwrap();
    let unpacked = kept.path().join("unpacked");
    copy(&registry.storage(), &unpacked);
    registry.stop();
    let release = in_folder(&unpacked);
    assert_whole(&release.with_tag(TAG).unwrap(), &artifact).await;
    assert_whole(&release.with_digest(artifact.digest().parse().unwrap()), &artifact).await;
    // As a shell completes it.
    let whole = format!("file://{}/docker/registry/v2/repositories/{REPOSITORY}:{TAG}", unpacked.display());
    assert_whole(&reference(&whole), &artifact).await;
}

#[tokio::test]
async fn a_mirror_of_oc_is_read_whatever_copying_made_of_its_links() {
    let mirror = TempDir::new().unwrap();
    let artifact = Artifact::from(oc_mirror(mirror.path()));
    let release = in_folder(mirror.path());
    let tagged = release.with_tag(TAG).unwrap();
    assert_whole(&tagged, &artifact).await;
    let whole = format!("file://{}/v2/{REPOSITORY}:{TAG}", mirror.path().display());
    assert_whole(&reference(&whole), &artifact).await;

    let manifests = mirror.path().join("v2").join(REPOSITORY).join("manifests");
    let tag = manifests.join(TAG);
    // Followed, as `cp -L` does; and written down, as some archives do.
    fs::remove_file(&tag).unwrap();
    fs::copy(manifests.join(artifact.digest()), &tag).unwrap();
    assert_whole(&tagged, &artifact).await;
    fs::write(&tag, artifact.digest()).unwrap();
    assert_whole(&tagged, &artifact).await;

    // Lost, as on file systems without links.
    fs::remove_file(&tag).unwrap();
    let error = client().manifest(&tagged).await.unwrap_err();
    assert!(error.is_not_found());
    let text = WithCauses(&error).to_string();
    assert!(
        text.contains(&format!("the mirror of oc in {} has no tag {TAG}", mirror.path().display())),
        "{text}"
    );
    assert!(text.ends_with("so name the image by its digest, @sha256:…"), "{text}");
    let pinned = release.with_digest(artifact.digest().parse().unwrap());
    assert_whole(&pinned, &artifact).await;

    // Only the blobs are left of a manifest.
    fs::remove_file(manifests.join(artifact.digest())).unwrap();
    assert_whole(&pinned, &artifact).await;
}

#[tokio::test]
async fn a_mirror_of_oc_without_colons_is_read() {
    let mirror = TempDir::new().unwrap();
    let artifact = list(MediaTypes::Docker);
    artifact.write_oc(mirror.path(), REPOSITORY, TAG).unwrap();
    let repository = mirror.path().join("v2").join(REPOSITORY);
    let dashed = |name: &str| name.replace(':', "-");
    for folder in ["blobs", "manifests"] {
        for entry in fs::read_dir(repository.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            fs::rename(repository.join(folder).join(&name), repository.join(folder).join(dashed(&name)))
                .unwrap();
        }
    }
    fs::remove_file(repository.join("manifests").join(TAG)).unwrap();
    symlink(dashed(&artifact.digest()), repository.join("manifests").join(TAG)).unwrap();
    assert_whole(&in_folder(mirror.path()).with_tag(TAG).unwrap(), &artifact).await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
