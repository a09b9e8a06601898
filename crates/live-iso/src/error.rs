//! The two ways in which this crate fails: an ISO is not as it should be ([`Error`]), or a wish cannot be granted
//! ([`PlanError`]). The former are for operators, the latter also for clients.

use std::io;

/// What is wrong with an ISO, or with reading it.
///
/// A feature that older ISOs lack is no error; it is an absent part of the [`Layout`](crate::Layout).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes could not be read: the fault of the machine, not of the ISO.
    #[error("cannot read {what}")]
    Read {
        /// What was to be read.
        what: String,
        /// Why it was not.
        source: io::Error,
    },
    /// The ISO ends before something that it says it holds.
    #[error("the ISO is truncated: {what} ends at byte {end}, the ISO at byte {size}")]
    Truncated {
        /// What is not all there.
        what: String,
        /// Where it ends.
        end: u64,
        /// Where the ISO ends.
        size: u64,
    },
    /// The bytes are something else than an ISO.
    #[error("not an ISO 9660 image: there is no primary volume descriptor")]
    NotIso9660,
    /// A structure of the ISO breaks the rules of its format.
    #[error("{what} is malformed: {problem}")]
    Malformed {
        /// The structure.
        what: String,
        /// The rule.
        problem: &'static str,
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
    /// The volume holds more than any that is known.
    #[error("the volume holds more than {max} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        max: u64,
    },
    /// A directory is its own descendant, or has two names.
    #[error("directory {path:?} is a loop: another directory lies at the same place")]
    DirectoryLoop {
        /// The directory.
        path: String,
    },
    /// A file has no single extent, which no part of a live ISO ever does without.
    #[error("file {path:?} is not stored in one piece")]
    Scattered {
        /// The file.
        path: String,
    },
    /// A sound ISO 9660 image, but not of a CoreOS.
    #[error("not a CoreOS live ISO: its volume id is {volume_id:?}")]
    NotCoreos {
        /// How it is called instead.
        volume_id: String,
    },
    /// A file without which a live ISO is none.
    #[error("the ISO has no file {path:?}")]
    MissingFile {
        /// The file.
        path: String,
    },
    /// There is no root file system to start from, nor to serve.
    #[error(
        "the ISO has no file \"images/pxeboot/rootfs.img\": it is a minimal ISO, or older than those of OpenShift 4.6"
    )]
    NoRootfs,
    /// One of the JSON files in `coreos/`.
    #[error("{path} cannot be understood")]
    Json {
        /// The file.
        path: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An embed area as it is described does not exist.
    #[error("{described_by} describes {area}, which does not exist: {problem}")]
    BadArea {
        /// The JSON file, or what else describes it.
        described_by: &'static str,
        /// The area.
        area: String,
        /// Why it does not exist.
        problem: &'static str,
    },
    /// The same area is described twice, and not the same.
    #[error("{first} and {second} disagree on {about}")]
    Contradiction {
        /// One description.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// What they describe.
        about: &'static str,
    },
    /// An embed area shares bytes with another one or with a file of the system, which writing it would destroy.
    #[error("{first} and {second} overlap")]
    OverlappingAreas {
        /// The area.
        first: String,
        /// What else is there.
        second: String,
    },
    /// Every boot loader has its own copy of the kernel arguments, and these should be the same.
    #[error("the kernel arguments in {first} and {second} differ")]
    KernelArgumentsDiffer {
        /// The file with one version.
        first: String,
        /// The file with the other.
        second: String,
    },
    /// An archive in an embed area breaks the rules of its format.
    #[error("the embedded archive is malformed at byte {offset}: {problem}")]
    Archive {
        /// Where, in the area or in what a compressed member of it unpacks to.
        offset: usize,
        /// The rule.
        problem: &'static str,
    },
    /// A compressed member of an embed area does not unpack.
    #[error("the {format} member at byte {offset} of the embedded archive does not unpack")]
    Unpack {
        /// How it is compressed.
        format: &'static str,
        /// Where it begins in the area.
        offset: usize,
        /// Why it does not unpack.
        source: io::Error,
    },
}

impl Error {
    /// Whether the bytes could not be read at all, so that another attempt may end differently.
    pub fn is_read_failure(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// Whether the ISO is cut short, as by a download that ended early.
    pub fn is_truncated(&self) -> bool {
        matches!(self, Self::Truncated { .. })
    }
}

/// Why a customised artifact cannot be had. The messages are meant for the client who asked for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The Ignition config is beyond anything that an initramfs should hold.
    #[error("the Ignition config is too large: it has {len} bytes, at most {max} are accepted")]
    IgnitionConfigTooLarge {
        /// The size of the config.
        len: usize,
        /// The largest accepted.
        max: usize,
    },
    /// The Ignition config does not fit into the ISO.
    #[error(
        "the Ignition config is too large: compressed it has {len} bytes, but this image has room for {area}"
    )]
    IgnitionTooLarge {
        /// The size of the compressed archive.
        len: u64,
        /// The size of the embed area.
        area: u64,
    },
    /// The ramdisk does not fit into the ISO.
    #[error("the network configuration is too large: it has {len} bytes, but this image has room for {room}")]
    RamdiskTooLarge {
        /// The size of the ramdisk.
        len: u64,
        /// What is left for it.
        room: u64,
    },
    /// The kernel arguments do not fit into the ISO.
    #[error("the kernel arguments are too long: they have {len} bytes, but this image has room for {room}")]
    KernelArgumentsTooLong {
        /// The size of the arguments, joined by spaces.
        len: usize,
        /// What is left behind the arguments that the image has already.
        room: usize,
    },
    /// A kernel argument would end the line it is written on.
    #[error(
        "kernel argument {position} holds the control character {character:?}: only printable text is accepted"
    )]
    InvalidKernelArgument {
        /// Which of the arguments, counted from 1.
        position: usize,
        /// The character.
        character: char,
    },
    /// The ISO has no place for an Ignition config.
    #[error("this image has no area for an Ignition config")]
    NoIgnitionArea,
    /// The ISO has no place for kernel arguments.
    #[error("this image has no area for kernel arguments")]
    NoKernelArgumentArea,
    /// The artifact has no place for a part of the customisation.
    #[error("the {artifact} has no place for {part}")]
    NotCustomizable {
        /// What was to be customised.
        artifact: &'static str,
        /// What was to be put in.
        part: &'static str,
    },
    /// The ISO does not have the artifact.
    #[error("this image has no {artifact}")]
    NoSuchArtifact {
        /// What was asked for.
        artifact: &'static str,
    },
    /// No minimal image can be made of the ISO.
    #[error("no minimal ISO can be made of this image: {reason}")]
    NoMinimalIso {
        /// What is missing, or too much.
        reason: String,
    },
    /// The URL of the root file system cannot be written into the configuration of a boot loader.
    #[error("the URL of the root file system is unusable: {problem}")]
    InvalidRootfsUrl {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The URL of the root file system does not fit into the ISO.
    #[error(
        "the URL of the root file system is too long: it has {len} bytes, but this image has room for {room}"
    )]
    RootfsUrlTooLong {
        /// The length of the URL.
        len: usize,
        /// The longest that fits.
        room: usize,
    },
    /// An overlay reaches beyond the end of what it is laid on.
    #[error("an overlay of {len} bytes at {offset} reaches beyond the end at {end}")]
    OverlayBeyondEnd {
        /// Where the overlay begins.
        offset: u64,
        /// Its size.
        len: u64,
        /// Where the plan ends.
        end: u64,
    },
    /// An overlay would hide part of another one.
    #[error("an overlay of {len} bytes at {offset} hides part of another one")]
    OverlappingOverlays {
        /// Where the overlay begins.
        offset: u64,
        /// Its size.
        len: u64,
    },
}

impl PlanError {
    /// Whether the fault lies in what was asked for, so that a smaller or cleaner wish would be granted.
    pub fn is_callers_fault(&self) -> bool {
        match self {
            Self::IgnitionConfigTooLarge { .. }
            | Self::IgnitionTooLarge { .. }
            | Self::RamdiskTooLarge { .. }
            | Self::KernelArgumentsTooLong { .. }
            | Self::InvalidKernelArgument { .. } => true,
            Self::NoIgnitionArea
            | Self::NoKernelArgumentArea
            | Self::NotCustomizable { .. }
            | Self::NoSuchArtifact { .. }
            | Self::NoMinimalIso { .. }
            | Self::InvalidRootfsUrl { .. }
            | Self::RootfsUrlTooLong { .. }
            | Self::OverlayBeyondEnd { .. }
            | Self::OverlappingOverlays { .. } => false,
        }
    }
}
