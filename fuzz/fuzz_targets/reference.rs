//! A reference of arbitrary text: what is accepted is written and read back, and is safe in the path of a URL, or leads
//! where it says on disk.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_registry::{Reference, RegistryHost};

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<Reference>() else { return };
    assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
    let (repository, tag) = (reference.repository(), reference.tag().unwrap_or_default());
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    if let Some(path) = reference.path() {
        assert!(path.is_absolute() && path.to_str() == Some(repository));
        assert!(repository.split('/').skip(1).all(is_name) && !repository.contains(char::is_control));
        assert_eq!(reference.registry(), "file://");
        assert!(reference.registry().parse::<RegistryHost>().is_err());
        assert_eq!(reference.with_repository(repository), Ok(reference.clone()));
        assert!(tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        return;
    }
    assert!(reference.tag().is_some() || reference.digest().is_some());
    assert!(repository.split('/').all(is_name));
    for part in [repository, tag] {
        assert!(part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte)));
    }
});
