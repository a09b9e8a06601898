//! Registries to be tested against.
//!
//! [`DockerRegistry`] is Debian's `docker-registry`, with passwords and, if wanted, TLS: it shows that the client gets
//! on with a program that others wrote. [`TokenRegistry`] runs in the test's own process and gives out tokens as
//! quay.io does: it shows what the client does when [`Fault`]s are injected. A [`FaultProxy`] does so in front of any
//! registry, and a [`ForwardProxy`] stands between a site and the world.

pub(crate) mod answer;
pub(crate) mod body;
mod certificate;
mod docker;
pub(crate) mod fault;
mod fault_proxy;
mod forward_proxy;
pub(crate) mod log;
mod service;
mod token;

pub use certificate::{Certificate, ClientCertificate};
pub use docker::{DockerRegistry, LoggedRequest};
pub use fault::{Fault, Gate};
pub use fault_proxy::{FaultProxy, LineFault};
pub use forward_proxy::ForwardProxy;
pub use log::Request;
pub use token::{TokenRegistry, TokenRegistryBuilder};
