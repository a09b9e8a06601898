//! Where mirroring tools put the component with the ISOs, in a registry that others wrote, filled by a tool that others
//! wrote.

use coreos_names::Arch;
use release_payload::{Error, LiveIso, Payload};
use test_support::payload::{Artifact, Component, Content, Flaw, Release, ReleaseBuilder};
use test_support::registry::{DockerRegistry, Fault, TokenRegistry};

use crate::site::{
    BUILD, Extracted, Memory, REPOSITORY, Site, client, client_of, extract, iso, release, shown,
};

/// What a tool makes of a release: `repository:tag`, with `{c}` for the component's digest in digits.
struct Layout {
    what: &'static str,
    multi: bool,
    release: &'static str,
    component: &'static str,
}

const LAYOUTS: [Layout; 14] = [
    Layout {
        what: "oc adm release mirror",
        multi: false,
        release: "ocp4/openshift4:4.18.52-x86_64",
        component: "ocp4/openshift4:4.18.52-x86_64-machine-os-images",
    },
    Layout {
        what: "oc adm release mirror --keep-manifest-list",
        multi: true,
        release: "ocp4/openshift4:4.18.52-multi",
        component: "ocp4/openshift4:4.18.52-multi-machine-os-images",
    },
    Layout {
        what: "oc adm release mirror --to-release-image",
        multi: false,
        release: "ocp/local-release-image:mine",
        component: "ocp/local-release-image:4.18.52-x86_64-machine-os-images",
    },
    Layout { what: "one repository without tags", multi: false, release: "ocp4:4.18", component: "ocp4:{c}" },
    Layout {
        what: "oc-mirror v1 and v2",
        multi: false,
        release: "openshift/release-images:4.18.52-x86_64",
        component: "openshift/release:4.18.52-x86_64-machine-os-images",
    },
    Layout {
        what: "oc-mirror v1 and v2 under a name",
        multi: true,
        release: "mirror/site/openshift/release-images:4.18.52-multi",
        component: "mirror/site/openshift/release:4.18.52-multi-machine-os-images",
    },
    Layout {
        what: "oc-mirror v2 of a release by digest",
        multi: false,
        release: "mirror/openshift/release-images:sha256-0123",
        component: "mirror/openshift/release:sha256-0123-machine-os-images",
    },
    Layout {
        what: "the repositories of oc-mirror without their directory",
        multi: false,
        release: "release-images:4.18.52-x86_64",
        component: "release:4.18.52-x86_64-machine-os-images",
    },
    Layout {
        what: "a mirror of all of quay.io",
        multi: false,
        release: "openshift-release-dev/ocp-release:4.18.52-x86_64",
        component: "openshift-release-dev/ocp-v4.0-art-dev:{c}",
    },
    Layout {
        what: "a pull-through proxy",
        multi: true,
        release: "quay/openshift-release-dev/ocp-release:4.18.52-multi",
        component: "quay/openshift-release-dev/ocp-v4.0-art-dev:{c}",
    },
    Layout {
        what: "a pull-through proxy deep down",
        multi: false,
        release: "proxies/remote/quay/openshift-release-dev/ocp-release:4.18.52-x86_64",
        component: "proxies/remote/quay/openshift-release-dev/ocp-v4.0-art-dev:{c}",
    },
    Layout {
        what: "a mirror of the organisation under another name",
        multi: false,
        release: "ocp-proxy/ocp-release:4.18.52-x86_64",
        component: "ocp-proxy/ocp-v4.0-art-dev:{c}",
    },
    Layout {
        what: "a proxy beside a release of our own",
        multi: false,
        release: "quay/ours/release:4.18.52-x86_64",
        component: "quay/openshift-release-dev/ocp-v4.0-art-dev:{c}",
    },
    Layout {
        what: "a release of our own beside a mirror of all of quay.io",
        multi: false,
        release: "ours/release:4.18.52-x86_64",
        component: "openshift-release-dev/ocp-v4.0-art-dev:{c}",
    },
];

fn built(multi: bool, flaws: &[Flaw]) -> Release {
    let release =
        flaws.iter().fold(release("4.18.52").iso(Arch::X86_64, iso(1)), |release, &flaw| release.flaw(flaw));
    if multi { release.iso(Arch::Arm64, iso(2)).multi() } else { release }.build().unwrap()
}

async fn take(server: &DockerRegistry, release: &str, arch: Arch) -> Result<Extracted, Error> {
    let registry = client(server.address(), &server.pull_secret());
    let pullspec = format!("{}/{release}", server.address()).parse().unwrap();
    let payload = Payload::resolve(&registry, &pullspec, None).await?;
    extract(&registry, &payload, arch).await
}

#[tokio::test]
async fn the_component_is_found_wherever_tools_put_it() {
    let (single, multi) = (built(false, &[]), built(true, &[]));
    for Layout { what, multi: is_multi, release, component } in LAYOUTS {
        // Of its own, so that nothing is found that another row has left.
        let server = DockerRegistry::start();
        let built = if is_multi { &multi } else { &single };
        let Component { image, .. } = built.machine_os_images();
        let component = component.replace("{c}", &image.manifest().sha256().to_string());
        server.push(&component, image);
        server.push(release, &built.image);
        let arches = if is_multi { vec![Arch::X86_64, Arch::Arm64] } else { vec![Arch::X86_64] };
        for (arch, iso) in arches.into_iter().zip([iso(1), iso(2)]) {
            let extracted = take(&server, release, arch)
                .await
                .unwrap_or_else(|error| panic!("{what}: {}", shown(&error)));
            assert_eq!(extracted.content.sha256(), iso.sha256(), "{what}");
            assert!(extracted.is_proven(), "{what}");
        }
    }
}

/// The image for x86_64 alone, as a tool leaves it that drops manifest lists.
fn without_list(artifact: &Artifact) -> Artifact {
    let mut images = artifact.images().iter();
    images
        .find(|image| String::from_utf8_lossy(&image.config.bytes().unwrap()).contains("amd64"))
        .unwrap()
        .clone()
        .into()
}

#[tokio::test]
async fn where_lists_were_dropped_only_the_announced_iso_is_taken() {
    let (release, component) =
        ("ocp4/openshift4:4.18.52-x86_64", "ocp4/openshift4:4.18.52-x86_64-machine-os-images");
    let mirror = |flaws: &[Flaw], what: &dyn Fn(&Release) -> Artifact| {
        let server = DockerRegistry::start();
        let built = built(true, flaws);
        server.push(component, &what(&built));
        server.push(release, &without_list(&built.image));
        server
    };
    let child = |built: &Release| without_list(&built.machine_os_images().image);

    let server = mirror(&[], &child);
    let extracted = take(&server, release, Arch::X86_64).await.unwrap();
    assert!(extracted.is_proven());
    assert_eq!(extracted.content.sha256(), iso(1).sha256());

    // What the image itself says of its ISO proves nothing where nothing proves the image.
    let server = mirror(&[Flaw::OtherBootimages], &child);
    assert!(!take(&server, release, Arch::X86_64).await.unwrap().is_proven());

    let server = mirror(&[Flaw::NoBootimages], &child);
    let error = shown(&take(&server, release, Arch::X86_64).await.unwrap_err());
    for part in [
        "4.18.52-x86_64-machine-os-images: another image, sha256:",
        "the release announces no SHA-256 of the ISO for x86_64 to prove it by",
        "oc adm release mirror --keep-manifest-list=true",
    ] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }

    let other = |built: &Release| {
        let images = built.machine_os_images().image.images().to_vec();
        let arm64 = images
            .into_iter()
            .find(|image| String::from_utf8_lossy(&image.config.bytes().unwrap()).contains("arm64"));
        arm64.unwrap().into()
    };
    let error = shown(&take(&mirror(&[], &other), release, Arch::X86_64).await.unwrap_err());
    assert!(error.contains("which is not for x86_64"), "{error}");
}

#[tokio::test]
async fn when_nothing_is_found_every_place_is_named_with_its_own_reason() {
    let server = DockerRegistry::start();
    let built = built(false, &[]);
    server.push("mirror/openshift/release-images:4.18.52-x86_64", &built.image);
    let error =
        take(&server, "mirror/openshift/release-images:4.18.52-x86_64", Arch::X86_64).await.unwrap_err();
    let Error::ComponentUnavailable { attempts, .. } = &error else { panic!("{error:?}") };
    let places: Vec<_> = attempts.iter().map(|attempt| attempt.image.to_string()).collect();
    let digest = built.machine_os_images().image.digest();
    let address = server.address();
    let expected = [
        format!("{address}/mirror/openshift/release-images@{digest}"),
        format!("{address}/mirror/openshift/release@{digest}"),
        format!("{address}/openshift-release-dev/ocp-v4.0-art-dev@{digest}"),
        format!("{address}/mirror/openshift-release-dev/ocp-v4.0-art-dev@{digest}"),
        format!("{address}/mirror/openshift/openshift-release-dev/ocp-v4.0-art-dev@{digest}"),
        format!("{address}/mirror/openshift/ocp-v4.0-art-dev@{digest}"),
        format!("{address}/mirror/openshift/release-images:4.18.52-x86_64-machine-os-images"),
        format!("{address}/mirror/openshift/release:4.18.52-x86_64-machine-os-images"),
        format!("127.0.0.1:1/openshift-release-dev/ocp-v4.0-art-dev@{digest}"),
    ];
    assert_eq!(places, expected);
    let text = shown(&error);
    assert_eq!(text.matches("MANIFEST_UNKNOWN").count() + text.matches("NAME_UNKNOWN").count(), 8, "{text}");
    for part in ["no trusted TLS connection to https://127.0.0.1:1/", "no answer from https://127.0.0.1:1/"] {
        if text.contains(part) {
            assert!(text.contains("Mirror the release with its components"), "{text}");
            return;
        }
    }
    panic!("nothing is said of the origin: {text}");
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_asked_once() {
    let site = Site::new().await;
    let release = release("4.18.52").iso(Arch::X86_64, Content::from_bytes("x")).build().unwrap();
    let payload = site.resolve(&site.publish(&release)).await.unwrap();
    let Site { server, registry } = site;
    let address = server.address().to_owned();
    drop(server);
    let error = extract(&registry, &payload, Arch::X86_64).await.unwrap_err();
    let Error::ComponentUnavailable { attempts, .. } = &error else { panic!("{error:?}") };
    let not_asked = format!("not asked, {address} could not be reached before");
    let there = attempts.iter().filter(|attempt| attempt.image.registry() == address);
    let silent = there.clone().filter(|attempt| attempt.to_string().ends_with(&not_asked)).count();
    assert_eq!(silent, there.count() - 1, "{}", shown(&error));
    assert!(silent == 4 && error.is_retryable(), "{}", shown(&error));
}

#[tokio::test]
async fn a_place_without_the_layer_is_not_the_end_of_the_search() {
    let faults = [
        ("missing", Fault::status(404)),
        ("wrong", Fault::Corrupt(150_000)),
        ("failing", Fault::status(500)),
    ];
    for (what, fault) in faults {
        let site = Site::new().await;
        let origin = TokenRegistry::builder().anonymous().no_ranges().start().await;
        let path = "openshift-release-dev/ocp-v4.0-art-dev";
        let built = ReleaseBuilder::new("4.18.52", BUILD)
            .component_repository(&format!("{}/{path}", origin.address()))
            .iso(Arch::X86_64, iso(1))
            .build()
            .unwrap();
        let pullspec = site.publish(&built);
        let component = &built.machine_os_images().image;
        let layer = component.images()[0].layers.iter().max_by_key(|layer| layer.content.size()).unwrap();
        site.server.inject(&format!("{REPOSITORY}/blobs/{}", layer.content.digest()), fault);
        let registry = client_of(&[site.server.address(), origin.address()], r#"{"auths":{}}"#);
        let payload = Payload::resolve(&registry, &pullspec.parse().unwrap(), None).await.unwrap();

        // Nothing has the layer yet: every place is named, and what is wrong with it.
        let error = extract(&registry, &payload, Arch::X86_64).await.unwrap_err();
        let expected = format!("{}/{REPOSITORY}@{}: incomplete, ", site.server.address(), component.digest());
        assert!(shown(&error).contains(&expected), "{what}: {expected:?} is not in {}", shown(&error));

        origin.publish(path, "x", component);
        let mut live_iso = LiveIso::locate(&registry, &payload, Arch::X86_64).await.unwrap();
        assert_eq!(live_iso.image().registry(), site.server.address(), "{what}");
        let extracted = live_iso.extract(&registry, Memory::default()).await;
        let extracted = extracted.unwrap_or_else(|error| panic!("{what}: {}", shown(&error)));
        assert_eq!(live_iso.image().registry(), origin.address(), "{what}");
        assert_eq!(Content::from_bytes(extracted.sink.0).sha256(), iso(1).sha256(), "{what}");
        assert_eq!(extracted.stated.sha256, iso(1).sha256(), "{what}");
    }
}
