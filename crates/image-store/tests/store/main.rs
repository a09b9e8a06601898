//! The data directory.

mod adoption;
mod proofs;
mod published;
mod resume;
mod site;
mod space;
