//! A reference of arbitrary text: what is accepted is written and read back, and is safe in the path of a URL.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_registry::Reference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
    assert!(reference.tag().is_some() || reference.digest().is_some());
    assert!(reference.repository().split('/').all(|part| !matches!(part, "" | "." | "..")));
    for part in [reference.repository(), reference.tag().unwrap_or_default()] {
        assert!(part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte)));
    }
});
