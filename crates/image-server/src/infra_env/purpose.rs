//! What the parts of an infra-env are wanted for, which decides what is asked.

/// What an infra-env's customisation is embedded in. It decides what the source is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A CoreOS live ISO as a whole.
    FullIso,
    /// A live ISO that fetches its root file system.
    MinimalIso,
    /// An ISO that carries a whole release.
    DisconnectedIso,
    /// The initramfs of a host that boots over the network.
    NetworkBoot,
}

impl Purpose {
    /// How assisted-service calls this type of ISO; it makes another Ignition config for each.
    pub(super) const fn discovery_iso_type(self) -> Option<&'static str> {
        match self {
            Self::FullIso => Some("full-iso"),
            Self::MinimalIso => Some("minimal-iso"),
            Self::DisconnectedIso => Some("disconnected-iso"),
            Self::NetworkBoot => None,
        }
    }

    /// Whether there is a place for kernel arguments. Who boots over the network gives them to the kernel himself.
    pub(super) const fn takes_kernel_arguments(self) -> bool {
        !matches!(self, Self::NetworkBoot)
    }

    /// Whether a ramdisk brings the network configuration. In other ISOs the Ignition config does.
    pub(super) const fn takes_ramdisk(self) -> bool {
        matches!(self, Self::MinimalIso | Self::NetworkBoot)
    }
}
