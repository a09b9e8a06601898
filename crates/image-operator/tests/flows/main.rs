//! The operator against API servers over real HTTP: the fake one of `test-support` always, and a real `kube-apiserver` where
//! `KUBEBUILDER_ASSETS` says where it is. What needs faults to be injected runs against the fake alone.

mod access;
mod changes;
mod cluster;
mod election;
mod feed;
mod followed;
mod hub;
mod payloads;
mod registry;
mod soak;
mod troubles;
mod watching;
