//! A pull secret of arbitrary text: errors are fine, panics are bugs, and so is a password in anything printed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_registry::{PullSecret, Reference};
use serde_json::json;

fuzz_target!(|parts: (&str, &str, &str)| {
    let (text, key, auth) = parts;
    let _ = PullSecret::parse(text);

    const PASSWORD: &str = "correct horse battery staple";
    let entries = json!({"auths": {key: {"auth": auth, "password": PASSWORD}, "quay.io": {"auth": auth}}});
    let secret = PullSecret::parse(&entries.to_string()).expect("a bad entry harms only its registry");
    let mut printed = format!("{secret:?}");
    let wanted = format!("{key}/a:b").parse();
    let references = [wanted, "quay.io/a/b".parse()].into_iter().filter_map(Result::<Reference, _>::ok);
    for reference in references {
        printed += &format!("{:?}", secret.lookup(&reference));
    }
    for entry in secret.unusable_entries() {
        printed += &format!("{entry} {entry:?}");
    }
    assert!(!printed.contains(PASSWORD));
});
