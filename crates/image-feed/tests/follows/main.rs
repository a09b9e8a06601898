//! A feed hands on what the environment and a source ask for together, whatever happens to the source.

mod cluster;
mod directory;
mod site;
