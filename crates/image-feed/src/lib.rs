//! Where the list of desired images comes from while the service runs.
//!
//! What the environment says is read once. Beside it there may be a feed: a directory, or a ConfigMap and a Secret that
//! are watched through the pod's own service account. A [`Feed`] brings both together and hands every change on as a whole
//! [`provision::Desired`]. What cannot be used is told, and the list before it stays.
//!
//! This is the only part of the serving process that knows Kubernetes. It never writes anything.

mod cluster;
mod directory;
mod feed;
mod in_use;
mod list;
mod memory;

#[doc(hidden)]
pub use cluster::Patience;
pub use cluster::{Cluster, NoCluster};
pub use feed::{Feed, Source};
pub use list::Environment;
