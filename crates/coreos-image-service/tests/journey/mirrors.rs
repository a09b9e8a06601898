//! A release whose names lead nowhere, the files that say where it is, and whom to trust there.

use std::fs;
use std::process::Command;

use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::NOBODY;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::payload::{Content, Release, ReleaseBuilder};
use test_support::registry::DockerRegistry;

use crate::releases::push;
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
