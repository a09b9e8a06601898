use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tempfile::TempDir;

use super::Certificate;
use crate::payload::Artifact;

/// Debian's `docker-registry`, a child process on a free port of the loopback interface, with one user.
///
/// Its storage, configuration and log lie in a temporary directory that goes with it.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Child,
    directory: TempDir,
    address: String,
    certificate: Option<Certificate>,
}

/// A line of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// The method.
    pub method: String,
    /// The path, with the query if there is one.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// How many bytes of a body were sent.
    pub bytes: u64,
    /// Who asked: skopeo pushes, others pull.
    pub user_agent: String,
}

impl DockerRegistry {
    /// The user's name.
    pub const USER: &str = "puller";
    /// The user's password.
    pub const PASSWORD: &str = "correct horse battery staple";

    const STORAGE: &str = "storage";

    /// Starts it over plain HTTP.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// Starts it with TLS and a certificate that nobody trusts yet.
    pub fn start_with_tls() -> Self {
        Self::launch(Some(Certificate::generate()))
    }

    /// Where it is: `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who is to be trusted for TLS with it.
    ///
    /// # Panics
    ///
    /// If it speaks no TLS.
    pub fn ca_pem(&self) -> &str {
        &self.certificate.as_ref().expect("it was started with TLS").ca_pem
    }

    /// A pull secret with its one user.
    pub fn pull_secret(&self) -> String {
        self.pull_secret_with(Self::PASSWORD)
    }

    /// A pull secret with its one user and some password.
    pub fn pull_secret_with(&self, password: &str) -> String {
        let auth = BASE64_STANDARD.encode(format!("{}:{password}", Self::USER));
        json!({"auths": {&self.address: {"auth": auth}}}).to_string()
    }

    /// Gives its one user another password. Nobody can push any more.
    pub fn change_password(&self, password: &str) {
        // It reads the file again when its time of modification is later.
        let path = self.directory.path().join("htpasswd");
        let new = self.directory.path().join("htpasswd.new");
        fs::write(&new, htpasswd(password)).expect("a file can be written");
        fs::rename(new, path).expect("a file can be renamed");
    }

    /// Pushes an image or a list of images by skopeo, under `repository:tag`.
    pub fn push(&self, name: &str, artifact: &Artifact) {
        let layout = TempDir::new_in(self.directory.path()).expect("a directory can be made");
        artifact.write_dir(layout.path()).expect("the layout can be written");
        self.push_dir(layout.path(), name);
    }

    /// Pushes what lies in a directory in skopeo's `dir:` layout, under `repository:tag`.
    ///
    /// # Panics
    ///
    /// If skopeo fails.
    pub fn push_dir(&self, layout: &Path, name: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--dest-authfile",
        ]);
        skopeo.arg(self.directory.path().join("auth.json"));
        match &self.certificate {
            Some(_) => skopeo.arg("--dest-cert-dir").arg(self.certificates()),
            None => skopeo.arg("--dest-tls-verify=false"),
        };
        skopeo.arg(format!("dir:{}", layout.display())).arg(format!("docker://{}/{name}", self.address));
        let output = skopeo.output().expect("skopeo is installed");
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Pulls `repository:tag` by skopeo, with all images of a list, to where skopeo's `oci:` or `dir:` says.
    ///
    /// # Panics
    ///
    /// If it speaks TLS, or skopeo fails.
    pub fn pull_to(&self, name: &str, destination: &str) {
        assert!(self.certificate.is_none(), "only plain HTTP is pulled from");
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--all", "--src-tls-verify=false"]);
        skopeo.arg("--src-authfile").arg(self.directory.path().join("auth.json"));
        skopeo.arg(format!("docker://{}/{name}", self.address)).arg(destination);
        let output = skopeo.output().expect("skopeo is installed");
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The folder of its storage, which holds `docker/registry/v2`.
    pub fn storage(&self) -> PathBuf {
        self.directory.path().join(Self::STORAGE)
    }

    /// What it has written to its log so far, standard output and error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("the log can be read")
    }

    /// The requests in its access log. A line may be written a moment after its answer.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.log().lines().filter_map(LoggedRequest::parse).collect()
    }

    /// Ends it. So does dropping it.
    pub fn stop(self) {
        drop(self);
    }

    fn launch(certificate: Option<Certificate>) -> Self {
        let directory = TempDir::new().expect("a directory can be made");
        let process = Self::configure(directory.path(), certificate.as_ref());
        let mut registry = Self { process, directory, address: String::new(), certificate };
        registry.address = registry.wait_for_address();
        fs::write(registry.directory.path().join("auth.json"), registry.pull_secret())
            .expect("a file can be written");
        registry
    }

    fn configure(directory: &Path, certificate: Option<&Certificate>) -> Child {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().expect("it is in the directory"))
                .expect("a directory can be made");
            fs::write(&path, text).expect("a file can be written");
            path
        };
        let htpasswd = write("htpasswd", &htpasswd(Self::PASSWORD));
        let tls = certificate.map(|certificate| {
            write("certificates/ca.crt", &certificate.ca_pem);
            let chain = write("server.pem", &certificate.certificate_pem);
            json!({"certificate": chain, "key": write("server.key", &certificate.key_pem)})
        });
        // JSON is YAML. Port 0 lets the kernel choose, the log tells what it chose.
        let configuration = json!({
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": directory.join(Self::STORAGE)}},
            "http": {"addr": "127.0.0.1:0", "tls": tls},
            "auth": {"htpasswd": {"realm": "test", "path": htpasswd}},
        });
        let configuration = write("config.yml", &configuration.to_string());
        let log = File::create(directory.join("log")).expect("a file can be written");
        Command::new("docker-registry")
            .arg("serve")
            .arg(configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed")
    }

    /// Waits until it listens, and reads from its log where.
    fn wait_for_address(&mut self) -> String {
        const PATIENCE: Duration = Duration::from_secs(30);
        let started = Instant::now();
        loop {
            let log = self.log();
            if let Some((_, rest)) = log.split_once("listening on ") {
                let end = rest.find([',', '"', '\n']);
                if let Some(end) = end {
                    return rest[..end].to_owned();
                }
            }
            let gone = self.process.try_wait().expect("it is our child");
            assert!(gone.is_none() && started.elapsed() < PATIENCE, "docker-registry did not start: {log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn certificates(&self) -> PathBuf {
        self.directory.path().join("certificates")
    }
}

/// The password file of its one user.
fn htpasswd(password: &str) -> String {
    let output = Command::new("htpasswd").args(["-Bbn", DockerRegistry::USER, password]).output();
    String::from_utf8(output.expect("htpasswd is installed").stdout).expect("htpasswd writes text")
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl LoggedRequest {
    /// Reads a line of Apache's combined format: `host - - [date] "GET /v2/ HTTP/1.1" 200 2 "" "agent"`.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("] \"")?;
        let (request, rest) = rest.split_once('"')?;
        let mut request = request.split(' ');
        let mut quoted = rest.split('"');
        let mut numbers = rest.split_ascii_whitespace();
        Some(Self {
            method: request.next()?.to_owned(),
            path: request.next()?.to_owned(),
            status: numbers.next()?.parse().ok()?,
            bytes: numbers.next()?.parse().ok()?,
            // Between the status and it stands the referrer.
            user_agent: quoted.nth(3)?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::LoggedRequest;

    #[test]
    fn the_access_log_is_read() {
        let line = r#"127.0.0.1 - puller [23/Nov/2026:09:25:00 +0000] "GET /v2/a/b HTTP/1.1" 200 87 "" "skopeo/1.9.3""#;
        let request = LoggedRequest {
            method: "GET".to_owned(),
            path: "/v2/a/b".to_owned(),
            status: 200,
            bytes: 87,
            user_agent: "skopeo/1.9.3".to_owned(),
        };
        assert_eq!(LoggedRequest::parse(line), Some(request));
        assert_eq!(
            LoggedRequest::parse(r#"time="2026-11-23" level=info msg="listening on 127.0.0.1:1""#),
            None
        );
    }
}
