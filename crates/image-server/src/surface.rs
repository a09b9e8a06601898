//! Which part of the service a listener shows.

use crate::clean_path::ROUTES;

/// The routes that a listener shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// All of them.
    Everything,
    /// What firmware that trusts no certificate boots from, and the operational routes. For a listener without TLS
    /// beside one that has it.
    NetworkBoot,
}

impl Surface {
    /// Whether a path belongs to images or boot artifacts, there or not.
    pub(crate) fn serves(self, path: &str) -> bool {
        let Some((first, _)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return false;
        };
        let is_shown = match self {
            Self::Everything => true,
            Self::NetworkBoot => first == "boot-artifacts" || path.ends_with("/pxe-initrd"),
        };
        is_shown && ROUTES.contains(&first)
    }
}
