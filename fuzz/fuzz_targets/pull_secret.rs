//! A pull secret of arbitrary text, and of arbitrary parts in everything that people put around one: errors are fine,
//! panics are bugs, and so is a password in anything printed.

#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use libfuzzer_sys::fuzz_target;
use oci_registry::{PullSecret, PullSecretError, Reference};
use serde_json::json;

const PASSWORD: &str = "correct horse battery staple";

/// Everything that reading a text can show.
fn printed(parsed: &Result<PullSecret, PullSecretError>, reference: &Reference) -> String {
    match parsed {
        Ok(secret) => {
            let mut printed = format!("{secret:?} {:?}", secret.lookup(reference));
            printed.extend(secret.near_miss(reference).map(|miss| format!("{miss} {miss:?}")));
            printed.extend(secret.warnings().map(|warning| format!("{warning} {warning:?}")));
            printed
        }
        Err(error) => format!("{error} {error:?}"),
    }
}

fuzz_target!(|parts: (&str, &str, &str)| {
    let (text, key, auth) = parts;
    let quay: Reference = "quay.io/a/b".parse().expect("a reference");
    let reference = format!("{key}/a:b").parse().unwrap_or(quay);
    printed(&PullSecret::parse(text), &reference);
    printed(&PullSecret::parse(&format!("{key}: {text}")), &reference);

    let entry = json!({"auth": auth, "password": PASSWORD, "identitytoken": PASSWORD});
    let plain = json!({"auths": {key: entry, "quay.io": {"auth": auth}}}).to_string();
    let mut shown = printed(&PullSecret::parse(&plain), &reference);
    assert!(PullSecret::parse(&plain).is_ok(), "a bad entry harms only its registry");

    let encoded = BASE64_STANDARD.encode(&plain);
    let wrapped = [
        encoded.clone(),
        format!("'{plain}'"),
        json!(plain).to_string(),
        json!({"kind": "Secret", "data": {".dockerconfigjson": encoded}}).to_string(),
        format!("kind: Secret\ndata:\n  .dockerconfigjson: {encoded}\n"),
        json!({"stringData": {".dockerconfigjson": plain}}).to_string(),
    ];
    for wrapped in wrapped {
        let parsed = PullSecret::parse(&wrapped);
        // Only what is around makes a text too long, and only then.
        assert!(parsed.is_ok() || wrapped.len() > PullSecret::MAX_SIZE, "{parsed:?}");
        shown += &printed(&parsed, &reference);
    }
    // Damaged in arbitrary places.
    let cut = plain.char_indices().nth(text.len() % plain.len()).map_or(plain.len(), |(at, _)| at);
    for damaged in [&plain[..cut], &plain[cut..], &format!("{}{text}{}", &plain[..cut], &plain[cut..])] {
        shown += &printed(&PullSecret::parse(damaged), &reference);
    }
    assert!(!shown.contains(PASSWORD) || key.contains(PASSWORD) || text.contains(PASSWORD));
});
