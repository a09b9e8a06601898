//! From a registry to a verified ISO: what real releases, mirrors and layers look like, and what hostile ones could.

mod component;
mod layers;
mod os_streams;
mod places;
mod proof;
mod releases;
mod site;
