//! Stand-ins for the outside world, and fixtures that could have come from it. For tests and the demo only.
//!
//! [`payload`] builds container images, up to whole OpenShift releases with a live ISO in them. [`registry`] serves
//! them: [`registry::DockerRegistry`] is a real registry in a child process, [`registry::TokenRegistry`] our own, which
//! can be told to misbehave, as can the web server of [`origin`]. [`gpg`] signs releases. [`kubernetes`],
//! [`vault`], [`accounts`] and [`assisted_service`] stand in for what their names say. Nothing here uses the crates it tests,
//! so that a mistake is not made twice and agreed on.
//!
//! What fails here is a broken test, not a condition to handle: most of it panics.

pub mod accounts;
pub mod assisted_service;
mod crypto;
pub mod fixtures;
pub mod gpg;
pub mod kubernetes;
pub mod origin;
pub mod payload;
mod ports;
pub mod registry;
pub mod vault;

pub use crypto::install_crypto_provider;
pub use ports::{NOBODY, free_port};
