//! `coreos/features.json`, which says what the operating system understands of `coreos-installer iso customize`:
//!
//! ```json
//! {"installer-config": true, "installer-config-directives": {"dest-device": true}, "live-initrd-network": true}
//! ```
//!
//! Unlike the other files in `coreos/` it describes no bytes of the ISO, so nothing it says can make an ISO unusable.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::metadata;
use crate::read_at::Source;
use crate::{Error, ReadAt, Volume};

const FEATURES: &str = "coreos/features.json";

/// What the operating system in an ISO understands of `coreos-installer iso customize`: `coreos/features.json`.
///
/// It informs; nothing can be had or not because of it. A feature for which the file has anything but `true` is not
/// there, and a file that cannot be understood is taken for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    installer_config: bool,
    installer_config_directives: BTreeSet<String>,
    live_initrd_network: bool,
}

impl Features {
    /// Fails only if the bytes are not to be had.
    pub(super) fn find<R: ReadAt + ?Sized>(
        source: &Source<'_, R>,
        volume: &Volume,
    ) -> Result<Option<Self>, Error> {
        match metadata::read::<Map<String, Value>, R>(source, volume, FEATURES) {
            Ok(features) => Ok(features.as_ref().map(Self::told_by)),
            Err(error) if error.is_read_failure() || error.is_truncated() => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn told_by(features: &Map<String, Value>) -> Self {
        let is_true = |name: &str| features.get(name) == Some(&Value::Bool(true));
        let directives = features.get("installer-config-directives").and_then(Value::as_object);
        let known = directives.into_iter().flatten().filter(|(_, known)| **known == Value::Bool(true));
        Self {
            installer_config: is_true("installer-config"),
            installer_config_directives: known.map(|(name, _)| name.clone()).collect(),
            live_initrd_network: is_true("live-initrd-network"),
        }
    }

    /// Whether it runs coreos-installer as config files in the initramfs tell it to.
    pub fn installer_config(&self) -> bool {
        self.installer_config
    }

    /// What such a config file may tell, in alphabetical order. None in images before September 2022, which do not say.
    pub fn installer_config_directives(&self) -> impl Iterator<Item = &str> {
        self.installer_config_directives.iter().map(String::as_str)
    }

    /// Whether it takes the network configuration of the live system from the initramfs.
    pub fn live_initrd_network(&self) -> bool {
        self.live_initrd_network
    }
}
