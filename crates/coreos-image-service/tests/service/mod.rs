//! The program as a child process.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub(crate) const INFRA_ENV: &str = "7d0f0dd5-3f1c-4d1b-9f0c-4a1f5a6c2b3e";

/// Enough for the slowest machine; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program, not started yet.
pub(crate) struct Builder {
    directory: PathBuf,
    command: Command,
}

/// The program, running. Dropped, it is killed.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
    url: String,
}

impl Service {
    /// A service that keeps everything in `directory`.
    pub(crate) fn builder(directory: &Path) -> Builder {
        std::fs::create_dir_all(directory.join("data")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        command
            .env_clear()
            .env("DATA_DIR", directory.join("data"))
            .env("INFRA_ENV_DIR", directory.join("infra-envs"))
            .env("LISTEN_ADDRESS", "127.0.0.1")
            .env("LISTEN_PORT", "0");
        Builder { directory: directory.to_owned(), command }
    }

    pub(crate) fn wait_until_ready(&self) {
        let ready = || {
            let health: Value = serde_json::from_str(&self.curl(&["/health"])).unwrap();
            health["images"].as_array().unwrap().iter().all(|image| image["state"] == "ready")
        };
        wait(ready, || format!("the images are not ready:\n{}", self.log()));
    }

    pub(crate) fn download(&self, path: &str, to: &Path) {
        self.curl(&[path, "--fail", "--output", to.to_str().unwrap()]);
    }

    /// Stops it as a container runtime would, and expects it to end well.
    pub(crate) fn stop(mut self) {
        // The shell has a kill of its own; not every system has the program.
        let kill = format!("kill {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let url = format!("{}{}", self.url, arguments[0]);
        let output = Command::new("curl")
            .args(["--silent", "--show-error", &url])
            .args(&arguments[1..])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{url}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Builder {
    pub(crate) fn release(
        mut self,
        openshift_version: &str,
        version: &str,
        arch: &str,
        pullspec: &str,
    ) -> Self {
        let release = json!([{
            "openshift_version": openshift_version, "version": version, "cpu_architecture": arch, "url": pullspec,
        }]);
        let registry = pullspec.split_once('/').unwrap().0;
        self.command.env("RELEASE_IMAGES", release.to_string()).env("INSECURE_REGISTRIES", registry);
        self
    }

    pub(crate) fn pull_secret(mut self, pull_secret: &str) -> Self {
        self.command.env("PULL_SECRET", pull_secret);
        self
    }

    pub(crate) fn infra_env(self, ignition: &str, kernel_arguments: &[&str]) -> Self {
        let directory = self.directory.join("infra-envs").join(INFRA_ENV);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("discovery.ign"), ignition).unwrap();
        let append: Vec<_> =
            kernel_arguments.iter().map(|value| json!({"operation": "append", "value": value})).collect();
        fs::write(directory.join("kernel_arguments.json"), json!(append).to_string()).unwrap();
        self
    }

    /// Adds an archive with network configuration to the infra-env.
    pub(crate) fn ramdisk(self, archive: &[u8]) -> Self {
        fs::write(self.directory.join("infra-envs").join(INFRA_ENV).join("minimal-initrd"), archive).unwrap();
        self
    }

    /// Lets qemu's guests, to whom this machine is 10.0.2.2, fetch from the service.
    pub(crate) fn for_guests(mut self) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        self.command.env("LISTEN_PORT", &port);
        self.command.env("IMAGE_SERVICE_BASE_URL", format!("http://10.0.2.2:{port}/images"));
        self
    }

    pub(crate) fn start(mut self) -> Service {
        let log = self.directory.join("service.log");
        let child = self.command.stderr(File::create(&log).unwrap()).stdout(Stdio::null()).spawn().unwrap();
        let mut service = Service { child, log, url: String::new() };
        let address = || {
            let text = service.log();
            let mut events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            events.find_map(|event| Some(event.get("listen.address")?.as_str()?.to_owned()))
        };
        wait(|| address().is_some(), || format!("the service does not listen:\n{}", service.log()));
        service.url = format!("http://{}", address().unwrap());
        service
    }
}

fn wait(condition: impl Fn() -> bool, complaint: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{}", complaint());
        std::thread::sleep(Duration::from_millis(20));
    }
}
