//! What this service owes to hosts, to assisted-service and to probes, clause by clause, over real connections.

mod base_url;
mod boot_artifacts;
mod connections;
mod cors;
mod credentials;
mod directory;
mod discovery_iso;
mod document;
mod health;
mod limits;
mod listeners;
mod logs;
mod metrics;
mod minimal_iso;
mod network_boot;
mod own_metrics;
mod preconditions;
mod proxies;
mod ranges;
mod reuse;
mod routes;
mod site;
mod slow_clients;
mod tls;
mod tokens;
mod upstream;
