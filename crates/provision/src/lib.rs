//! The inbound wing: desired images become images in the store.
//!
//! [`Provisioner::announce`] puts the desired images into the catalog, [`Provisioning::serve_known`] makes ready what the
//! index knows, and [`Provisioning::run`] owns the rest of the story. There each release has a task of its own, so one
//! that fails never holds up another: it resolves the payload and brings one image per architecture from the registry
//! into the store. What fails is written into the catalog with its reason and tried again, ever more rarely. A
//! [`Collector`] looks after what is no longer desired.

mod attempt;
mod collect;
mod progress;
mod provisioner;
mod release;

pub use collect::Collector;
pub use provisioner::{Provisioner, Provisioning, RetryPolicy};
