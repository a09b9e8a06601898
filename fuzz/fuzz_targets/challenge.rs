//! A `WWW-Authenticate` header of arbitrary text: whatever can be read is read, and nothing else is made of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_registry::Challenge;

fuzz_target!(|header: &str| {
    for challenge in Challenge::parse_header(header) {
        assert!(!challenge.scheme().is_empty());
        assert!(header.to_ascii_lowercase().contains(challenge.scheme()));
    }
    // Whatever is quoted comes out as it is.
    let challenges =
        Challenge::parse_header(&format!("Bearer realm=\"{}\"", header.replace(['\\', '"'], "")));
    assert_eq!(challenges.len(), 1);
    assert_eq!(challenges[0].parameter("realm").map(str::len), Some(header.replace(['\\', '"'], "").len()));
});
