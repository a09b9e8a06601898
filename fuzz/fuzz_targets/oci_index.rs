//! `index.json` of an OCI layout, of arbitrary bytes and with an arbitrary tag: errors are fine, panics are bugs, and so
//! is a digest that the index does not hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci_registry::fuzzing::oci_index;

fuzz_target!(|input: (Option<&str>, &[u8])| {
    let (tag, bytes) = input;
    if let Some(digest) = oci_index(bytes, tag) {
        // What is of no interest may be nested deeper than this reader goes.
        let Ok(index) = serde_json::from_slice(bytes) else { return };
        assert!(holds(&index, &digest.to_string()));
    }
});

fn holds(value: &serde_json::Value, text: &str) -> bool {
    match value {
        serde_json::Value::String(string) => string.eq_ignore_ascii_case(text),
        serde_json::Value::Array(values) => values.iter().any(|value| holds(value, text)),
        serde_json::Value::Object(members) => members.values().any(|value| holds(value, text)),
        _ => false,
    }
}
