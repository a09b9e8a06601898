//! Bad settings stop the start, all at once, with exit code 64, and no secret is ever repeated.

use std::process::{Command, Output};

use serde_json::Value;

fn service(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coreos-image-service"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// What a refused start logs.
fn refusal(variables: &[(&str, &str)]) -> String {
    let output = service(variables, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(output.stdout.is_empty());
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error", "{text}");
    last["error"].as_str().unwrap().to_owned()
}

#[test]
fn every_problem_is_listed_at_once() {
    let directory = tempfile::TempDir::new().unwrap();
    let mirror_sets = directory.path().join("mirrors.yaml");
    std::fs::write(&mirror_sets, "kind: ConfigMap\n---\nkind: ImageDigestMirrorSet\nspec: []\n").unwrap();
    let text = refusal(&[
        ("LISTEN_PORT", "eighty"),
        ("LISTEN_ADDRESS", "localhost"),
        ("LOGLEVEL", "loud"),
        ("DOWNLOAD_CONCURRENCY", "0"),
        ("IMAGE_SERVICE_BASE_URL", "images.example.com:8080"),
        ("INSECURE_REGISTRIES", "good.example.com:5000, https://bad"),
        ("REGISTRIES_CONF", "/nowhere/registries.conf"),
        ("DIGEST_MIRRORS_FILE", mirror_sets.to_str().unwrap()),
        ("REGISTRY_TRUSTED_CA_FILE", "/nowhere/ca.pem"),
        ("REGISTRY_CERTS_DIR", "/nowhere/certs.d"),
        ("PULL_SECRET", r#"{"auths": {"#),
        ("RELEASE_IMAGES", r#"[{"openshift_version": "four"}]"#),
    ]);
    for expected in [
        "LISTEN_PORT=eighty: expected a port",
        "LISTEN_ADDRESS=localhost: expected an IPv4 or IPv6 address",
        "LOGLEVEL=loud: expected panic, fatal",
        "DOWNLOAD_CONCURRENCY=0: ",
        "IMAGE_SERVICE_BASE_URL: the base URL of this service cannot be used: it begins with neither http://",
        "INSECURE_REGISTRIES: ",
        "REGISTRIES_CONF: /nowhere/registries.conf: cannot be read",
        "mirrors.yaml: document 1 (ConfigMap): expected ImageDigestMirrorSet",
        "mirrors.yaml: document 2 (ImageDigestMirrorSet): spec must be an object",
        "REGISTRY_TRUSTED_CA_FILE=/nowhere/ca.pem: cannot be read",
        "REGISTRY_CERTS_DIR=/nowhere/certs.d: there is no such directory",
        "PULL_SECRET: the pull secret is not JSON",
        "RELEASE_IMAGES: entry 0: openshift_version: invalid OpenShift version \"four\"",
        "RELEASE_IMAGES: entry 0: url is missing",
        "DATA_DIR is missing",
        "neither ASSISTED_SERVICE_HOST nor INFRA_ENV_DIR is given",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn every_problem_with_os_images_and_listeners_is_listed_at_once() {
    let text = refusal(&[
        ("DATA_DIR", "/tmp"),
        ("INFRA_ENV_DIR", "/tmp"),
        (
            "OS_IMAGES",
            r#"[{"openshift_version": "4.18", "cpu_architecture": "vax", "url": "ftp://x/y.iso"}]"#,
        ),
        ("OS_IMAGES_REQUEST_HEADERS", r#"{"a b": "the-secret"}"#),
        ("OS_IMAGES_REQUEST_QUERY_PARAMS", r#"["the-secret"]"#),
        ("OS_IMAGE_DOWNLOAD_TRUSTED_CA_FILE", "/nowhere/os.pem"),
        ("INSECURE_SKIP_VERIFY", "perhaps"),
        ("HTTP_LISTEN_PORT", "66000"),
        ("HTTPS_CERT_FILE", "/nowhere/tls.crt"),
        ("TLS_MIN_VERSION", "1.2"),
        ("MAX_CONCURRENT_REQUESTS", "0"),
        ("RETIRE_AFTER", "tomorrow"),
        ("DATA_DIR_MAX_BYTES", "much"),
        ("POPULATE", "on-demand"),
    ]);
    for expected in [
        "OS_IMAGES: entry 0: ",
        "OS_IMAGES_REQUEST_HEADERS: ",
        "OS_IMAGES_REQUEST_QUERY_PARAMS: ",
        "OS_IMAGE_DOWNLOAD_TRUSTED_CA_FILE=/nowhere/os.pem: cannot be read",
        "INSECURE_SKIP_VERIFY=perhaps: expected true or false",
        "HTTP_LISTEN_PORT=66000: expected a port",
        "HTTPS_CERT_FILE is given, but HTTPS_KEY_FILE is not",
        "TLS_MIN_VERSION=1.2: expected VersionTLS10",
        "MAX_CONCURRENT_REQUESTS=0: ",
        "RETIRE_AFTER=tomorrow: expected a span of time",
        "DATA_DIR_MAX_BYTES=much: ",
        "POPULATE=on-demand: expected eager",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    assert!(!text.contains("the-secret"), "{text}");
}

#[test]
fn nothing_to_serve_names_what_is_needed() {
    let text = refusal(&[("DATA_DIR", "/tmp"), ("INFRA_ENV_DIR", "/tmp")]);
    assert!(text.contains("nothing to serve: give RELEASE_IMAGES together with PULL_SECRET"), "{text}");
    assert!(text.contains("or OS_IMAGES"), "{text}");
}

#[test]
fn release_images_without_a_pull_secret_are_another_programs() {
    let releases = r#"[{"openshift_version":"4.18","version":"4.18.1","cpu_architecture":"x86_64","url":"quay.io/x:1"}]"#;
    let text = refusal(&[("DATA_DIR", "/tmp"), ("INFRA_ENV_DIR", "/tmp"), ("RELEASE_IMAGES", releases)]);
    assert!(text.contains("nothing to serve"), "{text}");
}

#[test]
fn a_file_that_holds_no_certificates_is_refused() {
    let releases = r#"[{"openshift_version":"4.18","version":"4.18.1","cpu_architecture":"x86_64","url":"127.0.0.1:1/x:1"}]"#;
    let directory = tempfile::TempDir::new().unwrap();
    let text = refusal(&[
        ("DATA_DIR", directory.path().to_str().unwrap()),
        ("INFRA_ENV_DIR", "/tmp"),
        ("LISTEN_PORT", "0"),
        ("PULL_SECRET", r#"{"auths":{}}"#),
        ("RELEASE_IMAGES", releases),
        ("REGISTRY_TRUSTED_CA_FILE", "/etc/hostname"),
    ]);
    assert!(text.contains("REGISTRY_TRUSTED_CA_FILE: "), "{text}");
}

#[test]
fn a_data_directory_that_is_not_there_is_not_made() {
    let directory = tempfile::TempDir::new().unwrap();
    let missing = directory.path().join("not-mounted");
    let text = refusal(&[
        ("DATA_DIR", missing.to_str().unwrap()),
        ("INFRA_ENV_DIR", "/tmp"),
        ("LISTEN_PORT", "0"),
        ("PULL_SECRET", r#"{"auths":{}}"#),
        (
            "RELEASE_IMAGES",
            r#"[{"openshift_version":"4.18","version":"4.18.1","cpu_architecture":"x86_64","url":"127.0.0.1:1/x:1"}]"#,
        ),
    ]);
    assert!(text.contains(&format!("DATA_DIR: cannot open {}", missing.display())), "{text}");
    assert!(!missing.exists());
}

#[test]
fn two_answers_to_one_question_are_refused() {
    let text = refusal(&[
        ("DATA_DIR", "/tmp"),
        ("INFRA_ENV_DIR", "/tmp"),
        ("ASSISTED_SERVICE_HOST", "assisted.example.com"),
        ("PULL_SECRET", r#"{"auths":{}}"#),
        ("PULL_SECRET_FILE", "/dev/null"),
        ("RELEASE_IMAGES", "[]"),
    ]);
    assert!(text.contains("ASSISTED_SERVICE_HOST and INFRA_ENV_DIR are both given"), "{text}");
    assert!(text.contains("PULL_SECRET and PULL_SECRET_FILE are both given"), "{text}");
}

#[test]
fn no_part_of_a_pull_secret_is_ever_printed() {
    // Each of these is wrong in its own way, and holds the password in one form or another.
    let password = "hunter2-is-the-password";
    let encoded = "dXNlcjpodW50ZXIyLWlzLXRoZS1wYXNzd29yZA==";
    for secret in [
        password.to_owned(),
        encoded.to_owned(),
        format!(r#"{{"auths": {{"quay.io": {{"auth": "{encoded}"}}}}"#),
        format!(r#"{{"quay.io": {{"auths": "{encoded}"}}}}"#),
        format!(r#"'{{"auths": {{"quay.io": {{"auth": "{encoded}"}}}}}}"#),
        format!("auths:\n  quay.io:\n    auth: {encoded}\n  - {password}\n"),
        format!(r#"{{"auths": {{"quay.io": {{"auth": {encoded}}}}}}}"#),
        format!(r#"{{"kind": "Secret", "stringData": {{"{password}": "{encoded}"}}}}"#),
    ] {
        let text = refusal(&[("PULL_SECRET", &secret)]);
        assert!(text.contains("PULL_SECRET: "), "{text}");
        assert!(!text.contains(password) && !text.contains(encoded), "{text}");
    }
}

#[test]
fn wrong_flags_are_refused_like_wrong_settings() {
    let output = service(&[], &["--listen-prot", "80"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("--listen-port"),
        "a hint at the right spelling"
    );
    assert_eq!(service(&[], &["release", "inspect"]).status.code(), Some(64));
    assert_eq!(service(&[], &["release", "inspect", "not a pullspec"]).status.code(), Some(64));
    assert_eq!(service(&[], &["--help"]).status.code(), Some(0));
    assert_eq!(service(&[], &["--version"]).status.code(), Some(0));
}

#[test]
fn a_flag_counts_more_than_a_variable() {
    let output = service(&[("LISTEN_PORT", "1")], &["--listen-port", "99999"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("LISTEN_PORT=99999: "));
}

#[test]
fn an_iso_that_is_none_is_told_so() {
    let output = service(&[], &["iso", "inspect", "/etc/hostname"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: cannot read /etc/hostname: "), "{text}");
}
