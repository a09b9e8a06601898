//! The client against registries that really speak HTTP.

mod auth;
mod blobs;
mod certificates;
mod changing_credentials;
mod changing_registries;
mod check;
mod deadlines;
mod docker;
mod identity_tokens;
mod manifests;
mod mirrors;
mod proxy;
mod reader;
mod redirects;
mod resume;
mod sources;
mod support;
