use std::fmt;
use std::str::FromStr;

/// What kind of ISO an image in the store is.
///
/// The minimal ISO is not here: it is planned from the full one and never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageKind {
    /// A CoreOS live ISO as its build published it.
    Full,
    /// An appliance ISO that carries a whole release for sites with no registry.
    Disconnected,
}

impl ImageKind {
    /// The name in `OS_IMAGES` entries, URLs and file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full-iso",
            Self::Disconnected => "disconnected-iso",
        }
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no kind of ISO.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown image kind {0:?}: expected full-iso or disconnected-iso")]
pub struct UnknownImageKind(pub String);

impl FromStr for ImageKind {
    type Err = UnknownImageKind;

    fn from_str(text: &str) -> Result<Self, UnknownImageKind> {
        match text {
            "full-iso" => Ok(Self::Full),
            "disconnected-iso" => Ok(Self::Disconnected),
            other => Err(UnknownImageKind(other.to_owned())),
        }
    }
}

crate::serde_as_text!(ImageKind);
