//! What `operator` runs with. What the cluster itself says is no setting: it is in the `CoreosImageService`.

use std::net::IpAddr;

use oci_registry::Config;

use super::listeners::{Address, Port};
use super::{InvalidSettings, Merged, Problems, registry, signatures};

/// Settings of the operator.
#[derive(Debug)]
pub(crate) struct OperatorSettings {
    /// `None` for the one that the client's own configuration names.
    pub(crate) namespace: Option<String>,
    /// Begins what this replica is called in the Lease.
    pub(crate) pod_name: Option<String>,
    /// `None` is every interface.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) registry: Config,
    /// Whose signature a release must carry to be listed.
    pub(crate) signatures: Option<release_signature::Config>,
}

impl OperatorSettings {
    pub(crate) fn validate(merged: &Merged) -> Result<Self, InvalidSettings> {
        let mut problems: Problems = merged.problems();
        let Address(address) = merged.parsed("LISTEN_ADDRESS", Address(None), &mut problems);
        let Port(port) = merged.parsed("OPERATOR_LISTEN_PORT", Port(8383), &mut problems);
        let registry = registry::trust(merged, &mut problems);
        let signatures = signatures::read(merged, &registry, &mut problems);
        problems.finish(Some(Self {
            namespace: merged.text("POD_NAMESPACE").map(str::to_owned),
            pod_name: merged.text("POD_NAME").map(str::to_owned),
            address,
            port,
            registry,
            signatures,
        }))
    }
}
