//! The client against registries that really speak HTTP.

mod auth;
mod blobs;
mod changing_credentials;
mod check;
mod docker;
mod identity_tokens;
mod manifests;
mod mirrors;
mod reader;
mod redirects;
mod support;
