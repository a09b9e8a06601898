//! The client against registries that really speak HTTP.

mod auth;
mod blobs;
mod docker;
mod manifests;
mod mirrors;
mod reader;
mod redirects;
mod support;
