use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use coreos_names::{Arch, Sha256};
use serde_json::{Value, json};

use super::{
    Artifact, Compression, Content, Image, ImageBuilder, Index, Layer, LayerBuilder, MediaTypes,
    StreamMetadata,
};

/// An OpenShift release in the making: ISOs become `machine-os-images` components, these a release payload.
///
/// With one ISO it is a release for one architecture, whose components are plain images; with [`multi`](Self::multi)
/// a list of release images for each architecture, whose components are lists.
#[derive(Debug)]
pub struct ReleaseBuilder {
    version: String,
    multi: bool,
    streams: Vec<Stream>,
    media_types: MediaTypes,
    compression: Compression,
    component_repository: String,
    flaws: Vec<Flaw>,
    component: Option<Artifact>,
    /// By their names in `release-manifests/`; `None` takes one away.
    manifests: BTreeMap<String, Option<Vec<u8>>>,
}

/// One generation of the operating system within a release.
#[derive(Debug)]
struct Stream {
    /// `coreos` or `coreos10`, the beginning of file names.
    prefix: &'static str,
    /// `rhel-9` or `rhel-10`.
    name: &'static str,
    build: String,
    isos: BTreeMap<Arch, Content>,
}

/// What may be wrong with a release. A layer whose bytes are not those of its digest is none of these: no builder can
/// make one, only a registry can serve it ([`Fault::Corrupt`](crate::registry::Fault::Corrupt)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// `image-references` does not name `machine-os-images`, as before 4.10.
    NoComponent,
    /// The component's list lacks this architecture.
    NoArch(Arch),
    /// The release has no `coreos-bootimages`.
    NoBootimages,
    /// `coreos-bootimages` announces only the default one of two generations, as before 4.22.
    OneAnnouncement,
    /// `coreos-bootimages` states another build and other digests than the component.
    OtherBootimages,
    /// The component has no stream metadata.
    NoStream,
    /// All stream metadata states digests that the ISOs do not have.
    WrongStream,
    /// There is no `.sha256` beside the ISO.
    NoSidecar,
    /// The `.sha256` beside the ISO is that of something else.
    WrongSidecar,
}

/// A release and the components that belong to it.
#[derive(Clone, Debug)]
pub struct Release {
    /// The version, `4.18.52`.
    pub version: String,
    /// The tag the release image would have at quay.io: `4.18.52-x86_64`, `4.18.52-multi`.
    pub tag: String,
    /// The release image, or the list of them.
    pub image: Artifact,
    /// The components. Those named in `image-references` but not here exist nowhere.
    pub components: Vec<Component>,
}

/// A component of a release.
#[derive(Clone, Debug)]
pub struct Component {
    /// The name in `image-references`.
    pub name: String,
    /// The tag `oc adm release mirror` gives it: `4.18.52-x86_64-machine-os-images`.
    pub tag: String,
    /// The image, or the list of them.
    pub image: Artifact,
}

impl Release {
    /// The component that holds the ISOs.
    pub fn machine_os_images(&self) -> &Component {
        self.components
            .iter()
            .find(|component| component.name == MACHINE_OS_IMAGES)
            .expect("built with every release")
    }
}

const MACHINE_OS_IMAGES: &str = "machine-os-images";
const OPERATOR_LABEL: &str = "io.openshift.release.operator";

impl ReleaseBuilder {
    const COMPONENT_REPOSITORY: &str = "quay.io/openshift-release-dev/ocp-v4.0-art-dev";
    /// Components that a release names beside the one with the ISOs. Nothing is at their digests.
    const OTHER_COMPONENTS: [&str; 4] =
        ["cluster-version-operator", "machine-config-operator", "rhel-coreos", "tools"];

    /// A release of this version (`4.18.52`, without `-multi`) whose ISOs are of this OS build.
    pub fn new(version: &str, build: &str) -> Self {
        let stream =
            Stream { prefix: "coreos", name: "rhel-9", build: build.to_owned(), isos: BTreeMap::new() };
        Self {
            version: version.to_owned(),
            multi: false,
            streams: vec![stream],
            media_types: MediaTypes::default(),
            compression: Compression::default(),
            component_repository: Self::COMPONENT_REPOSITORY.to_owned(),
            flaws: Vec::new(),
            component: None,
            manifests: BTreeMap::new(),
        }
    }

    /// Adds the ISO of an architecture.
    #[must_use]
    pub fn iso(mut self, arch: Arch, iso: Content) -> Self {
        self.streams[0].isos.insert(arch, iso);
        self
    }

    /// Adds a second generation of the OS: `coreos10-…` beside `coreos-…` as from 4.23 on, or alone as in OKD 5.
    #[must_use]
    pub fn coreos10(mut self, build: &str, isos: impl IntoIterator<Item = (Arch, Content)>) -> Self {
        let isos = isos.into_iter().collect();
        self.streams.push(Stream { prefix: "coreos10", name: "rhel-10", build: build.to_owned(), isos });
        self
    }

    /// Makes it a release for all the architectures that have an ISO.
    #[must_use]
    pub fn multi(self) -> Self {
        Self { multi: true, ..self }
    }

    /// Writes manifests in these words. The default is Docker's.
    #[must_use]
    pub fn media_types(self, media_types: MediaTypes) -> Self {
        Self { media_types, ..self }
    }

    /// Packs layers so. The default is gzip.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// Refers to components in this repository. The default is the one of all OpenShift releases at quay.io.
    #[must_use]
    pub fn component_repository(self, repository: &str) -> Self {
        Self { component_repository: repository.to_owned(), ..self }
    }

    /// Takes this image, or list of them, for `machine-os-images`, whatever is in it.
    #[must_use]
    pub fn machine_os_images(self, image: impl Into<Artifact>) -> Self {
        Self { component: Some(image.into()), ..self }
    }

    /// Replaces or adds a file in `release-manifests/`, or takes it away.
    #[must_use]
    pub fn release_manifest(mut self, name: &str, contents: Option<&[u8]>) -> Self {
        self.manifests.insert(name.to_owned(), contents.map(<[u8]>::to_vec));
        self
    }

    /// Gets something wrong.
    #[must_use]
    pub fn flaw(mut self, flaw: Flaw) -> Self {
        self.flaws.push(flaw);
        self
    }

    /// Builds the release, large layers in the system's temporary directory.
    pub fn build(self) -> io::Result<Release> {
        self.build_in(&std::env::temp_dir())
    }

    /// Builds the release, large layers as temporary files in this directory.
    ///
    /// # Panics
    ///
    /// If there is no ISO, or there are ISOs of several architectures and the release is not [`multi`](Self::multi).
    pub fn build_in(self, scratch: &Path) -> io::Result<Release> {
        let arches: BTreeSet<Arch> = self.streams().flat_map(|stream| stream.isos.keys().copied()).collect();
        let arches: Vec<Arch> = arches.into_iter().collect();
        assert!(!arches.is_empty(), "a release needs an ISO");
        assert!(self.multi || arches.len() == 1, "ISOs of several architectures need a multi release");

        let listed = arches.iter().filter(|&&arch| !self.has(Flaw::NoArch(arch)));
        let component = if let Some(component) = &self.component {
            component.clone()
        } else {
            let components: io::Result<Vec<_>> =
                listed.map(|&arch| self.component_image(arch, scratch)).collect();
            self.artifact(components?)
        };
        let manifests = self.release_manifests(&component.digest())?;
        let releases: io::Result<Vec<_>> =
            arches.iter().map(|&arch| self.release_image(arch, &manifests)).collect();

        let suffix = if self.multi { "multi" } else { arches[0].rpm_name() };
        let tag = format!("{}-{suffix}", self.version);
        let component = Component {
            name: MACHINE_OS_IMAGES.to_owned(),
            tag: format!("{tag}-{MACHINE_OS_IMAGES}"),
            image: component,
        };
        Ok(Release {
            image: self.artifact(releases?),
            version: self.version,
            tag,
            components: vec![component],
        })
    }

    /// The generations that there are ISOs of.
    fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(|stream| !stream.isos.is_empty())
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaws.contains(&flaw)
    }

    fn artifact(&self, mut images: Vec<Image>) -> Artifact {
        match images.pop() {
            Some(image) if !self.multi => image.into(),
            last => Index::new(self.media_types, images.into_iter().chain(last).collect()).into(),
        }
    }

    /// What a layer of some other image would hold.
    fn small_layer(&self, name: &str, words: &str) -> io::Result<Layer> {
        LayerBuilder::new(self.compression).file(name, words).build()
    }

    /// Three layers, as the Dockerfile makes them: its base, the ISO with what belongs to it, and `oc` above.
    fn component_image(&self, arch: Arch, scratch: &Path) -> io::Result<Image> {
        let mut files = BTreeMap::new();
        for stream in self.streams() {
            let Stream { prefix, .. } = stream;
            if !self.has(Flaw::NoStream) {
                let document = self.stream_metadata(stream, &stream.build).to_json().to_string();
                files.insert(format!("coreos/{prefix}-stream.json"), Content::from_bytes(document));
            }
            let Some(iso) = stream.isos.get(&arch) else { continue };
            let name = format!("coreos/{prefix}-{}.iso", arch.rpm_name());
            if !self.has(Flaw::NoSidecar) {
                let stated = if self.has(Flaw::WrongSidecar) { wrong(iso.sha256()) } else { iso.sha256() };
                files.insert(format!("{name}.sha256"), Content::from_bytes(stated.to_string()));
            }
            files.insert(name, iso.clone());
        }
        let coreos = LayerBuilder::new(self.compression).directory("coreos");
        let coreos = files.into_iter().fold(coreos, |layer, (name, content)| layer.content(&name, content));
        Ok(ImageBuilder::new(self.media_types, arch)
            .label(OPERATOR_LABEL, "true")
            .layer(self.small_layer("etc/os-release", &format!("ID=rhel\nARCH={arch}\n"))?)
            .layer(coreos.build_in(scratch)?)
            .layer(self.small_layer("usr/bin/oc", &format!("oc for {arch}"))?)
            .build())
    }

    fn stream_metadata(&self, stream: &Stream, build: &str) -> StreamMetadata {
        let stated = |sha256| if self.has(Flaw::WrongStream) { wrong(sha256) } else { sha256 };
        let metadata = StreamMetadata::new(stream.name, build);
        stream.isos.iter().fold(metadata, |metadata, (&arch, iso)| metadata.iso(arch, stated(iso.sha256())))
    }

    /// The cluster-version-operator of the architecture, and on top the layer that `oc adm release new` writes.
    fn release_image(&self, arch: Arch, manifests: &Layer) -> io::Result<Image> {
        let base =
            self.small_layer("usr/bin/cluster-version-operator", &format!("the operator for {arch}"))?;
        Ok(ImageBuilder::new(self.media_types, arch)
            .label("io.openshift.release", &self.version)
            .label("io.openshift.release.base-image-digest", &base.content.digest())
            .layer(base)
            .layer(manifests.clone())
            .build())
    }

    /// The same for every architecture, and in the order `oc` writes it.
    fn release_manifests(&self, component_digest: &str) -> io::Result<Layer> {
        let namespace =
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: openshift-cluster-version\n".to_owned();
        let mut files = vec![
            ("image-references".to_owned(), pretty(&self.image_references(component_digest)).into_bytes()),
            ("release-metadata".to_owned(), pretty(&self.release_metadata()).into_bytes()),
            ("0000_00_cluster-version-operator_00_namespace.yaml".to_owned(), namespace.into_bytes()),
        ];
        if !self.has(Flaw::NoBootimages) {
            let name = "0000_50_installer_coreos-bootimages.yaml".to_owned();
            files.push((name, self.bootimages().into_bytes()));
        }
        for (name, contents) in &self.manifests {
            files.retain(|(other, _)| other != name);
            files.extend(contents.clone().map(|contents| (name.clone(), contents)));
        }
        let layer = LayerBuilder::new(self.compression).directory("release-manifests");
        let add = |layer: LayerBuilder, (name, contents): (String, Vec<u8>)| {
            layer.file(&format!("release-manifests/{name}"), contents)
        };
        files.into_iter().fold(layer, add).build()
    }

    fn image_references(&self, component_digest: &str) -> Value {
        let tag = |name: &str, digest: &str| {
            let from =
                json!({"kind": "DockerImage", "name": format!("{}@{digest}", self.component_repository)});
            json!({"name": name, "annotations": {"io.openshift.build.commit.id": ""}, "from": from})
        };
        let invented = |name: &str| Content::from_bytes(format!("{name} {}", self.version)).digest();
        let mut tags: Vec<_> = Self::OTHER_COMPONENTS.iter().map(|name| tag(name, &invented(name))).collect();
        if !self.has(Flaw::NoComponent) {
            tags.insert(2, tag(MACHINE_OS_IMAGES, component_digest));
        }
        json!({
            "kind": "ImageStream",
            "apiVersion": "image.openshift.io/v1",
            "metadata": {"name": self.version, "creationTimestamp": "2025-11-20T08:00:00Z", "annotations": {}},
            "spec": {"lookupPolicy": {"local": false}, "tags": tags},
            "status": {"dockerImageRepository": ""},
        })
    }

    fn release_metadata(&self) -> Value {
        let mut metadata = json!({"url": "https://access.redhat.com/errata/RHBA-2025:0000"});
        if self.multi {
            metadata["release.openshift.io/architecture"] = json!("multi");
        }
        json!({"kind": "cincinnati-metadata-v0", "version": self.version, "previous": [], "metadata": metadata})
    }

    fn bootimages(&self) -> String {
        let announced = |stream: &Stream| {
            if !self.has(Flaw::OtherBootimages) {
                return self.stream_metadata(stream, &stream.build).to_json();
            }
            let metadata = StreamMetadata::new(stream.name, &format!("{}9", stream.build));
            let isos = stream.isos.iter();
            isos.fold(metadata, |metadata, (&arch, iso)| metadata.iso(arch, wrong(iso.sha256()))).to_json()
        };
        let mut yaml = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: coreos-bootimages\n  \
             namespace: openshift-machine-config-operator\n  annotations:\n    \
             include.release.openshift.io/self-managed-high-availability: \"true\"\ndata:\n  \
             releaseVersion: {}\n",
            self.version
        );
        let mut add = |name: &str, document: &Value| {
            yaml.extend(["  ", name, ": |\n"]);
            for line in pretty(document).lines() {
                yaml.extend(["    ", line, "\n"]);
            }
        };
        add("stream", &announced(self.streams().next().expect("checked at the start")));
        if self.streams().count() > 1 && !self.has(Flaw::OneAnnouncement) {
            let streams: BTreeMap<_, _> =
                self.streams().map(|stream| (stream.name, announced(stream))).collect();
            add("streams", &json!(streams));
        }
        yaml
    }
}

/// Some other digest.
fn wrong(sha256: Sha256) -> Sha256 {
    Content::from_bytes(sha256.to_string()).sha256()
}

fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).expect("a JSON value is JSON")
}
