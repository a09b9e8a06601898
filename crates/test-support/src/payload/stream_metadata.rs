use std::collections::BTreeMap;

use coreos_names::{Arch, Sha256};
use serde_json::{Value, json};

use super::Content;

/// What `openshift-install coreos print-stream-json` prints: one OS build and its artifacts for every architecture.
///
/// It lists all four architectures, wherever it is found. Those without an ISO here get an invented one.
#[derive(Clone, Debug)]
pub struct StreamMetadata {
    stream: String,
    build: String,
    isos: BTreeMap<Arch, Sha256>,
}

impl StreamMetadata {
    /// A stream, `rhel-9` for example, at a build.
    pub fn new(stream: &str, build: &str) -> Self {
        Self { stream: stream.to_owned(), build: build.to_owned(), isos: BTreeMap::new() }
    }

    /// States the digest of an architecture's live ISO.
    #[must_use]
    pub fn iso(mut self, arch: Arch, sha256: Sha256) -> Self {
        self.isos.insert(arch, sha256);
        self
    }

    /// The document.
    pub fn to_json(&self) -> Value {
        let architectures: BTreeMap<_, _> =
            Arch::ALL.map(|arch| (arch.rpm_name(), self.architecture(arch))).into();
        json!({
            "stream": self.stream,
            "metadata": {"last-modified": "2025-11-19T15:30:00Z", "generator": "plume cosa2stream 2025.11"},
            "architectures": architectures,
        })
    }

    fn architecture(&self, arch: Arch) -> Value {
        let artifact = |name: &str, sha256: Sha256| {
            let base = "https://rhcos.mirror.openshift.com/art/storage/prod/streams";
            let (stream, build, arch) = (&self.stream, &self.build, arch.rpm_name());
            let location = format!("{base}/{stream}/builds/{build}/{arch}/rhcos-{build}-{name}");
            json!({"location": location, "sha256": sha256})
        };
        let invented = |name: &str| {
            let words = format!("{} {} {arch} {name}", self.stream, self.build);
            artifact(name, Content::from_bytes(words).sha256())
        };
        let iso_name = format!("live-iso.{}.iso", arch.rpm_name());
        let iso =
            self.isos.get(&arch).map_or_else(|| invented(&iso_name), |&sha256| artifact(&iso_name, sha256));
        json!({
            "artifacts": {
                "metal": {
                    "release": self.build,
                    "formats": {
                        "iso": {"disk": iso},
                        "pxe": {
                            "kernel": invented("live-kernel"),
                            "initramfs": invented("live-initramfs.img"),
                            "rootfs": invented("live-rootfs.img"),
                        },
                        "raw.gz": {"disk": invented("metal.raw.gz")},
                    },
                },
            },
            "images": {},
        })
    }
}
