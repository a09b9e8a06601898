//! The inbound wing: desired images become images in the store.
//!
//! [`Provisioner::announce`] puts the desired images into the catalog, [`Provisioning::serve_known`] makes ready what the
//! index knows, and [`Provisioning::run`] owns the rest of the story. There each OS image and each release has a task of
//! its own, so one that fails never holds up another. An OS image is downloaded from a web server; a release is
//! resolved to its payload, which brings one image per architecture from the registry into the store. What fails is
//! written into the catalog with its reason and tried again, ever more rarely. A [`Collector`] looks
//! after what is no longer desired.

mod attempt;
mod blocking;
mod collect;
pub mod origin;
mod os_image;
pub mod os_images;
mod progress;
mod provisioner;
mod queue;
mod release;
mod retry;

pub use collect::Collector;
pub use provisioner::{Provisioner, Provisioning};
pub use retry::RetryPolicy;
