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
//!   rhcos-full-iso-418.94.202511191518-0-x86_64.iso    published images, named as the predecessor named them
//!   .coreos-image-service/v1/
//!     staging/<instance>-<number>.iso                  images on their way in, each locked (flock) by its process
//!     images/<name of the published file>.json         index: what was proven of each published image
//!     releases/<sha256 of the pullspec>.json           index: which images a release image was resolved to
//! ```
//!
//! Files are written beside their final place, synced and renamed, so a reader sees all of one or nothing. What is not
//! drawn here is not ours and is never touched.

mod catalog;
mod error;
mod image;
mod index;
mod key;
mod send;
mod staging;
mod store;

pub use catalog::{Catalog, DesiredImage, EntryId, ImageReport, ImageState, Lookup};
pub use error::Error;
pub use image::{Image, Lease, Proof};
pub use index::{ResolvedImage, ResolvedRelease};
pub use key::ImageKey;
pub use staging::{Sealed, Staging};
pub use store::ImageStore;
