//! A pull secret in a file, which changes while the client lives.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci_registry::{Config, CredentialSource, Error, PullSecret, PullSecretFile, Registry};
use tempfile::TempDir;
use test_support::payload::{Artifact, Compression, MediaTypes};
use test_support::registry::DockerRegistry;

use crate::support::{PASSWORD, USER, builder, config, count, image, reference, serve};

fn text(address: &str, user: &str, password: &str) -> String {
    format!(r#"{{"auths":{{"{address}":{{"username":"{user}","password":"{password}"}}}}}}"#)
}

/// A client whose pull secret is in a file.
fn client(path: &Path, address: &str) -> Registry {
    let credentials = CredentialSource::from(PullSecretFile::open(path).unwrap());
    Registry::new(Config { credentials, ..config(PullSecret::default(), &[address]) }).unwrap()
}

#[tokio::test]
async fn a_password_is_changed_at_a_real_registry() {
    let server = DockerRegistry::start();
    let pushed = Artifact::from(image(MediaTypes::Docker, Compression::Gzip));
    server.push("openshift/release:4.18.52-x86_64", &pushed);
    let reference = reference(server.address());

    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.json");
    fs::write(&path, server.pull_secret()).unwrap();
    let client = client(&path, server.address());
    client.manifest(&reference).await.unwrap();

    server.change_password("the-second-password");
    let error = client.manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    fs::write(&path, server.pull_secret_with("the-second-password")).unwrap();
    client.manifest(&reference).await.unwrap();

    // A file that is being written says nothing of the password.
    fs::write(&path, "{\"auths\":").unwrap();
    client.manifest(&reference).await.unwrap();
}

#[tokio::test]
async fn a_secret_that_kubernetes_mounts_is_swapped() {
    let server = DockerRegistry::start();
    let pushed = Artifact::from(image(MediaTypes::Docker, Compression::Gzip));
    server.push("openshift/release:4.18.52-x86_64", &pushed);
    let reference = reference(server.address());

    let volume = TempDir::new().unwrap();
    let publish = |version: &str, text: &str| {
        fs::create_dir(volume.path().join(version)).unwrap();
        fs::write(volume.path().join(version).join(".dockerconfigjson"), text).unwrap();
        symlink(version, volume.path().join("..data_tmp")).unwrap();
        fs::rename(volume.path().join("..data_tmp"), volume.path().join("..data")).unwrap();
    };
    publish("..2026_11_23", &server.pull_secret());
    let path = volume.path().join(".dockerconfigjson");
    symlink("..data/.dockerconfigjson", &path).unwrap();
    let client = client(&path, server.address());
    client.manifest(&reference).await.unwrap();

    server.change_password("the-second-password");
    publish("..2026_11_24", &server.pull_secret_with("the-second-password"));
    fs::remove_dir_all(volume.path().join("..2026_11_23")).unwrap();
    client.manifest(&reference).await.unwrap();
}

#[tokio::test]
async fn tokens_go_with_the_credentials_that_they_were_given_for() {
    let (server, _) = serve(builder().user("other", PASSWORD)).await;
    let reference = reference(server.address());
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.json");
    fs::write(&path, text(server.address(), USER, PASSWORD)).unwrap();
    let client = client(&path, server.address());
    client.manifest(&reference).await.unwrap();

    // Another entry changes nothing for this one.
    let both = text(server.address(), USER, PASSWORD).replace("}}}", "},\"quay.io\":{}}}");
    fs::write(&path, both).unwrap();
    client.manifest(&reference).await.unwrap();
    assert_eq!(count(&server, "/token"), 1);

    fs::write(&path, text(server.address(), "other", PASSWORD)).unwrap();
    client.manifest(&reference).await.unwrap();
    let requests = server.requests();
    let last = requests.iter().rfind(|request| request.path == "/token").unwrap();
    assert!(last.query.contains("account=other"), "{}", last.query);
    assert_eq!(count(&server, "/token"), 2);

    fs::write(&path, r#"{"auths":{}}"#).unwrap();
    let error = client.manifest(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "the token was not ours any more: {error:?}");
}

#[tokio::test]
async fn a_password_that_no_token_server_takes_any_more_is_read_again() {
    let (server, _) = serve(builder()).await;
    let reference = reference(server.address());
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.json");
    fs::write(&path, text(server.address(), USER, PASSWORD)).unwrap();
    let client = client(&path, server.address());
    client.manifest(&reference).await.unwrap();

    server.change_password(USER, "the-second-password");
    client.manifest(&reference).await.unwrap();
    assert_eq!(count(&server, "/token"), 1, "its token is still good");
    server.revoke_tokens();
    fs::write(&path, text(server.address(), USER, "the-second-password")).unwrap();
    client.manifest(&reference).await.unwrap();
}

/// A registry that changes the pull secret in the very moment in which it refuses the old one: the client has looked
/// at the file before.
#[tokio::test]
async fn a_refusal_makes_the_file_be_read_again_and_the_request_repeated() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.json");
    fs::write(&path, text(&address, "user", "old")).unwrap();

    let refusals = Arc::new(AtomicUsize::new(0));
    let server = {
        let (path, address, refusals) = (path.clone(), address.clone(), Arc::clone(&refusals));
        move |mut stream: TcpStream| {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    return;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: basic "));
            let answer = match authorization {
                // base64 of user:new, in lower case
                Some("dxnlcjpuzxc=") => "200 OK\r\n",
                given => {
                    if given.is_some() && refusals.fetch_add(1, Ordering::Relaxed) == 0 {
                        fs::write(&path, text(&address, "user", "new")).unwrap();
                    }
                    "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
                }
            };
            let body = r#"{"schemaVersion":2,"manifests":[]}"#;
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {answer}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
        }
    };
    std::thread::spawn(move || listener.incoming().for_each(|stream| server(stream.unwrap())));

    client(&path, &address).manifest(&reference(&address)).await.unwrap();
    assert_eq!(refusals.load(Ordering::Relaxed), 1, "one request was repeated, once");
}

#[tokio::test]
async fn a_refusal_of_what_has_not_changed_is_final() {
    let (server, _) = serve(builder()).await;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("auth.json");
    fs::write(&path, text(server.address(), USER, "wrong")).unwrap();
    client(&path, server.address()).manifest(&reference(server.address())).await.unwrap_err();
    assert_eq!(count(&server, "/token"), 1);
}
