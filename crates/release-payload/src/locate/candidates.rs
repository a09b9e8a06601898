//! Where the component of a mirrored release can be: the places that mirroring tools make.
//!
//! ```text
//! oc adm release mirror --to=H/R           H/R:<version>-<arch> and H/R:<version>-<arch>-<component>
//! oc-mirror, versions 1 and 2              H/P/openshift/release-images:<version>-<arch>
//!                                          H/P/openshift/release:<version>-<arch>-<component>
//! mirror of a registry or organisation     H/openshift-release-dev/…
//! pull-through proxy                       H/<proxy>/openshift-release-dev/…
//! ```
//!
//! Everything but the tags is asked for by digest.

use coreos_names::Arch;
use oci_registry::{Digest, Reference};

use crate::payload::Payload;

/// The places in the release's registry, the likeliest first, without duplicates.
pub(super) fn by_digest(release: &Reference, component: &Reference, digest: Digest) -> Vec<Reference> {
    let (release_path, path) = (release.repository(), component.repository());
    let mut repositories = own_repositories(release_path);
    // Registry-wide mirrors and pull-through proxies keep the path of the origin, proxies under a prefix.
    repositories.push(path.to_owned());
    repositories
        .extend(release_path.match_indices('/').map(|(end, _)| format!("{}/{path}", &release_path[..end])));
    // A mirror of an organisation may give it another name.
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    repositories.push(
        release_path.rsplit_once('/').map_or(name.to_owned(), |(parent, _)| format!("{parent}/{name}")),
    );
    let pinned = release.with_digest(digest);
    unique(repositories.iter().filter_map(|repository| pinned.with_repository(repository).ok()))
}

/// The tags by which tools that keep tags name the component, in the repositories they put it into.
pub(super) fn by_tag(payload: &Payload, component: &str, arch: Arch) -> Vec<Reference> {
    let release = payload.pullspec();
    let mut tags = Vec::new();
    tags.extend(release.tag().map(|tag| format!("{tag}-{component}")));
    if payload.arches().len() > 1 {
        tags.push(format!("{}-multi-{component}", payload.version()));
    }
    tags.push(format!("{}-{}-{component}", payload.version(), arch.rpm_name()));
    let mut places = Vec::new();
    for repository in own_repositories(release.repository()) {
        let Ok(repository) = release.with_repository(&repository) else { continue };
        places.extend(tags.iter().filter_map(|tag| repository.with_tag(tag).ok()));
    }
    unique(places)
}

/// Where tools put a release's components.
fn own_repositories(release: &str) -> Vec<String> {
    let mut repositories = vec![release.to_owned()];
    // oc-mirror keeps release images apart from their components.
    match release.rsplit_once('/') {
        Some((parent, "release-images")) => repositories.push(format!("{parent}/release")),
        None if release == "release-images" => repositories.push("release".to_owned()),
        _ => {}
    }
    repositories
}

pub(super) fn unique(places: impl IntoIterator<Item = Reference>) -> Vec<Reference> {
    let mut unique = Vec::new();
    for place in places {
        if !unique.contains(&place) {
            unique.push(place);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:\
        abababababababababababababababababababababababababababababababab";

    fn places(release: &str) -> Vec<String> {
        let component: Reference = COMPONENT.parse().unwrap();
        let digest = component.digest().unwrap();
        by_digest(&release.parse().unwrap(), &component, digest)
            .iter()
            .map(|place| {
                assert_eq!((place.digest(), place.tag()), (Some(digest), None));
                format!("{}/{}", place.registry(), place.repository())
            })
            .collect()
    }

    #[test]
    fn a_mirrored_release_has_its_components_where_the_tools_put_them() {
        let path = "openshift-release-dev/ocp-v4.0-art-dev";
        for (release, expected) in [
            (
                "mirror.example.com:5000/mirror/openshift/release-images:4.18.52-x86_64",
                vec![
                    "mirror/openshift/release-images",
                    "mirror/openshift/release",
                    path,
                    "mirror/openshift-release-dev/ocp-v4.0-art-dev",
                    "mirror/openshift/openshift-release-dev/ocp-v4.0-art-dev",
                    "mirror/openshift/ocp-v4.0-art-dev",
                ],
            ),
            (
                "mirror.example.com:5000/release-images:4.18",
                vec!["release-images", "release", path, "ocp-v4.0-art-dev"],
            ),
            ("mirror.example.com:5000/ocp4:4.18.52", vec!["ocp4", path, "ocp-v4.0-art-dev"]),
            (
                "mirror.example.com:5000/a/quay/openshift-release-dev/ocp-release:4.18.52-x86_64",
                vec![
                    "a/quay/openshift-release-dev/ocp-release",
                    path,
                    "a/openshift-release-dev/ocp-v4.0-art-dev",
                    "a/quay/openshift-release-dev/ocp-v4.0-art-dev",
                    "a/quay/openshift-release-dev/openshift-release-dev/ocp-v4.0-art-dev",
                ],
            ),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|path| format!("mirror.example.com:5000/{path}")).collect();
            assert_eq!(places(release), expected, "{release}");
        }
    }
}
