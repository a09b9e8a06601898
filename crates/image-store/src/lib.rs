//! The hall between the two wings: what is on disk, what state it is in, and who holds it.
//!
//! An image passes through three types on its way in: [`Staging`] (bytes arrive and are hashed), [`Sealed`] (proven,
//! understood, on stable storage) and [`Image`] (published under its final name and recorded in the index). The
//! [`Catalog`] tells which request means which image; a [`Lease`] keeps an image readable for as long as somebody holds it.
//!
//! # On disk
//!
//! ```text
//! DATA_DIR/
//!   rhcos-full-iso-418.94.202511191518-0-x86_64.iso    images, named as the predecessor named them
//!   .coreos-image-service/v1/
//!     lock                                             held (flock) while a file and its record change together
//!     feed.json                                        what a feed asked for, for a start at which it cannot be asked
//!     staging/<instance>-<number>.iso                  images on their way in, each locked (flock) by its process
//!     staging/<name>.part, <name>.part.json            the same, where a later process can go on
//!     images/<name of the key's file>.json             index: what was proven of each image, and whose file it is
//!     releases/<sha256 of the pullspec>.json           index: which images a release image was resolved to
//!     nmstate/<sha256 of the ISO>-<version>.cpio.gz    what minimal ISOs carry, taken out of the image; and its .json
//! ```
//!
//! Files are written beside their final place, synced and renamed, so a reader sees all of one or nothing. What is not
//! drawn here is not ours and is never touched, with one exception: a file that has the name of an image but is not that
//! image (it is damaged, or another one) would be in its way forever. When the image is there the file is renamed to
//! `<name>.unusable-<seconds since 1970>`, and a warning says so. It is for the admin to look at and to remove.
//!
//! # What was there before
//!
//! An ISO that the predecessor left is served where it lies. Once an entry of the configuration has wanted it, it is retired and removed as ours are: after an upgrade
//! the old builds would fill the volume. What no entry has ever wanted stays. It is known by its
//! name: `rhcos-full-iso-<RHCOS version>-<arch>.iso`, or the older `rhcos-full-iso-<OpenShift version>-<RHCOS
//! version>-<arch>.iso` with any OpenShift version, because the RHCOS version alone says which image it is; `arch` may be
//! `aarch64` too. Its layout is checked and it is hashed once; the index remembers. The predecessor's other files (minimal
//! ISOs, nmstate archives, what it was working on) are left alone.
//!
//! # When digests differ
//!
//! | there is | a release states another | the admin states another | nobody states any |
//! |---|---|---|---|
//! | an image we published, proven by a release | conflict | conflict | served |
//! | one we published, proven otherwise | conflict | replaced at one instant; old leases live on | served |
//! | one that was there before, under the key's name | moved aside | moved aside | served |
//! | the same, proven by a release | conflict | conflict | served |
//! | one that was there before, under an older name | passed over | passed over | served |
//!
//! An image that turns out to have the digest that a stronger source states gets the stronger proof.

mod catalog;
mod error;
mod find;
mod image;
mod index;
mod key;
mod nmstate;
mod part;
mod proof;
mod retire;
mod send;
mod space;
mod staging;
mod staging_file;
mod statistics;
mod store;
mod verified;

pub use catalog::{
    Catalog, DesiredImage, EntryId, Found, ImageReport, ImageState, ListReport, Lookup, WantedImages,
};
pub use error::Error;
pub use image::{Image, Lease};
pub use index::{ResolvedImage, ResolvedRelease};
pub use key::ImageKey;
pub use nmstate::{NmstateArchive, NmstateTrouble};
pub use proof::{Expected, Proof};
pub use retire::Wanted;
pub use space::Limits;
pub use staging::{Sealed, Staging, sha256};
pub use staging_file::{StagingFile, remove_if_abandoned};
pub use statistics::Statistics;
pub use store::ImageStore;
