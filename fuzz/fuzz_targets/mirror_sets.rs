//! Mirror sets of arbitrary YAML, and the places that they name for an image of each source.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_registry::{Mirrors, Reference};

fuzz_target!(|yaml: &str| {
    let Ok(rules) = release_payload::mirror_sets::parse(yaml) else { return };
    let images: Vec<_> = rules
        .iter()
        .filter_map(|rule| format!("{}/a:b", rule.scope).replace('*', "a").parse::<Reference>().ok())
        .collect();
    let mirrors = Mirrors::new(rules);
    for image in images {
        if let Ok(sources) = mirrors.pull_sources(&image) {
            assert!(!sources.is_empty());
        }
    }
});
