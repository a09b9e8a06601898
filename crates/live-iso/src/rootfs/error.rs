//! How taking something out of a root file system fails. Whether the machine, the ISO or its age is to blame decides about
//! another attempt.

use std::io;

/// Why something cannot be taken out of a root file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// The bytes could not be read: the fault of the machine, not of the ISO.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: String,
        /// Why it was not.
        source: io::Error,
    },
    /// The file is not there, as in the images of an older OS.
    #[error("the root file system has no {path:?}")]
    Missing {
        /// The file.
        path: String,
    },
    /// There is something else at the file's place, such as a symbolic link.
    #[error("{path:?} in the root file system is not a {expected}")]
    WrongKind {
        /// The place.
        path: String,
        /// What should be there.
        expected: &'static str,
    },
    /// The root file system is in a format that is not known here.
    #[error("this root file system cannot be read: {what} is not supported")]
    Unsupported {
        /// The unknown form.
        what: String,
    },
    /// A structure of the root file system breaks the rules of its format.
    #[error("{what} is malformed: {problem}")]
    Malformed {
        /// The structure.
        what: String,
        /// The rule.
        problem: &'static str,
    },
    /// A structure of the root file system cannot be understood, or does not unpack.
    #[error("{what} is corrupt")]
    Corrupt {
        /// The structure.
        what: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A single thing is larger than any that is known.
    #[error("{what} is too large: {len} bytes, at most {max} are accepted")]
    TooLarge {
        /// The thing.
        what: String,
        /// Its size.
        len: u64,
        /// The largest accepted.
        max: u64,
    },
    /// The root file system holds more than any that is known.
    #[error("the root file system holds more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        max: usize,
    },
}

impl RootfsError {
    /// Whether a sound root file system lacks the file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether a later version of this program might read it.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. } | Self::WrongKind { .. })
    }

    /// Whether the bytes could not be read at all, so that another attempt may end differently.
    pub fn is_read_failure(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    pub(super) fn malformed(what: impl Into<String>, problem: &'static str) -> Self {
        Self::Malformed { what: what.into(), problem }
    }

    /// What a failed read of `what` means: bytes that are not there are missing from the image.
    pub(super) fn from_io(what: impl Into<String>, source: io::Error) -> Self {
        let what = what.into();
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Corrupt { what, source },
            _ => Self::Read { what, source },
        }
    }
}
