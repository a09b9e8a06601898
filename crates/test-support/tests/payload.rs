//! Payloads, as tools that know nothing of this crate see them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Command;

use coreos_names::Arch;
use flate2::read::GzDecoder;
use serde_json::Value;
use test_support::payload::{Content, Flaw, Image, Layer, ReleaseBuilder};
use test_support::registry::DockerRegistry;

const BUILD: &str = "418.94.202511191518-0";

fn iso(words: &str) -> Content {
    Content::from_bytes(words.as_bytes().to_vec())
}

/// The members of a layer in their order, with their bytes.
fn members(layer: &Layer) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(GzDecoder::new(layer.content.open().unwrap()));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry: tar::Entry<'_, GzDecoder<_>> = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

fn files(image: &Image) -> BTreeMap<String, Vec<u8>> {
    image.layers.iter().flat_map(members).collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn the_last_layer_of_a_release_leads_to_the_iso() {
    let release = ReleaseBuilder::new("4.18.52", BUILD).iso(Arch::Arm64, iso("an ISO")).build().unwrap();
    assert_eq!(release.tag, "4.18.52-aarch64");
    let [image] = release.image.images() else { panic!("one image") };
    let members = members(image.layers.last().unwrap());
    let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..3],
        ["release-manifests/", "release-manifests/image-references", "release-manifests/release-metadata"]
    );

    let references = json(&members[1].1);
    assert_eq!(references["metadata"]["name"], "4.18.52");
    let tags = references["spec"]["tags"].as_array().unwrap();
    let tag = tags.iter().find(|tag| tag["name"] == "machine-os-images").unwrap();
    let component = release.machine_os_images();
    let pullspec = format!("quay.io/openshift-release-dev/ocp-v4.0-art-dev@{}", component.image.digest());
    assert_eq!(tag["from"]["name"], pullspec);
    assert_eq!(json(&members[2].1)["metadata"]["release.openshift.io/architecture"], Value::Null);

    assert_eq!(component.tag, "4.18.52-aarch64-machine-os-images");
    let files = files(&component.image.images()[0]);
    assert_eq!(files["coreos/coreos-aarch64.iso"], b"an ISO");
    assert_eq!(files["coreos/coreos-aarch64.iso.sha256"], iso("an ISO").sha256().to_string().as_bytes());
    let stream = json(&files["coreos/coreos-stream.json"]);
    let metal = &stream["architectures"]["aarch64"]["artifacts"]["metal"];
    assert_eq!(metal["release"], BUILD);
    assert_eq!(metal["formats"]["iso"]["disk"]["sha256"], iso("an ISO").sha256().to_string());
    assert!(stream["architectures"]["s390x"].is_object());
}

#[test]
fn flaws_are_where_they_should_be() {
    let build = |flaw| {
        let builder =
            ReleaseBuilder::new("4.18.52", BUILD).iso(Arch::X86_64, iso("x")).iso(Arch::S390x, iso("s"));
        let release = builder.multi().flaw(flaw).build().unwrap();
        let component = release.machine_os_images().image.images()[0].clone();
        (files(&release.image.images()[0]), files(&component), release)
    };
    let references = "release-manifests/image-references";
    let bootimages = "release-manifests/0000_50_installer_coreos-bootimages.yaml";
    let (sha256, sidecar) = (iso("x").sha256().to_string(), "coreos/coreos-x86_64.iso.sha256");
    let states = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&sha256);

    assert!(!build(Flaw::NoComponent).0[references].windows(17).any(|words| words == b"machine-os-images"));
    assert_eq!(build(Flaw::NoArch(Arch::S390x)).2.machine_os_images().image.images().len(), 1);
    assert!(!build(Flaw::NoBootimages).0.contains_key(bootimages));
    let (release, component, _) = build(Flaw::OtherBootimages);
    assert!(!states(&release[bootimages]) && states(&component["coreos/coreos-stream.json"]));
    assert!(!build(Flaw::NoStream).1.contains_key("coreos/coreos-stream.json"));
    let (release, component, _) = build(Flaw::WrongStream);
    assert!(!states(&release[bootimages]) && !states(&component["coreos/coreos-stream.json"]));
    assert!(!build(Flaw::NoSidecar).1.contains_key(sidecar));
    assert!(!states(&build(Flaw::WrongSidecar).1[sidecar]));
}

#[test]
fn the_second_generation_may_come_beside_the_first_or_alone() {
    let both = ReleaseBuilder::new("5.0.0", "9.8.20260428-0").iso(Arch::X86_64, iso("9"));
    let both = both.coreos10("10.2.20260715-0", [(Arch::X86_64, iso("10"))]).build().unwrap();
    let files_of_both = files(&both.machine_os_images().image.images()[0]);
    assert_eq!(files_of_both["coreos/coreos-x86_64.iso"], b"9");
    assert_eq!(files_of_both["coreos/coreos10-x86_64.iso"], b"10");

    let alone =
        ReleaseBuilder::new("5.0.0", "unused").coreos10("10.2.20260715-0", [(Arch::X86_64, iso("10"))]);
    let files_alone = files(&alone.build().unwrap().machine_os_images().image.images()[0]);
    assert!(files_alone.contains_key("coreos/coreos10-stream.json"));
    assert!(!files_alone.contains_key("coreos/coreos-stream.json"));
}

#[test]
fn skopeo_pushes_a_multi_architecture_release_as_it_is() {
    let isos = Arch::ALL.map(|arch| (arch, iso(arch.name())));
    let builder =
        isos.into_iter().fold(ReleaseBuilder::new("4.18.52", BUILD), |b, (arch, iso)| b.iso(arch, iso));
    let release = builder.multi().build().unwrap();
    assert_eq!(release.tag, "4.18.52-multi");

    let registry = DockerRegistry::start();
    registry.push(&format!("openshift/release-images:{}", release.tag), &release.image);
    let component = release.machine_os_images();
    registry.push(&format!("openshift/release:{}", component.tag), &component.image);
    for (repository, digest) in [
        ("openshift/release-images", release.image.digest()),
        ("openshift/release", component.image.digest()),
    ] {
        let output = Command::new("skopeo")
            .args(["inspect", "--raw", "--tls-verify=false", "--creds"])
            .arg(format!("{}:{}", DockerRegistry::USER, DockerRegistry::PASSWORD))
            .arg(format!("docker://{}/{repository}@{digest}", registry.address()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let list = json(&output.stdout);
        let arches: Vec<_> =
            list["manifests"].as_array().unwrap().iter().map(|m| &m["platform"]["architecture"]).collect();
        assert_eq!(arches, Arch::ALL.map(Arch::oci_name));
    }
}
