//! The client against registries that really speak HTTP.

mod auth;
mod blobs;
mod certificates;
mod docker;
mod manifests;
mod mirrors;
mod proxy;
mod reader;
mod redirects;
mod resume;
mod sources;
mod support;
