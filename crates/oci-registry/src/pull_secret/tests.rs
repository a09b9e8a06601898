use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Difference, KeyProblem, Mistake, PullSecret, PullSecretError, PullSecretWarning, UnusableEntry, Wrapping,
};
use crate::{EntryOddity, EntryProblem};

const GOOD: &str = r#"{"auths":{"quay.io":{"auth":"dTpw"}}}"#;

/// Key and user found for an image.
fn found(secret: &PullSecret, image: &str) -> Option<(String, String)> {
    let (key, credentials) = secret.lookup(&image.parse().unwrap()).unwrap()?;
    Some((key.to_owned(), credentials.username().to_owned()))
}

fn base64(text: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(text)
}

fn entry(user_and_password: &str) -> Value {
    json!({"auth": base64(user_and_password)})
}

fn secret(auths: &Value) -> PullSecret {
    PullSecret::parse(&json!({"auths": auths}).to_string()).unwrap()
}

fn warnings(secret: &PullSecret) -> Vec<PullSecretWarning> {
    secret.warnings().collect()
}

#[test]
fn the_longest_matching_key_wins() {
    let secret = secret(&json!({
        "quay.io": entry("host:1"), "quay.io/a": entry("org:2"), "quay.io/a/b": entry("repo:3"), "mirror.lab:5000": entry("port:4"),
    }));
    for (image, user) in [
        ("quay.io/a/b:t", Some("repo")),
        ("quay.io/a/b/c", Some("repo")),
        ("quay.io/a/bc", Some("org")),
        ("quay.io/ab/b", Some("host")),
        ("mirror.lab:5000/x", Some("port")),
        ("mirror.lab/x", None),
        ("mirror.lab:5001/x", None),
    ] {
        assert_eq!(found(&secret, image).map(|(_, user)| user).as_deref(), user, "{image}");
    }
    assert_eq!(secret.keys().collect::<Vec<_>>(), ["mirror.lab:5000", "quay.io", "quay.io/a", "quay.io/a/b"]);
}

#[test]
fn an_empty_entry_means_anonymous_and_ends_the_search() {
    let secret = secret(&json!({"quay.io": entry("u:p"), "quay.io/public": {"auth": "", "email": "x@y.z"}}));
    assert_eq!(found(&secret, "quay.io/public/image"), None);
    assert_eq!(secret.near_miss(&"quay.io/public/image".parse().unwrap()), None);
}

#[test]
fn keys_are_read_as_people_write_them() {
    let secret = secret(&json!({
        "https://index.docker.io/v1/": entry("hub:1"),
        "https://quay.io/v2/": entry("url:2"),
        "quay.io/": entry("slash:3"),
        "Registry.Lab": entry("case:4"),
        "u@registry.other": entry("at:5"),
        "https://mirror.lab:5000/openshift": entry("scheme:6"),
        "mirror": entry("short:7"),
    }));
    for (image, user) in [
        ("docker.io/ubuntu", Some("hub")),
        ("quay.io/a", Some("slash")),
        ("registry.lab/a", Some("case")),
        ("registry.other/a", None),
        ("mirror.lab:5000/a", Some("scheme")),
    ] {
        assert_eq!(found(&secret, image).map(|(_, user)| user).as_deref(), user, "{image}");
    }
    let mut found = warnings(&secret);
    found.sort_by_key(ToString::to_string);
    let warning = |key: &str, problem| PullSecretWarning::Key { key: key.to_owned(), problem };
    assert_eq!(
        found,
        [
            warning("https://mirror.lab:5000/openshift", KeyProblem::SchemeBeforeRepository),
            warning("https://quay.io/v2/", KeyProblem::Duplicate),
            warning("mirror", KeyProblem::NotARegistry),
            warning("quay.io/", KeyProblem::TrailingSlash),
            warning("registry.other", KeyProblem::At),
        ]
    );
}

#[test]
fn a_bad_entry_harms_only_its_registry() {
    let secret = secret(&json!({"good.io": entry("u:p"), "a.io": {"auth": "***"}, "b.io": entry("u:")}));
    assert_eq!(found(&secret, "good.io/x"), Some(("good.io".to_owned(), "u".to_owned())));
    for (image, problem) in [("a.io/x", EntryProblem::NotBase64), ("b.io/x", EntryProblem::NoPassword)] {
        assert_eq!(secret.lookup(&image.parse().unwrap()).unwrap_err().problem, problem);
    }
    assert_eq!(secret.unusable_entries().count(), 2);
    let bad = UnusableEntry { key: "a.io".to_owned(), problem: EntryProblem::NotBase64 };
    assert_eq!(warnings(&secret)[0], PullSecretWarning::Unusable(bad));
}

#[test]
fn everything_beyond_doubt_is_read_with_a_word_on_how_to_write_it() {
    let manifest = |map: &str, key: &str, value: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull-secret"}, map: {key: value}})
            .to_string()
    };
    let yaml = |map: &str, key: &str, value: &str| {
        format!(
            "# a comment\n---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: pull-secret\n{map}:\n  {key}: {value}\ntype: kubernetes.io/dockerconfigjson\n---\n"
        )
    };
    let entries = r#"{"quay.io":{"auth":"dTpw","email":"x@y.z"}}"#;
    let wrapped: String =
        base64(GOOD).as_bytes().chunks(20).map(|line| String::from_utf8_lossy(line) + "\n").collect();
    for (text, wrappings) in [
        (GOOD.to_owned(), vec![]),
        (format!(" \n{GOOD}\n"), vec![]),
        (format!("\u{feff}{GOOD}\n"), vec![Wrapping::ByteOrderMark]),
        (format!("'{GOOD}'"), vec![Wrapping::Quotes]),
        (format!("\"{GOOD}\"\n"), vec![Wrapping::Quotes]),
        (format!("`{GOOD}`"), vec![Wrapping::Quotes]),
        (json!(GOOD).to_string(), vec![Wrapping::Quotes]),
        (base64(GOOD), vec![Wrapping::Base64]),
        (wrapped, vec![Wrapping::Base64]),
        (base64(base64(GOOD)), vec![Wrapping::Base64]),
        (base64(format!("\u{feff}{GOOD}")), vec![Wrapping::Base64, Wrapping::ByteOrderMark]),
        (entries.to_owned(), vec![Wrapping::NoAuths]),
        (base64(entries), vec![Wrapping::Base64, Wrapping::NoAuths]),
        ("auths:\n  quay.io:\n    auth: dTpw\n".to_owned(), vec![Wrapping::Yaml]),
        ("---\nauths: {quay.io: {auth: dTpw}}\n".to_owned(), vec![Wrapping::Yaml]),
        (format!("baseDomain: lab\npullSecret: '{GOOD}'\n"), vec![Wrapping::InstallConfig]),
        (manifest("data", ".dockerconfigjson", &base64(GOOD)), vec![Wrapping::Secret]),
        (manifest("data", ".dockercfg", &base64(entries)), vec![Wrapping::Secret, Wrapping::NoAuths]),
        (manifest("stringData", ".dockerconfigjson", GOOD), vec![Wrapping::Secret]),
        (manifest("data", ".dockerconfigjson", GOOD), vec![Wrapping::PlainData]),
        (
            manifest("data", ".dockerconfigjson", &base64(base64(GOOD))),
            vec![Wrapping::Secret, Wrapping::Base64],
        ),
        (yaml("data", ".dockerconfigjson", &base64(GOOD)), vec![Wrapping::Secret]),
        (yaml("stringData", ".dockerconfigjson", &format!("|\n    {GOOD}")), vec![Wrapping::Secret]),
        (yaml("stringData", ".dockerconfigjson", &format!("'{GOOD}'")), vec![Wrapping::Secret]),
        (yaml("data", ".dockercfg", &base64(entries)), vec![Wrapping::Secret, Wrapping::NoAuths]),
        (base64(yaml("data", ".dockerconfigjson", &base64(GOOD))), vec![Wrapping::Base64, Wrapping::Secret]),
        (json!({"data": {".dockerconfigjson": base64(GOOD)}}).to_string(), vec![Wrapping::Secret]),
    ] {
        let secret = PullSecret::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found(&secret, "quay.io/a"), Some(("quay.io".to_owned(), "u".to_owned())), "{text}");
        let expected: Vec<_> = wrappings.into_iter().map(PullSecretWarning::Wrapped).collect();
        assert_eq!(warnings(&secret), expected, "{text}");
    }
    assert!(PullSecret::parse(r#"{"auths":{}}"#).is_ok());
}

#[test]
fn everything_in_doubt_is_refused_with_a_diagnosis() {
    let mistake = |text: &str| match PullSecret::parse(text).map(|secret| warnings(&secret)).unwrap_err() {
        PullSecretError::NotJson { mistake, .. } => mistake,
        other => panic!("{text}: {other:?}"),
    };
    for (text, expected) in [
        (base64(GOOD)[..21].to_owned(), Mistake::Base64),
        (base64([0, 1, 2, 255]), Mistake::Base64),
        (format!("'{GOOD}"), Mistake::Quote),
        (format!("\"{GOOD}"), Mistake::Quote),
        (format!("{GOOD}'"), Mistake::Unknown),
        ("kind: Secret\n  data: [\n".to_owned(), Mistake::Yaml),
        (r#"{"auths":{"quay.io":{"auth":"dTpw"},}}"#.to_owned(), Mistake::TrailingComma),
        (r#"{"auths":{"quay.io":{"auth":"dTpw"}},}"#.to_owned(), Mistake::TrailingComma),
        (GOOD.replace('"', "”"), Mistake::SmartQuotes),
        (format!("“{GOOD}”"), Mistake::SmartQuotes),
        (GOOD.replace('"', "'"), Mistake::SingleQuotes),
        (GOOD.replace("dTpw", "dT\npw"), Mistake::LineBreak),
        (GOOD[..20].to_owned(), Mistake::Truncated),
        ("{auths: {}}".to_owned(), Mistake::Unknown),
        ("a, b, c\n".to_owned(), Mistake::Unknown),
    ] {
        assert_eq!(mistake(&text), expected, "{text}");
    }
    let (auths, config_map) = (r#"{"auths":[]}"#, r#"{"kind":"ConfigMap","data":{"auth.json":"e30="}}"#);
    for (text, expected) in [
        ("", PullSecretError::Empty),
        (" \n", PullSecretError::Empty),
        ("\u{feff}", PullSecretError::Empty),
        ("\"\"", PullSecretError::Empty),
        ("''", PullSecretError::Empty),
        ("{}", PullSecretError::NoAuths),
        ("[]", PullSecretError::NoAuths),
        ("null", PullSecretError::NoAuths),
        (auths, PullSecretError::NoAuths),
        (config_map, PullSecretError::NoAuths),
        (r#"{"quay.io":{"email":"x@y.z"}}"#, PullSecretError::NoAuths),
        (r#"{"kind":"Secret","data":{"password":"e30="}}"#, PullSecretError::OtherSecret),
        ("kind: Secret\ndata: {}\n", PullSecretError::OtherSecret),
        (&GOOD.repeat(2), PullSecretError::SeveralDocuments),
        (&format!("{GOOD}\n{GOOD}\n"), PullSecretError::SeveralDocuments),
        ("auths: {}\n---\nauths: {}\n", PullSecretError::SeveralDocuments),
        (&format!("'\"'{}'\"'", json!(json!(json!(GOOD).to_string()).to_string())), PullSecretError::TooDeep),
        (
            &format!("{GOOD}{}", " ".repeat(PullSecret::MAX_SIZE)),
            PullSecretError::TooLong { limit: PullSecret::MAX_SIZE },
        ),
    ] {
        assert_eq!(PullSecret::parse(text).map(|secret| warnings(&secret)), Err(expected), "{text:.80}");
    }
}

#[test]
fn a_bomb_of_yaml_is_refused() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, last) in ('b'..='z').zip('a'..='y') {
        writeln!(bomb, "{name}: &{name} [{}]", vec![format!("*{last}"); 9].join(",")).unwrap();
    }
    let error = PullSecret::parse(&bomb).unwrap_err();
    assert!(matches!(error, PullSecretError::NotJson { mistake: Mistake::Yaml, .. }), "{error:?}");
}

#[test]
fn entries_that_others_stumble_over_are_named() {
    let secret = secret(&json!({"a.io": entry("u:p\n"), "b.io": {"auth": "dTpwcA"}, "c.io": entry("u:p")}));
    let odd = |key: &str, oddity| PullSecretWarning::Odd { key: key.to_owned(), oddity };
    assert_eq!(
        warnings(&secret),
        [odd("a.io", EntryOddity::LineBreakInPassword), odd("b.io", EntryOddity::LooseBase64)]
    );
    assert!(
        warnings(&secret)[0].to_string().starts_with("pull secret entry \"a.io\" has a password that ends")
    );
}

#[test]
fn credentials_that_lie_elsewhere_are_named() {
    let text = json!({"auths": {"a.io": {}}, "credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud"}});
    let secret = PullSecret::parse(&text.to_string()).unwrap();
    let helper = PullSecretWarning::Helper { registry: "gcr.io".to_owned() };
    assert_eq!(warnings(&secret), [helper, PullSecretWarning::Store]);
}

#[test]
fn the_entry_that_was_meant_is_found() {
    let auth = entry("u:p");
    let secret = secret(&json!({
        "mirror.lab": auth, "registry.lab:5000": auth, "quay.io/ours": auth, "u@at.lab": auth, "*.wild.lab": auth,
        "tag.lab:5000/a:t": auth,
    }));
    for (image, key, wanted, difference) in [
        ("mirror.lab:5000/a", "mirror.lab", "mirror.lab:5000", Difference::Port),
        ("registry.lab/a", "registry.lab:5000", "registry.lab", Difference::Port),
        ("registry.lab:5001/a", "registry.lab:5000", "registry.lab:5001", Difference::Port),
        ("quay.io/theirs/a", "quay.io/ours", "quay.io/theirs/a", Difference::Repository),
        ("at.lab/a", "at.lab", "at.lab", Difference::Unusable(KeyProblem::At)),
        ("x.wild.lab/a", "*.wild.lab", "x.wild.lab", Difference::Unusable(KeyProblem::Wildcard)),
        ("tag.lab:5000/a:t", "tag.lab:5000/a:t", "tag.lab:5000", Difference::Unusable(KeyProblem::Tag)),
    ] {
        let miss = secret.near_miss(&image.parse().unwrap()).unwrap_or_else(|| panic!("{image}"));
        assert_eq!((miss.key.as_str(), miss.wanted.as_str(), miss.difference), (key, wanted, difference));
        assert!(miss.to_string().contains(&format!("{wanted:?}")), "{miss}");
    }
    for image in ["mirror.lab/a", "quay.io/ours/a", "other.lab/a", "lab/a:5000", "notwild.lab/a"] {
        if let Ok(image) = image.parse() {
            assert_eq!(secret.near_miss(&image), None, "{image}");
        }
    }
}

#[test]
fn nothing_secret_is_printed() {
    let texts = [
        json!({"auths": {
            "quay.io": entry("robot:hunter2"), "a.io": {"auth": "hunter2***"}, "https://u:hunter2@b.io/": entry("u:p"),
            "c.io": {"identitytoken": "hunter2"}, "d.io": {"registrytoken": "hunter2"}, "e.io": {"password": "hunter2"},
        }})
        .to_string(),
        "{\"auths\": {\"quay.io\": \"hunter2\"".to_owned(),
        "auths: {quay.io: {auth: hunter2, *hunter2}}".to_owned(),
        base64("hunter2\0"),
        "'hunter2".to_owned(),
    ];
    let mut shown = String::new();
    for text in texts {
        match PullSecret::parse(&text) {
            Ok(secret) => {
                write!(shown, "{secret:?} {:?}", secret.lookup(&"quay.io/a".parse().unwrap())).unwrap();
                for warning in secret.warnings() {
                    write!(shown, "{warning} {warning:?}").unwrap();
                }
            }
            Err(error) => write!(shown, "{error} {error:?}").unwrap(),
        }
    }
    assert!(shown.contains("quay.io") && shown.contains("a.io") && shown.contains("b.io"));
    for word in ["hunter2", "robot", &base64("robot:hunter2")] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_found(user in "[^:\\p{C}]{1,20}", password in "[^\\p{C}]{1,20}") {
        let secret = secret(&json!({"quay.io": entry(&format!("{user}:{password}"))}));
        prop_assert_eq!(found(&secret, "quay.io/a/b"), Some(("quay.io".to_owned(), user)));
    }

    #[test]
    fn whatever_is_in_it_a_wrapped_one_is_read(key: String, auth: String, password in "[a-z]{12}", text: String) {
        let random = json!({"auth": auth, "password": password, "identitytoken": password});
        let plain = json!({"auths": {key: random, "quay.io": entry("u:p")}}).to_string();
        let encoded = base64(&plain);
        let mut shown = String::new();
        for wrapped in [
            encoded.clone(),
            format!("'{plain}'"),
            json!(plain).to_string(),
            json!({"kind": "Secret", "data": {".dockerconfigjson": encoded}}).to_string(),
            format!("kind: Secret\ndata:\n  .dockerconfigjson: {encoded}\n"),
            json!({"stringData": {".dockerconfigjson": plain}}).to_string(),
        ] {
            let secret = PullSecret::parse(&wrapped).unwrap();
            prop_assert_eq!(found(&secret, "quay.io/a/b"), Some(("quay.io".to_owned(), "u".to_owned())));
            write!(shown, "{secret:?} {:?}", warnings(&secret)).unwrap();
        }
        let cut = plain.char_indices().nth(text.len()).map_or(plain.len(), |(at, _)| at);
        for damaged in [&plain[..cut], &plain[cut..], &format!("{}{text}{}", &plain[..cut], &plain[cut..])] {
            let parsed = PullSecret::parse(damaged).map(|secret| warnings(&secret));
            write!(shown, "{parsed:?}").unwrap();
        }
        prop_assert!(!shown.contains(&password), "{}", shown);
    }

    #[test]
    fn no_text_makes_it_panic(text: String, key: String, auth: String) {
        let _ = PullSecret::parse(&text);
        let _ = PullSecret::parse(&format!("{key}: {text}"));
        let secret = PullSecret::parse(&json!({"auths": {key: {"auth": auth}}}).to_string()).unwrap();
        let _ = secret.lookup(&"quay.io/a/b".parse().unwrap());
        let _ = secret.near_miss(&"quay.io/a/b".parse().unwrap());
    }
}
