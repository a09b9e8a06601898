use std::collections::BTreeMap;

use serde::Deserialize;

use super::metadata;
use crate::read_at::Source;
use crate::{Error, ReadAt, Volume};

const FEATURES: &str = "coreos/features.json";

/// What the operating system in an ISO understands of `coreos-installer iso customize`: `coreos/features.json`.
///
/// It informs; nothing in this crate depends on it. A feature that the file does not name is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Features {
    installer_config: bool,
    installer_config_directives: BTreeMap<String, bool>,
    live_initrd_network: bool,
}

impl Features {
    pub(super) fn find<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
    ) -> Result<Option<Self>, Error> {
        metadata::read(source, volume, FEATURES)
    }

    /// Whether it runs coreos-installer as config files in the initramfs tell it to.
    pub fn installer_config(&self) -> bool {
        self.installer_config
    }

    /// What such a config file may tell, in alphabetical order. None in images before September 2022, which do not say.
    pub fn installer_config_directives(&self) -> impl Iterator<Item = &str> {
        self.installer_config_directives.iter().filter(|(_, known)| **known).map(|(name, _)| name.as_str())
    }

    /// Whether it takes the network configuration of the live system from the initramfs.
    pub fn live_initrd_network(&self) -> bool {
        self.live_initrd_network
    }
}
