//! A release as an entry of assisted-service's list of OS images, which has to name every version that it offers.
//!
//! assisted-service's `OS_IMAGES` and the AgentServiceConfig's `spec.osImages`, from which its operator makes that setting,
//! have the same members under other names. Neither looks at a URL beyond that there is one.

use coreos_names::{Arch, OpenshiftVersion, OsBuild};
use oci_registry::{InvalidReference, Reference};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// One entry. Serialized, it is one of `OS_IMAGES`.
///
/// ```
/// use release_payload::OsImageEntry;
///
/// let entry = OsImageEntry {
///     openshift_version: "4.18".parse()?,
///     arch: "x86_64".parse()?,
///     os_build: "418.94.202511191518-0".parse()?,
///     release: "quay.io/openshift-release-dev/ocp-release:4.18.30-x86_64".parse()?,
/// };
/// let of_setting = serde_json::to_value(&entry)?;
/// assert_eq!(of_setting["openshift_version"], "4.18");
/// assert_eq!(of_setting["url"], "release-image://quay.io/openshift-release-dev/ocp-release:4.18.30-x86_64");
/// let of_spec = serde_json::to_value(entry.of_agent_service_config())?;
/// assert_eq!(of_spec["openshiftVersion"], "4.18");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsImageEntry {
    /// The version under which clients ask for it.
    pub openshift_version: OpenshiftVersion,
    /// The architecture.
    pub arch: Arch,
    /// The operating system's build, which both lists call `version`.
    pub os_build: OsBuild,
    /// The release image that carries the ISO.
    pub release: Reference,
}

impl OsImageEntry {
    /// The scheme of a URL that means an ISO inside a release.
    pub const SCHEME: &str = "release-image";

    /// Where the ISO is: [`Self::SCHEME`], `://` and the pullspec of the release.
    pub fn url(&self) -> String {
        Self::url_of(&self.release)
    }

    /// The same for any release.
    pub fn url_of(release: &Reference) -> String {
        format!("{}://{release}", Self::SCHEME)
    }

    /// The release that a URL means, or `None` if it has another scheme.
    pub fn release_of(url: &str) -> Option<Result<Reference, InvalidReference>> {
        url.strip_prefix(Self::SCHEME)?.strip_prefix("://").map(str::parse)
    }

    /// The entry as one of `spec.osImages` of an AgentServiceConfig.
    pub fn of_agent_service_config(&self) -> impl Serialize {
        OfAgentServiceConfig(self)
    }

    fn serialize_as<S: Serializer>(
        &self,
        serializer: S,
        [openshift_version, cpu_architecture]: [&'static str; 2],
    ) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_struct("OsImageEntry", 4)?;
        entry.serialize_field(openshift_version, &self.openshift_version.to_string())?;
        entry.serialize_field(cpu_architecture, self.arch.name())?;
        entry.serialize_field("version", self.os_build.as_str())?;
        entry.serialize_field("url", &self.url())?;
        entry.end()
    }
}

impl Serialize for OsImageEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_as(serializer, ["openshift_version", "cpu_architecture"])
    }
}

struct OfAgentServiceConfig<'a>(&'a OsImageEntry);

impl Serialize for OfAgentServiceConfig<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_as(serializer, ["openshiftVersion", "cpuArchitecture"])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::OsImageEntry;

    #[test]
    fn both_lists_have_the_members_that_their_readers_know() {
        let entry = OsImageEntry {
            openshift_version: "4.18.30".parse().unwrap(),
            arch: "aarch64".parse().unwrap(),
            os_build: "418.94.1-0".parse().unwrap(),
            release: "[fd00::1]:5000/ocp/release:4.18.30".parse().unwrap(),
        };
        let url = "release-image://[fd00::1]:5000/ocp/release:4.18.30";
        let of_setting = json!({"openshift_version": "4.18.30", "cpu_architecture": "arm64",
                                "version": "418.94.1-0", "url": url});
        assert_eq!(serde_json::to_value(&entry).unwrap(), of_setting);
        let of_spec = json!({"openshiftVersion": "4.18.30", "cpuArchitecture": "arm64",
                             "version": "418.94.1-0", "url": url});
        assert_eq!(serde_json::to_value(entry.of_agent_service_config()).unwrap(), of_spec);
    }

    #[test]
    fn a_release_is_read_from_its_url_and_from_no_other() {
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for release in ["quay.io/ocp/release:4.18.30-x86_64", &format!("m.example:5000/ocp/release@{digest}")]
        {
            let release = release.parse().unwrap();
            let url = OsImageEntry::url_of(&release);
            assert_eq!(OsImageEntry::release_of(&url), Some(Ok(release)));
        }
        for url in ["https://mirror/x.iso", "release-image", "release-image:quay.io/ocp/release:1", ""] {
            assert_eq!(OsImageEntry::release_of(url), None, "{url}");
        }
        assert!(OsImageEntry::release_of("release-image://").unwrap().is_err());
    }
}
