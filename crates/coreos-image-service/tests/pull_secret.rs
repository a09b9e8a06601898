//! `pull-secret check`: what is wrong with a pull secret, told without a word of it.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::NOBODY;
use test_support::registry::{DockerRegistry, TokenRegistry};

const PASSWORD: &str = "hunter2-is-the-password";
const TOKEN: &str = "an-identity-token-of-the-robot";

struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// The command, with a pull secret and the settings that the tests' registries need.
fn check(pull_secret: &str, insecure: &[&str], variables: &[(&str, &str)], arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"))
        .args(["pull-secret", "check"])
        .args(arguments)
        .env_clear()
        .env("PULL_SECRET", pull_secret)
        .env("INSECURE_REGISTRIES", insecure.join(","))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn encoded(password: &str) -> String {
    BASE64_STANDARD.encode(format!("robot:{password}"))
}

/// What the command says of a target.
fn line<'a>(answer: &'a Answer, target: &str) -> &'a str {
    let prefix = format!("{target}  ");
    let mut lines = answer.stdout.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines.next().unwrap_or_else(|| panic!("{target} is not in\n{}", answer.stdout)).trim_start()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_is_tried_and_told_of() {
    let docker = DockerRegistry::start();
    let quay = TokenRegistry::builder().user_of("robot", PASSWORD, &["ours/"]).start().await;
    quay.publish_manifest("ours/image", "1", "application/vnd.oci.image.manifest.v1+json", b"{}");
    let (docker_port, quay) = (docker.address(), quay.address());
    let docker_entry: Value = serde_json::from_str(&docker.pull_secret()).unwrap();
    let wrong = json!({"auth": encoded("wrong")});
    let right = json!({"auth": encoded(PASSWORD)});
    let part = |path: &str| format!("{quay}/{path}");
    let secret = json!({"auths": {
        docker_port: docker_entry["auths"][docker_port],
        format!("{docker_port}/part"): wrong,
        quay: right,
        part("ours/image"): right,
        part("theirs/image"): right,
        part("broken"): {"auth": "***"},
        NOBODY: right,
        "cloud.openshift.com": right,
        "u@quay.io": right,
    }});
    let insecure = [docker_port, quay, NOBODY];
    let answer = check(&secret.to_string(), &insecure, &[], &[]);
    assert_eq!(answer.code, Some(1), "{}", answer.stdout);
    assert_eq!(answer.stderr, "error: 4 of 8 checks have found something to be mended\n");
    for (target, words) in [
        (docker_port, "ok"),
        (&format!("{docker_port}/part"), "wrong credentials in entry"),
        (quay, "ok"),
        (&part("ours/image"), "ok"),
        (&part("theirs/image"), "the credentials of entry"),
        (&part("broken"), "pull secret entry"),
        (NOBODY, "unreachable: no answer from http"),
        ("cloud.openshift.com", "not tried: this entry is for telemetry"),
    ] {
        let line = line(&answer, target);
        assert!(line == words || words.len() > 2 && line.starts_with(words), "{target}: {line}");
    }
    assert!(line(&answer, &part("theirs/image")).contains("are valid, but no pull access to"));
    assert!(
        answer.stdout.starts_with("warning: pull secret entry \"quay.io\" is never used"),
        "{}",
        answer.stdout
    );

    let good = json!({"auths": {docker_port: docker_entry["auths"][docker_port], part("ours/image"): right}});
    let answer = check(&good.to_string(), &insecure, &[], &[]);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{}", answer.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_is_tried_instead() {
    let quay = TokenRegistry::builder().user_of("robot", PASSWORD, &["ours/"]).start().await;
    quay.publish_manifest("ours/image", "1", "application/vnd.oci.image.manifest.v1+json", b"{}");
    let quay = quay.address();
    let secret = json!({"auths": {quay: {"auth": encoded(PASSWORD)}, NOBODY: {"auth": encoded(PASSWORD)}}});
    let (image, other) = (format!("{quay}/ours/image:1"), format!("{quay}/ours/other"));
    let answer = check(
        &secret.to_string(),
        &[quay],
        &[],
        &["--output", "json", "--registry", quay, "--registry", &other, &image],
    );
    assert_eq!(answer.code, Some(0), "{}{}", answer.stdout, answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    let told = |target: &str, verdict: &str| {
        json["checks"].as_array().unwrap().iter().any(|check| {
            (&check["target"], &check["verdict"], &check["entry"], &check["ok"])
                == (&json!(target), &json!(verdict), &json!(quay), &json!(true))
        })
    };
    assert!(told(quay, "ok") && told(&other, "not-found") && told(&image, "ok"), "{json}");
    assert_eq!((json["checks"].as_array().unwrap().len(), &json["warnings"]), (3, &json!([])));

    assert_eq!(check("{}", &[], &[], &[]).code, Some(64));
    assert_eq!(check(&secret.to_string(), &[], &[], &["not a pullspec"]).code, Some(64));
    let answer = check("", &[], &[], &[]);
    assert!(
        answer.stderr.contains("nothing to check: give PULL_SECRET or PULL_SECRET_FILE"),
        "{}",
        answer.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_images_that_are_to_be_served_are_tried_with_a_file_in_any_form() {
    let docker = DockerRegistry::start();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("secret.yaml");
    let data = BASE64_STANDARD.encode(docker.pull_secret());
    fs::write(&path, format!("kind: Secret\ndata:\n  .dockerconfigjson: {data}\n")).unwrap();
    let image = format!("{}/mirror/ocp-release:4.18.52-x86_64", docker.address());
    let releases = json!([
        {"openshift_version": "4.18", "version": "4.18.52", "cpu_architecture": "x86_64", "url": image},
    ]);
    let variables = [("PULL_SECRET_FILE", path.to_str().unwrap()), ("RELEASE_IMAGES", &releases.to_string())];
    let answer = check("", &[docker.address()], &variables, &[]);
    assert_eq!(answer.code, Some(1), "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.starts_with("warning: the pull secret is the manifest of a Kubernetes Secret"));
    assert_eq!(line(&answer, docker.address()), "ok");
    assert!(line(&answer, &image).starts_with("there is no image"), "{}", answer.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_told_from_wrong_credentials() {
    let docker = DockerRegistry::start_with_tls();
    let answer = check(&docker.pull_secret(), &[], &[], &[]);
    assert_eq!(answer.code, Some(1));
    assert!(line(&answer, docker.address()).starts_with("certificate not trusted: "), "{}", answer.stdout);

    let directory = TempDir::new().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, docker.ca_pem()).unwrap();
    let variables = [("REGISTRY_TRUSTED_CA_FILE", ca.to_str().unwrap())];
    let answer = check(&docker.pull_secret(), &[], &variables, &[]);
    assert_eq!((answer.code, line(&answer, docker.address())), (Some(0), "ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_printed_or_logged() {
    let docker = DockerRegistry::start();
    let builder = TokenRegistry::builder().user_of("robot", PASSWORD, &["ours/"]);
    let quay = builder.identity_token("robot", TOKEN).changing_identity_tokens().start().await;
    quay.publish_manifest("ours/image", "1", "application/vnd.oci.image.manifest.v1+json", b"{}");
    let at = |path: &str| format!("{}/{path}", quay.address());
    let registry_token = quay.token_for("ours/image");
    let url = format!("https://robot:{PASSWORD}@quay.io/v1/?token={PASSWORD}");
    let secret = json!({"auths": {
        docker.address(): {"auth": encoded(PASSWORD)},
        at("ours"): {"auth": encoded(PASSWORD)},
        at("theirs"): {"username": "robot", "password": PASSWORD},
        at("wrong"): {"auth": encoded(&format!("{PASSWORD}\n"))},
        at("ours/image"): {"registrytoken": registry_token},
        quay.address(): {"auth": BASE64_STANDARD.encode("robot:"), "identitytoken": TOKEN},
        at("broken/a"): {"auth": PASSWORD},
        at("broken/b"): {"password": PASSWORD},
        at("broken/c"): {"auth": format!("robot:{PASSWORD}")},
        at("broken/d"): {"auth": BASE64_STANDARD.encode(PASSWORD)},
        url: {"auth": encoded(PASSWORD)},
    }})
    .to_string();
    let insecure = [docker.address(), quay.address()];
    let mut shown = String::new();
    for text in [secret.clone(), BASE64_STANDARD.encode(&secret), secret.replace("robot", "ro\nbot")] {
        for arguments in [&[] as &[&str], &["--output", "json"], &["--registry", NOBODY]] {
            let answer = check(&text, &insecure, &[("LOGLEVEL", "trace")], arguments);
            shown += &(answer.stdout + &answer.stderr);
        }
    }
    assert!(shown.contains("token received") && shown.contains("registry found"), "it is logged: {shown}");
    assert!(shown.contains("wrong credentials") && shown.contains("no pull access"), "{shown}");
    let mut secrets = quay.secrets();
    secrets
        .extend([PASSWORD, TOKEN, &encoded(PASSWORD), &encoded(&format!("{PASSWORD}\n"))].map(str::to_owned));
    secrets.extend([BASE64_STANDARD.encode(PASSWORD), registry_token, BASE64_STANDARD.encode(&secret)]);
    assert!(secrets.len() > 8);
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} is in\n{shown}");
    }
}
