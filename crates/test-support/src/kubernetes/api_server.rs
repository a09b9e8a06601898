//! A real `kube-apiserver` with its etcd, where somebody has put them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use url::Url;
use uuid::Uuid;

use crate::free_port;

/// The two processes, and the folder they write to. They end when this is dropped.
#[derive(Debug)]
pub struct ApiServer {
    url: Url,
    token: String,
    processes: Vec<Child>,
    directory: tempfile::TempDir,
}

impl ApiServer {
    /// The variable of envtest: a folder with `kube-apiserver` and, unless it is in the path, `etcd`.
    pub const ASSETS: &str = "KUBEBUILDER_ASSETS";

    /// Starts one, if the variable says where it is. It may take a while until it is ready: ask `/readyz`.
    pub fn start() -> Option<Self> {
        let assets = PathBuf::from(std::env::var_os(Self::ASSETS)?);
        let apiserver = assets.join("kube-apiserver");
        assert!(apiserver.exists(), "{} has no kube-apiserver", Self::ASSETS);
        let bundled = assets.join("etcd");
        let etcd = if bundled.exists() { bundled } else { PathBuf::from("etcd") };
        let directory = tempfile::tempdir().unwrap();
        let token = Uuid::new_v4().to_string();
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let mut server = Self {
            url: Url::parse(&format!("https://127.0.0.1:{port}")).unwrap(),
            token,
            processes: Vec::new(),
            directory,
        };
        let path = server.directory.path().to_owned();
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        server.spawn(
            Command::new(etcd)
                .arg(format!("--data-dir={}", path.join("etcd").display()))
                .arg(format!("--listen-client-urls={etcd_url}"))
                .arg(format!("--advertise-client-urls={etcd_url}"))
                .arg(format!("--listen-peer-urls={peer_url}"))
                .arg(format!("--initial-advertise-peer-urls={peer_url}"))
                .arg(format!("--initial-cluster=default={peer_url}"))
                .arg("--unsafe-no-fsync"),
        );
        let (public_key, private_key) = service_account_keys(&path);
        let tokens = path.join("tokens.csv");
        std::fs::write(&tokens, format!("{},tests,tests,system:masters\n", server.token)).unwrap();
        server.spawn(
            Command::new(apiserver)
                .arg(format!("--etcd-servers={etcd_url}"))
                .arg("--bind-address=127.0.0.1")
                .arg(format!("--secure-port={port}"))
                .arg(format!("--cert-dir={}", path.join("certificates").display()))
                .arg(format!("--token-auth-file={}", tokens.display()))
                .arg("--authorization-mode=RBAC")
                .arg("--disable-admission-plugins=ServiceAccount")
                .arg("--service-cluster-ip-range=10.0.0.0/24")
                .arg("--service-account-issuer=https://localhost")
                .arg(format!("--service-account-key-file={}", public_key.display()))
                .arg(format!("--service-account-signing-key-file={}", private_key.display())),
        );
        Some(server)
    }

    /// Where it listens. Its certificate is its own.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The bearer token of somebody who may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    fn spawn(&mut self, command: &mut Command) {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = child.stderr.take().unwrap();
        // A full pipe would stop it; its last words help where a test fails.
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                if line.starts_with(['E', 'F']) {
                    eprintln!("{line}");
                }
            }
        });
        self.processes.push(child);
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A public and a private key. It does not take the public one out of the other.
fn service_account_keys(directory: &Path) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let [public_path, private_path] =
        ["service-account.pub", "service-account.key"].map(|name| directory.join(name));
    std::fs::write(&public_path, key.public_key_pem()).unwrap();
    std::fs::write(&private_path, key.serialize_pem()).unwrap();
    (public_path, private_path)
}
