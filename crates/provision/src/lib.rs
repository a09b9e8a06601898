//! The inbound wing: desired images become images in the store.
//!
//! [`Provisioner::announce`] puts the desired images into the catalog, [`Provisioning::run`] owns the rest of the
//! story. Each release has a task of its own, so one that fails never holds up another:
//! it serves what the index knows, resolves the payload, and brings one image per architecture from the registry into
//! the store. What fails is written into the catalog with its reason and tried again, ever more rarely.

mod attempt;
mod progress;
mod provisioner;
mod release;

pub use attempt::Error;
pub use provisioner::{Provisioner, Provisioning, RetryPolicy};
