//! Turns what a Kubernetes cluster asks for into the list of release images that the image service reads.

pub mod crd;
pub mod policy;
pub mod select;
