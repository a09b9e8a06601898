//! Release images as they should not be, and as they are all the same.

use std::time::Duration;

use coreos_names::Arch;
use release_payload::Error;
use serde_json::json;
use test_support::payload::{
    Compression, Content, Flaw, Image, ImageBuilder, Index, LayerBuilder, MediaTypes, Release, ReleaseBuilder,
};
use test_support::registry::Fault;

use crate::site::{BUILD, ISO, REPOSITORY, Site, extract, iso, release, shown};

const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn single() -> ReleaseBuilder {
    release("4.18.52").iso(Arch::X86_64, iso(1))
}

fn component(media_types: MediaTypes) -> Image {
    let layer = LayerBuilder::new(Compression::Gzip).content(ISO, iso(1)).build().unwrap();
    ImageBuilder::new(media_types, Arch::X86_64).layer(layer).build()
}

/// What build tools list beside the images they build.
fn attestation() -> Image {
    let layer = LayerBuilder::new(Compression::None).file("attestation.json", "{}").build().unwrap();
    ImageBuilder::new(MediaTypes::Oci, Arch::X86_64).platform("unknown", "unknown").layer(layer).build()
}

/// A list with these entries.
fn list(entries: &[(&str, &str, u64, Option<&str>)]) -> Vec<u8> {
    let manifests: Vec<_> = entries
        .iter()
        .map(|&(media_type, digest, size, architecture)| {
            let mut entry = json!({"mediaType": media_type, "digest": digest, "size": size});
            if let Some(architecture) = architecture {
                entry["platform"] = json!({"os": "linux", "architecture": architecture});
            }
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": LIST, "manifests": manifests}).to_string().into_bytes()
}

#[tokio::test]
async fn a_release_for_one_architecture_may_refer_to_lists() {
    let site = Site::new().await;
    for (what, images) in [
        ("one image", vec![component(MediaTypes::Docker)]),
        ("an attestation first", vec![attestation(), component(MediaTypes::Oci)]),
    ] {
        let release = single().machine_os_images(Index::new(MediaTypes::Oci, images));
        assert!(site.take(release).await.unwrap().is_proven(), "{what}");
    }
    let only = single().machine_os_images(Index::new(MediaTypes::Oci, vec![attestation()]));
    let error = shown(&site.take(only).await.unwrap_err());
    assert!(error.contains("has no image for x86_64; it has none that OpenShift runs on"), "{error}");
}

#[tokio::test]
async fn an_attestation_is_no_architecture_of_a_release() {
    let site = Site::new().await;
    let built = single().iso(Arch::Arm64, iso(2)).multi().build().unwrap();
    let images: Vec<_> = [attestation()].into_iter().chain(built.image.images().iter().cloned()).collect();
    let built = Release { image: Index::new(MediaTypes::Oci, images).into(), ..built };
    let payload = site.resolve(&site.publish(&built)).await.unwrap();
    assert_eq!(payload.arches(), [Arch::X86_64, Arch::Arm64]);
    assert!(extract(&site.registry, &payload, Arch::Arm64).await.unwrap().is_proven());
}

#[tokio::test]
async fn the_only_image_of_a_list_need_not_say_what_it_runs_on() {
    let site = Site::new().await;
    let image = component(MediaTypes::Docker);
    let manifest = &image.manifest;
    let lists = [1, 2].map(|count| {
        let entry = (IMAGE, &*manifest.digest(), manifest.size(), None);
        Content::from_bytes(list(&vec![entry; count]))
    });
    for (count, list) in [1, 2].into_iter().zip(lists) {
        site.server.publish_manifest(REPOSITORY, &list.digest(), LIST, &list.bytes().unwrap());
        site.server.publish(REPOSITORY, "component", &image.clone().into());
        let name = format!("127.0.0.1:1/a/b@{}", list.digest());
        let references = json!({
            "kind": "ImageStream", "apiVersion": "image.openshift.io/v1", "metadata": {"name": "4.18.52"},
            "spec": {"tags": [{"name": "machine-os-images", "from": {"kind": "DockerImage", "name": name}}]},
        });
        let references = references.to_string();
        let built =
            single().release_manifest("image-references", Some(references.as_bytes())).build().unwrap();
        site.publish(&built);
        let release = &built.image.images()[0].manifest;
        let entry = (IMAGE, &*release.digest(), release.size(), None);
        site.server.publish_manifest(REPOSITORY, "list", LIST, &self::list(&vec![entry; count]));
        let resolved = site.resolve(&site.pullspec("list")).await;
        if count == 1 {
            let payload = resolved.unwrap();
            assert_eq!(payload.arches(), [Arch::X86_64]);
            assert!(extract(&site.registry, &payload, Arch::X86_64).await.unwrap().is_proven());
            let error = extract(&site.registry, &payload, Arch::Arm64).await.unwrap_err();
            assert!(shown(&error).contains("is for amd64, not for arm64"), "{}", shown(&error));
        } else {
            assert!(shown(&resolved.unwrap_err()).contains("not for an architecture that OpenShift runs on"));
            let payload = site.resolve(&site.pullspec(&built.tag)).await.unwrap();
            let error = extract(&site.registry, &payload, Arch::X86_64).await.unwrap_err();
            assert!(shown(&error).contains("has no image for x86_64"), "{}", shown(&error));
        }
    }
}

#[tokio::test]
async fn any_image_of_a_multi_release_will_do() {
    let site = Site::new().await;
    let built = single().iso(Arch::Arm64, iso(2)).multi().build().unwrap();
    let first = &built.image.images()[0].manifest;
    site.server.inject(&first.digest(), Fault::status(404));
    let payload = site.resolve(&site.publish(&built)).await.unwrap();
    assert_eq!(payload.version().to_string(), "4.18.52");

    site.server.inject(&built.image.images()[1].manifest.digest(), Fault::status(404));
    let error = site.resolve(&site.pullspec(&built.tag)).await.unwrap_err();
    let Error::ChildrenUnavailable { attempts, .. } = &error else { panic!("{error:?}") };
    assert_eq!(attempts.len(), 2, "{}", shown(&error));
}

#[tokio::test]
async fn an_image_of_a_multi_release_that_nobody_gives_is_done_without() {
    let site = Site::new().await;
    let built = single().iso(Arch::Arm64, iso(2)).multi().build().unwrap();
    let pullspec = site.publish(&built);
    let [first, second] = [0, 1].map(|child: usize| built.image.images()[child].manifest.digest());
    // Not an absence: what a client says whose several sources have failed for different reasons is none either.
    site.server.inject(&first, Fault::status(403));
    let payload = site.resolve(&pullspec).await.unwrap();
    assert_eq!(payload.version().to_string(), "4.18.52");

    site.server.inject(&second, Fault::Status(429, vec![("retry-after", "3600".to_owned())]));
    let error = site.resolve(&pullspec).await.unwrap_err();
    assert!(shown(&error).contains(&first) && shown(&error).contains(&second), "{}", shown(&error));
    assert!(error.is_retryable(), "{}", shown(&error));
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
}

#[tokio::test]
async fn an_image_that_a_mirror_left_out_of_a_list_is_looked_for_elsewhere() {
    let site = Site::new().await;
    let built = single().iso(Arch::Arm64, iso(2)).multi().build().unwrap();
    let pullspec = site.publish(&built);
    let component = &built.machine_os_images().image;
    let sparse = format!("{REPOSITORY}/manifests/{}", component.images()[0].manifest.digest());
    site.server.inject(&sparse, Fault::status(404));
    site.server.publish("mirror/openshift-release-dev/ocp-v4.0-art-dev", "x", component);
    let payload = site.resolve(&pullspec).await.unwrap();
    let elsewhere = extract(&site.registry, &payload, Arch::X86_64).await.unwrap();
    assert!(elsewhere.is_proven());
    assert!(elsewhere.stated.os_build.as_str() == BUILD);
}

#[tokio::test]
async fn lists_of_lists_are_refused() {
    let site = Site::new().await;
    let built = single().build().unwrap();
    let image = &built.image.manifest();
    let inner = list(&[(IMAGE, &image.digest(), image.size(), Some("amd64"))]);
    let inner = Content::from_bytes(inner);
    site.server.publish_manifest(REPOSITORY, &inner.digest(), LIST, &inner.bytes().unwrap());
    let outer = list(&[(LIST, &inner.digest(), inner.size(), Some("amd64"))]);
    site.server.publish_manifest(REPOSITORY, "nested", LIST, &outer);
    site.publish(&built);
    let error = site.resolve(&site.pullspec("nested")).await.unwrap_err();
    assert!(shown(&error).ends_with("it is a list of lists of images"), "{}", shown(&error));
    assert!(error.is_content());
}

#[tokio::test]
async fn what_is_no_release_image_is_refused_for_what_it_lacks() {
    let site = Site::new().await;
    let with =
        |name: &str, contents: Option<&str>| single().release_manifest(name, contents.map(str::as_bytes));
    let references = |tags: serde_json::Value| {
        json!({"kind": "ImageStream", "apiVersion": "image.openshift.io/v1", "metadata": {"name": "4.18.52"},
               "spec": {"tags": tags}})
        .to_string()
    };
    let tag =
        |name: &str| json!([{"name": "machine-os-images", "from": {"kind": "DockerImage", "name": name}}]);
    for (what, release, expected) in [
        ("no references", with("image-references", None), "has no release-manifests/image-references"),
        ("no JSON", with("image-references", Some("{")), "release-manifests/image-references is invalid"),
        (
            "another kind",
            with("image-references", Some("kind: Pod\napiVersion: v1\nmetadata: {}\nspec: {}")),
            "found v1 Pod",
        ),
        // It would take an hour to read.
        ("deep nesting", with("image-references", Some(&"[".repeat(1_000_000))), "more brackets and braces"),
        (
            "deep JSON",
            with("image-references", Some(&"{\"a\":".repeat(100_000))),
            "image-references is invalid",
        ),
        (
            "no reference",
            with("image-references", Some(&references(tag("https://quay.io/x")))),
            "image-references is invalid",
        ),
        (
            "a folder",
            with(
                "image-references",
                Some(&references(tag(&format!("file:///mnt/x@sha256:{}", "ab".repeat(32))))),
            ),
            "is in no registry",
        ),
        (
            "a long story",
            with("image-references", Some(&format!("{{\"spec\": \"{}\"}}", "\\u001b[31m".repeat(100_000)))),
            "image-references is invalid",
        ),
        (
            "an unknown kind",
            with(
                "image-references",
                Some(&references(json!([])).replace("ImageStream", &"\\u001b".repeat(100_000))),
            ),
            "expected an image.openshift.io/v1 ImageStream, found image.openshift.io/v1 \u{fffd}",
        ),
        (
            "no digest",
            with("image-references", Some(&references(tag("127.0.0.1:1/a/b:latest")))),
            "names 127.0.0.1:1/a/b:latest without a digest",
        ),
        ("no tags", with("image-references", Some(&references(json!(null)))), "image-references is invalid"),
        (
            "no component",
            single().flaw(Flaw::NoComponent),
            "has no component machine-os-images; releases from 4.11 on",
        ),
        (
            "no version",
            with("release-metadata", Some(r#"{"version": "four"}"#)),
            "it states no usable version",
        ),
        ("a huge file", with("release-metadata", Some(&" ".repeat(5 << 20))), "at most 4194304 are read"),
        ("much YAML", with("image-references", Some(&"- x\n".repeat(1 << 19))), "at most 1048576 are read"),
    ] {
        let error = site.take(release).await.unwrap_err();
        assert!(shown(&error).contains(expected), "{what}: {}", shown(&error));
        assert!(error.is_content() && shown(&error).len() < 2000, "{what}: {}", shown(&error).len());
    }
}

#[tokio::test]
async fn what_a_release_can_do_without_is_done_without() {
    let site = Site::new().await;
    let with =
        |name: &str, contents: Option<&str>| single().release_manifest(name, contents.map(str::as_bytes));
    let bootimages = "0000_50_installer_coreos-bootimages.yaml";
    for (what, release) in [
        ("no metadata", with("release-metadata", None)),
        ("no announcement", with(bootimages, None)),
        (
            "an announcement in JSON",
            with(bootimages, None)
                .release_manifest("0000_50_installer_coreos-bootimages.json", Some(b"{\"data\":{}}")),
        ),
        ("a broken announcement", with(bootimages, Some("data: [\n"))),
        ("a deep announcement", with(bootimages, Some(&"[".repeat(1_000_000)))),
        ("a huge announcement", with(bootimages, Some(&" ".repeat(5 << 20)))),
        ("an announcement of nothing", with(bootimages, Some("data:\n  stream: 7\n"))),
        ("other references", with("0000_90_image-references", Some("{"))),
    ] {
        let extracted = site.take(release).await.unwrap_or_else(|error| panic!("{what}: {}", shown(&error)));
        assert!(extracted.is_proven(), "{what}");
    }
    let multi = single().multi().build().unwrap();
    assert_eq!(site.resolve(&site.publish(&multi)).await.unwrap().version().to_string(), "4.18.52");
}

#[tokio::test]
async fn a_tag_without_its_end_is_explained() {
    let site = Site::new().await;
    site.publish(&single().build().unwrap());
    for (tag, suggestion) in [
        ("4.18.52", Some("4.18.52-x86_64")),
        ("4.19.0-ec.3", Some("4.19.0-ec.3-x86_64")),
        ("latest", None),
        ("1", None),
        ("4.18.52-s390x", None),
    ] {
        let error = site.resolve(&site.pullspec(tag)).await.unwrap_err();
        let text = shown(&error);
        assert_eq!(
            text.contains("tags of releases end with an architecture"),
            suggestion.is_some(),
            "{text}"
        );
        if let Some(suggestion) = suggestion {
            assert!(text.contains(&format!("was {} meant?", site.pullspec(suggestion))), "{text}");
        }
        assert!(text.contains("not found") && !error.is_retryable(), "{text}");
    }
}

#[tokio::test]
async fn manifests_of_dockers_first_format_are_refused_by_name() {
    let site = Site::new().await;
    let old = br#"{"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": []}"#;
    // As a registry does that heeds no Accept.
    site.server.publish_manifest(REPOSITORY, "old", IMAGE, old);
    let text = shown(&site.resolve(&site.pullspec("old")).await.unwrap_err());
    assert!(text.contains("Docker's schema 1"), "{text}");
}
