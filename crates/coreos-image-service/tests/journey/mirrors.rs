//! A release whose names lead nowhere, the files that say where it is, and whom to trust there.

use std::fs;
use std::process::Command;

use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::NOBODY;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::payload::{Content, Release, ReleaseBuilder};
use test_support::registry::{ClientCertificate, DockerRegistry, Fault, LoggedRequest, TokenRegistry};

use crate::IGNITION;
use crate::releases::push;
use crate::service::{FULL_ISO, Service};
use crate::tools::output;

/// A release as `oc-mirror` lays it out, in the second of two mirrors. The first one has nothing.
struct Mirrored {
    release: Release,
    mirrors: [DockerRegistry; 2],
    directory: TempDir,
}

impl Mirrored {
    fn new() -> Self {
        let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
        let release = ReleaseBuilder::new("4.18.52", OS_BUILD)
            .component_repository(&format!("{NOBODY}/openshift-release-dev/ocp-v4.0-art-dev"))
            .iso(Arch::X86_64, iso)
            .build()
            .unwrap();
        let mirrors = [DockerRegistry::start(), DockerRegistry::start()];
        for component in &release.components {
            mirrors[1].push(&format!("ocp/openshift/release:{}", component.tag), &component.image);
        }
        mirrors[1].push(&format!("ocp/openshift/release-images:{}", release.tag), &release.image);
        Self { release, mirrors, directory: TempDir::new().unwrap() }
    }

    /// Source and mirrors, for the release image and for its components.
    fn sources(&self) -> [(String, [String; 2]); 2] {
        [("ocp-release", "release-images"), ("ocp-v4.0-art-dev", "release")].map(|(source, mirror)| {
            let mirrors = self.mirrors.each_ref();
            let mirrors = mirrors.map(|registry| format!("{}/ocp/openshift/{mirror}", registry.address()));
            (format!("{NOBODY}/openshift-release-dev/{source}"), mirrors)
        })
    }

    /// Takes the ISO out of the release, with the text in a file that the variable names.
    fn extract(&self, image: &str, settings: &[(&str, &str)], (variable, text): (&str, &str)) {
        let file = self.directory.path().join(variable);
        fs::write(&file, text).unwrap();
        let auths = self.mirrors.each_ref().map(|registry| {
            let secret: Value = serde_json::from_str(&registry.pull_secret()).unwrap();
            (registry.address(), secret["auths"][registry.address()].clone())
        });
        let auths: Value = auths.into_iter().map(|(address, auth)| (address.to_owned(), auth)).collect();
        let to = self.directory.path().join("isos");
        fs::create_dir(&to).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        program
            .args(["release", "extract", &format!("{NOBODY}/openshift-release-dev/{image}")])
            .arg("--to")
            .arg(&to)
            .env("PULL_SECRET", json!({"auths": auths}).to_string())
            .envs(settings.iter().copied())
            .env(variable, &file);
        let extracted = output(&mut program);
        assert_eq!(fs::read(extracted.trim()).unwrap(), fs::read(live_iso(Arch::X86_64)).unwrap());
        for registry in &self.mirrors {
            let ours =
                registry.requests().into_iter().filter(|request| request.user_agent.contains("coreos"));
            assert!(ours.count() > 0, "{} was not asked", registry.address());
        }
    }
}

#[test]
fn registries_conf_leads_to_a_mirrored_release() {
    let mirrored = Mirrored::new();
    let tables = mirrored.sources().map(|(source, mirrors)| {
        let mirrors =
            mirrors.map(|mirror| format!("[[registry.mirror]]\nlocation = '{mirror}'\ninsecure = true\n"));
        format!("[[registry]]\nlocation = '{source}'\nblocked = true\n{}", mirrors.concat())
    });
    let image = format!("ocp-release:{}", mirrored.release.tag);
    mirrored.extract(&image, &[], ("REGISTRIES_CONF", &tables.concat()));
}

#[test]
fn mirror_sets_lead_to_a_mirrored_release() {
    let mirrored = Mirrored::new();
    let sets = mirrored.sources().map(|(source, mirrors)| {
        format!(
            "---\napiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nspec:\n  imageDigestMirrors:\n  \
             - mirrorSourcePolicy: NeverContactSource\n    mirrors: ['{}']\n    source: {source}\n",
            mirrors.join("', '")
        )
    });
    // A mirror set cannot say that its mirrors speak no TLS.
    let insecure = mirrored.mirrors.each_ref().map(DockerRegistry::address).join(",");
    let image = format!("ocp-release@{}", mirrored.release.image.digest());
    mirrored.extract(&image, &[("INSECURE_REGISTRIES", &insecure)], ("DIGEST_MIRRORS_FILE", &sets.concat()));
}

#[test]
fn tags_are_mirrored_by_sets_of_their_own_and_policies_of_old_count_too() {
    let mirrored = Mirrored::new();
    let [(release, releases), (component, components)] = mirrored.sources();
    let sets = json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "config.openshift.io/v1", "kind": "ImageTagMirrorSet",
            "spec": {"imageTagMirrors": [{"source": release, "mirrors": releases}]},
        },
        {
            "apiVersion": "operator.openshift.io/v1alpha1", "kind": "ImageContentSourcePolicy",
            "spec": {"repositoryDigestMirrors": [{"source": component, "mirrors": components}]},
        },
    ]});
    let insecure = mirrored.mirrors.each_ref().map(DockerRegistry::address).join(",");
    let image = format!("ocp-release:{}", mirrored.release.tag);
    let file = ("DIGEST_MIRRORS_FILE", &*sets.to_string());
    mirrored.extract(&image, &[("INSECURE_REGISTRIES", &insecure)], file);
}

#[test]
fn what_is_blocked_is_not_asked() {
    let registry = DockerRegistry::start();
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    let release = ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap();
    let pullspec = push(&registry, &release);
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("registries.conf");
    let inspect = |blocked: bool| {
        let address = registry.address();
        let rule = format!("[[registry]]\nlocation = '{address}'\ninsecure = true\nblocked = {blocked}\n");
        fs::write(&file, rule).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        program.args(["release", "inspect", &pullspec]).env("PULL_SECRET", registry.pull_secret());
        program.env("REGISTRIES_CONF", &file).output().unwrap()
    };
    let is_ours = |request: &LoggedRequest| request.user_agent.starts_with("coreos-image-service/");
    let refused = inspect(true);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("blocked"), "{told}");
    assert!(!registry.requests().iter().any(is_ours), "{}", registry.log());
    assert!(inspect(false).status.success(), "it is the rule that kept it from being asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_other_bytes_is_found_out_and_the_next_one_is_asked() {
    let mirrored = Mirrored::new();
    let liar = TokenRegistry::builder().anonymous().start().await;
    let release = &mirrored.release;
    liar.publish("openshift/release-images", &release.tag, &release.image);
    liar.inject(&format!("/manifests/{}", release.image.digest()), Fault::Replace(b"{}"));
    let component = release.machine_os_images();
    liar.publish("openshift/release", &component.tag, &component.image);
    let layers = component.image.images()[0].layers.iter();
    let layer = layers.max_by_key(|layer| layer.content.size()).unwrap().content.digest();
    liar.inject(&format!("/blobs/{layer}"), Fault::Corrupt(20_000_000));

    let honest = &mirrored.mirrors[1];
    let tables = mirrored.sources().map(|(source, [_, mirror])| {
        let name = mirror.rsplit_once('/').unwrap().1;
        let mirrors = [format!("{}/openshift/{name}", liar.address()), mirror];
        let mirrors =
            mirrors.map(|mirror| format!("[[registry.mirror]]\nlocation = '{mirror}'\ninsecure = true\n"));
        format!("[[registry]]\nlocation = '{source}'\nblocked = true\n{}", mirrors.concat())
    });
    let file = mirrored.directory.path().join("registries.conf");
    fs::write(&file, tables.concat()).unwrap();
    let pullspec = format!("{NOBODY}/openshift-release-dev/ocp-release@{}", release.image.digest());
    let service = Service::builder(mirrored.directory.path())
        .release("4.18", "4.18.52", "x86_64", &pullspec)
        .variable("REGISTRIES_CONF", file.to_str().unwrap())
        .pull_secret(&honest.pull_secret())
        .infra_env(IGNITION, &[])
        .start();
    service.wait_until_ready();
    assert_eq!(service.images()[0]["proof"], "digest");
    assert!(service.iso_without_ignition(FULL_ISO) == fs::read(live_iso(Arch::X86_64)).unwrap());
    for asked in [release.image.digest(), layer] {
        let requests = liar.requests();
        assert!(requests.iter().any(|request| request.path.ends_with(&asked)), "{asked}: {requests:?}");
    }
    let told = format!("wrong bytes came from {}/openshift/release", liar.address());
    assert!(service.log().contains(&told), "{}", service.log());
}

#[test]
fn a_registry_is_known_by_the_certificates_in_its_directory() {
    let registry = DockerRegistry::start_with_tls();
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    let release = ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap();
    let pullspec = push(&registry, &release);
    let certs = TempDir::new().unwrap();
    let inspected = || {
        let mut program = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        let pull_secret = ("PULL_SECRET", registry.pull_secret());
        program
            .args(["release", "inspect", &pullspec])
            .envs([pull_secret])
            .env("REGISTRY_CERTS_DIR", certs.path());
        program.output().unwrap().status.success()
    };
    assert!(!inspected(), "nobody is trusted yet");
    let host = certs.path().join(registry.address());
    fs::create_dir(&host).unwrap();
    fs::write(host.join("ca.crt"), registry.ca_pem()).unwrap();
    assert!(inspected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_shown_the_client_certificate_in_its_directory() {
    let certificate = ClientCertificate::generate();
    let registry = TokenRegistry::builder().anonymous().tls_with_clients(&certificate).start().await;
    let iso = Content::from_file(live_iso(Arch::X86_64)).unwrap();
    let release = ReleaseBuilder::new("4.18.52", OS_BUILD).iso(Arch::X86_64, iso).build().unwrap();
    for (tag, image) in [
        (&release.tag, &release.image),
        (&release.machine_os_images().tag, &release.machine_os_images().image),
    ] {
        registry.publish("mirror/ocp-release", tag, image);
    }
    let directory = TempDir::new().unwrap();
    let certs = directory.path().join("certs.d");
    let host = certs.join(registry.address());
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join("ca.crt"), registry.ca_pem()).unwrap();
    let pullspec = format!("{}/mirror/ocp-release:{}", registry.address(), release.tag);
    let start = || {
        Service::builder(directory.path())
            .release("4.18", "4.18.52", "x86_64", &pullspec)
            .variable("INSECURE_REGISTRIES", "")
            .variable("REGISTRY_CERTS_DIR", certs.to_str().unwrap())
            .pull_secret(r#"{"auths":{}}"#)
            .infra_env(IGNITION, &[])
            .start()
    };
    let service = start();
    service.wait_until_images("it is refused", |images| images[0]["state"] == "failed");
    assert!(registry.requests().is_empty(), "no request came through");
    service.stop();

    fs::write(host.join("client.key"), &certificate.key_pem).unwrap();
    fs::write(host.join("client.cert"), &certificate.certificate_pem).unwrap();
    let service = start();
    service.wait_until_ready();
    assert!(service.iso_without_ignition(FULL_ISO) == fs::read(live_iso(Arch::X86_64)).unwrap());
    assert!(!service.shown().contains("PRIVATE KEY"));
}
