//! From registries and web servers to images in the data directory, and what happens when something is wrong.

mod lists;
mod os_images;
mod releases;
mod signatures;
mod site;
