//! From registries and web servers to images in the data directory, and what happens when something is wrong.

mod os_images;
mod lists;
mod releases;
mod site;
