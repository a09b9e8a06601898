use super::{InvalidReference, Reference};
use crate::Digest;
use proptest::prelude::*;

fn reference(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn references_found_in_the_field_are_read() {
    let digest = Digest::of(b"manifest");
    for (text, registry, repository, tag, digested) in [
        ("quay.io/a/b:4.18.52-x86_64", "quay.io", "a/b", Some("4.18.52-x86_64"), false),
        (
            "mirror.lab:8443/openshift/release-images",
            "mirror.lab:8443",
            "openshift/release-images",
            Some("latest"),
            false,
        ),
        (&format!("quay.io/a/b@{digest}"), "quay.io", "a/b", None, true),
        (&format!("[fd00::1]:5000/a/b:t@{digest}"), "[fd00::1]:5000", "a/b", Some("t"), true),
        ("localhost/a__b.c--d", "localhost", "a__b.c--d", Some("latest"), false),
        ("docker.io/ubuntu", "docker.io", "library/ubuntu", Some("latest"), false),
        ("index.docker.io/a/b", "docker.io", "a/b", Some("latest"), false),
    ] {
        let reference = reference(text);
        assert_eq!(reference.registry(), registry);
        assert_eq!(reference.repository(), repository);
        assert_eq!(reference.tag(), tag);
        assert_eq!(reference.digest(), digested.then_some(digest));
    }
}

#[test]
fn a_scheme_is_refused_without_repeating_what_follows() {
    let error = "https://user:secret@quay.io/a".parse::<Reference>().unwrap_err();
    assert_eq!(error, InvalidReference::Scheme("https://".to_owned()));
}

#[test]
fn a_registry_is_never_guessed() {
    for text in ["", "ubuntu", "ubuntu:22.04", "openshift/release:4.18", "/a/b"] {
        let error = text.parse::<Reference>().unwrap_err();
        assert!(matches!(error, InvalidReference::NoRegistry(_)), "{text:?}: {error:?}");
    }
}

#[test]
fn other_text_is_refused() {
    let long = format!("quay.io/{}", "a".repeat(250));
    for text in [
        "quay.io/",
        "quay.io//a",
        "quay.io/a/",
        "quay.io/A",
        "quay.io/a..b",
        "quay.io/a___b",
        "quay.io/-a",
        "quay.io/a.",
        "quay.io/../a",
        "quay.io/a:",
        "quay.io/a:.b",
        "quay.io/a:b:c",
        "quay.io/a@",
        "quay.io/a@sha256:12",
        "quay.io/a@sha512:12",
        "quay.io/a b",
        "quay.io/a?b",
        "quay.io:x/a",
        "a.b-/c",
        &long,
    ] {
        assert!(text.parse::<Reference>().is_err(), "{text:?}");
    }
}

#[test]
fn a_reference_is_moved_within_its_registry() {
    let digest = Digest::of(b"manifest");
    let release = reference("mirror.lab:5000/ocp/release-images:4.18.52-x86_64");
    assert_eq!(
        release.with_digest(digest).to_string(),
        format!("mirror.lab:5000/ocp/release-images@{digest}")
    );
    assert_eq!(release.with_repository("ocp/release").unwrap().repository(), "ocp/release");
    assert!(release.with_repository("ocp/../release").is_err());
    assert_eq!(
        release.with_digest(digest).with_tag("t").unwrap().to_string(),
        "mirror.lab:5000/ocp/release-images:t"
    );
    assert!(release.with_tag("t/../../x").is_err());
}

#[test]
fn folders_are_read_in_the_words_of_the_tools_that_write_them() {
    let digest = Digest::of(b"manifest");
    for (text, path, tag, digested) in [
        (
            "file:///mnt/mirror/openshift/release:4.18.52-x86_64",
            "/mnt/mirror/openshift/release",
            Some("4.18.52-x86_64"),
            false,
        ),
        (&format!("file:///mnt/mirror@{digest}"), "/mnt/mirror", None, true),
        (&format!("oci:/mnt/layout:t@{digest}"), "/mnt/layout", Some("t"), true),
        ("oci:/mnt/layout", "/mnt/layout", None, false),
        ("oci:///mnt//a b:c/./Ünd@/layout/:4.18", "/mnt/a b:c/Ünd@/layout", Some("4.18"), false),
        ("dir:/x/", "/x", None, false),
    ] {
        let reference = reference(text);
        assert_eq!(reference.registry(), "file://");
        assert_eq!(reference.path(), Some(std::path::Path::new(path)));
        assert_eq!(reference.repository(), path);
        assert_eq!((reference.tag(), reference.digest()), (tag, digested.then_some(digest)));
        assert_eq!(reference.to_string().parse(), Ok(reference));
    }
    assert_eq!(reference("oci:5000/mnt/layout").registry(), "oci:5000");
    assert_eq!(reference("oci:5000/mnt/layout").path(), None);
}

#[test]
fn what_is_no_folder_is_refused_with_a_hint() {
    for (text, error) in [
        ("file://openshift/release:4.18.52-x86_64", InvalidReference::RelativePath("file://")),
        ("oci:layout:4.18", InvalidReference::RelativePath("oci:")),
        ("dir:", InvalidReference::RelativePath("dir:")),
        ("docker-archive:/mnt/image.tar", InvalidReference::NotAFolder("docker-archive:")),
        ("oci-archive:image.tar:t", InvalidReference::NotAFolder("oci-archive:")),
        ("docker://quay.io/a/b", InvalidReference::Scheme("docker://".to_owned())),
        ("file:///", InvalidReference::Path("/".to_owned())),
        ("file:///a/../b", InvalidReference::Path("/a/../b".to_owned())),
        ("file:///a\nb", InvalidReference::Path("/a\nb".to_owned())),
        ("file:///a:b/", InvalidReference::Path("/a:b/".to_owned())),
        ("file:///a:b/:c", InvalidReference::Path("/a:b/".to_owned())),
        ("oci:/a:b/c:d:e", InvalidReference::Tag("d:e".to_owned())),
    ] {
        assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
    }
    assert!(format!("file:///{}", "a/".repeat(2000)).parse::<Reference>().is_err());
}

#[test]
fn a_reference_is_moved_on_disk() {
    let release = reference("file:///mnt/openshift/release-images:4.18.52-x86_64");
    let sibling = release.with_repository("/mnt/openshift/release").unwrap();
    assert_eq!(sibling.to_string(), "file:///mnt/openshift/release:4.18.52-x86_64");
    for path in ["openshift/release", "/mnt/../etc", "/mnt/a:b", ""] {
        assert!(release.with_repository(path).is_err(), "{path}");
    }
    let in_registry = reference("quay.io/a/b:t");
    assert!(in_registry.with_repository("/mnt/openshift/release").is_err());
}

proptest! {
    #[test]
    fn what_is_written_of_a_folder_is_read_back(
        text in "(file://|oci:|dir:)(/[a.:@ ]{0,3}){1,4}(:[a-z.]{0,3})?(@sha256:[0-9a-f]{64})?"
    ) {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
            prop_assert!(reference.repository().split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")));
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        text in "([a-z]{1,8}\\.[a-z]{2,3}|localhost|\\[::[1-9]\\])(:[1-9][0-9]{0,3})?/[a-z0-9]{1,5}([._/-][a-z0-9]{1,4}){0,4}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,20})?(@sha256:[0-9a-f]{64})?"
    ) {
        let reference = reference(&text);
        prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
        prop_assert!(reference.to_string().starts_with(&text) || text.starts_with("docker.io"));
    }

    #[test]
    fn what_is_accepted_is_safe_in_a_url_path(text in "\\PC{0,20}/\\PC{0,40}") {
        if let Ok(reference) = text.parse::<Reference>()
            && reference.path().is_none()
        {
            prop_assert!(!reference.repository().contains(['?', '#', '%', ' ', '\\', '@', ':']));
            prop_assert!(reference.repository().split('/').all(|part| !matches!(part, "" | "." | "..")));
        }
    }
}
