//! The CoreOS live ISO format: where things are in it, and how a customised image is planned.
