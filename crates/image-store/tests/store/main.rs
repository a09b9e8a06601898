//! The data directory.

mod adoption;
mod feed;
mod nmstate;
mod proofs;
mod published;
mod resume;
mod retire;
mod sharing;
mod site;
mod space;
