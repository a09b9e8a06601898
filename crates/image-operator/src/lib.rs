//! Turns what a Kubernetes cluster asks for into the list of release images that the image service reads.
//!
//! [`Operator::run`] stands by until it leads, then watches ClusterImageSets and what refers to them, and keeps the
//! ConfigMap and the Secret [`feed_format::FEED_NAME`] as a [`crd::CoreosImageService`] says. [`select::select`] decides which
//! releases that are: a pure function. Release images are asked for their version and architectures only; no ISO is ever
//! fetched here, and nothing of the serving process is known.
//!
//! The rules: nothing is written before all that matters was read once; what can be read no more is taken as it was; what
//! others own is not forced; a release that cannot be read is said in the status and harms no other.

mod backoff;
pub mod crd;
mod election;
mod feed;
mod inputs;
mod kinds;
mod metrics;
mod operator;
pub mod payloads;
mod plan;
pub mod policy;
mod probes;
mod readings;
mod remembered;
pub mod select;
mod status;
mod watched;
mod write;

pub use election::ElectionSettings;
pub use operator::{Operator, Settings};
pub use probes::serve as serve_probes;
pub use readings::ReadSettings;
pub use watched::WatchSettings;
pub use write::FIELD_MANAGER;
