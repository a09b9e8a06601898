//! A manifest of arbitrary bytes: errors are fine, panics are bugs, and so is a digest of anything but the bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_registry::{Digest, Manifest, ManifestKind};

fuzz_target!(|bytes: &[u8]| match Manifest::parse(bytes) {
    Ok(manifest) => {
        assert_eq!(manifest.digest, Digest::of(bytes));
        assert_eq!(manifest.size, bytes.len() as u64);
        match manifest.kind {
            ManifestKind::Image(image) => assert!(image.layers.len() <= 512),
            ManifestKind::Index(index) => assert!(index.manifests.len() <= 1024),
        }
    }
    Err(error) => assert!(error.to_string().len() < 2000, "an error is no copy of the manifest"),
});
