//! A registries.conf of arbitrary text, and the places that it names for an image: errors are fine, panics are bugs,
//! and so are no places without a rule that blocks, another tag or digest, and a place twice.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use oci_registry::{Mirrors, Reference, RegistriesConf};

fuzz_target!(|parts: (&str, &str, &str)| {
    let (text, drop_in, image) = parts;
    let Ok(mut conf) = RegistriesConf::parse("x.conf", text) else { return };
    if let Ok(drop_in) = RegistriesConf::parse("y.conf", drop_in) {
        conf.override_by(drop_in);
    }
    let rules: Vec<_> = conf.into_rules().collect();
    // An image of each scope, too, so that the rules are not only read.
    let below = rules.iter().map(|rule| format!("{}/a:b", rule.scope).replace('*', "a"));
    let images: Vec<_> =
        below.chain([image.to_owned()]).filter_map(|name| name.parse::<Reference>().ok()).collect();
    let mirrors = Mirrors::new(rules);
    for image in images {
        let Ok(sources) = mirrors.pull_sources(&image) else { continue };
        assert!(!sources.is_empty());
        let mut seen = HashSet::new();
        for source in sources {
            assert_eq!((source.reference.tag(), source.reference.digest()), (image.tag(), image.digest()));
            assert_eq!(source.reference.to_string().parse::<Reference>().as_ref(), Ok(&source.reference));
            assert!(seen.insert(source.reference));
        }
    }
});
