//! From a registry to a verified ISO: what real releases, mirrors and layers look like, and what hostile ones could.

mod layers;
mod places;
mod releases;
mod site;
