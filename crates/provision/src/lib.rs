//! The inbound wing: desired images become images in the store.
//!
//! [`Provisioner::follow`] puts the desired images into the catalog, [`Provisioning::serve_known`] makes ready what the
//! index knows, and [`Provisioning::run`] owns the rest of the story. The list of what is desired may change at any time:
//! its first value is no other than the later ones. Each OS image and each release has a task of
//! its own, so one that fails never holds up another. An OS image is downloaded from a web server; a release is
//! resolved to its payload, which brings one image per architecture from the registry into the store. What fails is
//! written into the catalog with its reason and tried again, ever more rarely. A [`Collector`] looks
//! after what is no longer desired.

mod attempt;
mod blocking;
mod collect;
mod desired;
mod once;
pub mod origin;
mod os_image;
pub mod os_images;
mod piece;
mod progress;
mod provisioner;
mod provisioning;
mod queue;
mod release;
mod retry;
mod roster;

pub use collect::Collector;
pub use desired::Desired;
pub use provisioner::Provisioner;
pub use provisioning::{Names, Provisioning};
pub use retry::RetryPolicy;
