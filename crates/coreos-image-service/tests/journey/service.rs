//! The program as a child process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use coreos_names::Arch;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use test_support::fixtures::{OS_BUILD, live_iso};
use test_support::free_port;
use test_support::registry::Certificate;

use crate::IGNITION;
use crate::tools::{coreos_installer, output};

pub(crate) const INFRA_ENV: &str = "7d0f0dd5-3f1c-4d1b-9f0c-4a1f5a6c2b3e";

/// The path of that infra-env's ISO.
pub(crate) const FULL_ISO: &str = "/byid/7d0f0dd5-3f1c-4d1b-9f0c-4a1f5a6c2b3e/4.18/x86_64/full.iso";

/// What lies in the data directory of a service with a disk of its own.
pub(crate) const NOT_OURS: &str = "not-ours";

/// The file with its standard output, beside the log.
const PRINTED: &str = "service.out";

/// Enough for the slowest machine; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_mins(5);

/// An entry of OS_IMAGES.
pub(crate) fn os_image(openshift_version: &str, arch: Arch, url: &str) -> Value {
    json!({
        "openshift_version": openshift_version, "version": OS_BUILD, "cpu_architecture": arch.name(), "url": url,
    })
}

/// The program, not started yet.
pub(crate) struct Builder {
    directory: PathBuf,
    command: Command,
    ca: Option<PathBuf>,
}

/// The program, running. Dropped, it is killed.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
    url: String,
    /// The authority that its certificate is from, if it has one.
    ca: Option<PathBuf>,
}

impl Service {
    /// A service that keeps everything in `directory`.
    pub(crate) fn builder(directory: &Path) -> Builder {
        fs::create_dir_all(directory.join("data")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-image-service"));
        command
            .env_clear()
            .env("DATA_DIR", directory.join("data"))
            .env("INFRA_ENV_DIR", directory.join("infra-envs"))
            .env("LISTEN_ADDRESS", "127.0.0.1")
            .env("LISTEN_PORT", "0");
        Builder { directory: directory.to_owned(), command, ca: None }
    }

    /// What `/health` tells of each image.
    pub(crate) fn images(&self) -> Vec<Value> {
        let mut health: Value = serde_json::from_str(&self.curl(&["/health"])).unwrap();
        serde_json::from_value(health["images"].take()).unwrap()
    }

    pub(crate) fn wait_until_images(&self, what: &str, condition: impl Fn(&[Value]) -> bool) {
        let complaint = || format!("waited in vain until {what}: {:?}\n{}", self.images(), self.log());
        wait(|| condition(&self.images()), complaint);
    }

    pub(crate) fn wait_until_ready(&self) {
        self.wait_until_images("all are ready", |images| {
            images.iter().all(|image| image["state"] == "ready")
        });
    }

    /// The ISO at a path without the Ignition config, which must be in it.
    pub(crate) fn iso_without_ignition(&self, path: &str) -> Vec<u8> {
        let iso = NamedTempFile::new().unwrap();
        self.download(path, iso.path());
        let found = output(coreos_installer(&["iso", "ignition", "show"]).arg(iso.path()));
        assert_eq!(found, IGNITION);
        output(coreos_installer(&["iso", "ignition", "remove"]).arg(iso.path()));
        fs::read(iso.path()).unwrap()
    }

    /// The status of the answer to a request.
    pub(crate) fn status(&self, path: &str) -> u16 {
        self.curl(&[path, "--output", "/dev/null", "--write-out", "%{http_code}"]).parse().unwrap()
    }

    /// The body of an answer.
    pub(crate) fn text(&self, path: &str) -> String {
        self.curl(&[path])
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

    /// Ends it with SIGKILL, at whatever it is doing.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The data directory of a service with a disk of its own, which is mounted for it alone.
    pub(crate) fn data_on_small_disk(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        let data = self.log.parent().unwrap().join("data");
        root.join(data.strip_prefix("/").unwrap())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// All that it shows to anybody: its log, what it prints, `/health` and `/metrics`.
    pub(crate) fn shown(&self) -> String {
        let printed = fs::read_to_string(self.log.with_file_name(PRINTED)).unwrap();
        [self.log(), printed, self.text("/health"), self.text("/metrics")].join("\n")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The URL of its port with plain HTTP, for one that has HTTPS too.
    pub(crate) fn plain_url(&self) -> String {
        wait(|| self.listening("http").is_some(), || format!("there is no second port:\n{}", self.log()));
        self.listening("http").unwrap()
    }

    /// The URL of the port that this is spoken on, once it is open.
    fn listening(&self, scheme: &str) -> Option<String> {
        let log = self.log();
        let mut events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.find_map(|event| {
            let address = event.get("listen.address")?.as_str()?;
            (event["listen.tls"] == (scheme == "https")).then(|| format!("{scheme}://{address}"))
        })
    }

    fn curl(&self, arguments: &[&str]) -> String {
        let (path, arguments) = arguments.split_first().unwrap();
        // A path, unless it is a URL of another port.
        let url = if path.starts_with('/') { self.url(path) } else { (*path).to_owned() };
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", &url]).args(arguments);
        if let Some(ca) = &self.ca {
            curl.arg("--cacert").arg(ca);
        }
        let output = curl.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{url}: {complaint}\n{}", self.log());
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
    /// Finds the ISO of an architecture where the predecessor left it. Nobody listens where it is said to come from.
    pub(crate) fn adopted(self, arch: Arch) -> Self {
        let data = self.directory.join("data");
        fs::create_dir_all(&data).unwrap();
        fs::copy(live_iso(arch), data.join(format!("rhcos-full-iso-{OS_BUILD}-{arch}.iso"))).unwrap();
        self.os_images(&[os_image("4.18", arch, "http://127.0.0.1:1/live.iso")])
    }

    pub(crate) fn os_images(self, images: &[Value]) -> Self {
        self.variable("OS_IMAGES", &json!(images).to_string())
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

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
        if !kernel_arguments.is_empty() {
            let append = |value| json!({"operation": "append", "value": value});
            let append: Vec<_> = kernel_arguments.iter().map(append).collect();
            fs::write(directory.join("kernel_arguments.json"), json!(append).to_string()).unwrap();
        }
        self
    }

    /// Adds an archive with network configuration to the infra-env.
    pub(crate) fn ramdisk(self, archive: &[u8]) -> Self {
        fs::write(self.directory.join("infra-envs").join(INFRA_ENV).join("minimal-initrd"), archive).unwrap();
        self
    }

    /// Lets qemu's guests, to whom this machine is 10.0.2.2, fetch from the service.
    pub(crate) fn for_guests(mut self) -> Self {
        let port = free_port().to_string();
        self.command.env("LISTEN_PORT", &port);
        self.command.env("IMAGE_SERVICE_BASE_URL", format!("http://10.0.2.2:{port}/images"));
        self
    }

    /// Speaks HTTPS, and HTTP on a second port.
    pub(crate) fn https(mut self, certificate: &Certificate) -> Self {
        for (variable, pem) in
            [("HTTPS_CERT_FILE", &certificate.certificate_pem), ("HTTPS_KEY_FILE", &certificate.key_pem)]
        {
            let path = self.directory.join(variable);
            fs::write(&path, pem).unwrap();
            self.command.env(variable, path);
        }
        let ca = self.directory.join("ca.pem");
        fs::write(&ca, &certificate.ca_pem).unwrap();
        self.ca = Some(ca);
        self.variable("HTTP_LISTEN_PORT", "0")
    }

    /// With a disk of its own for its data. Of its `size` in bytes so many are `taken`, by a file [`NOT_OURS`].
    pub(crate) fn on_small_disk(mut self, size: u64, taken: u64) -> Self {
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs \"$DATA_DIR\" &&
             head --bytes={taken} /dev/zero > \"$DATA_DIR\"/{NOT_OURS} && exec \"$0\""
        );
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        command.arg(self.command.get_program());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.command = command;
        self
    }

    pub(crate) fn start(mut self) -> Service {
        let log = self.directory.join("service.log");
        let printed = File::create(self.directory.join(PRINTED)).unwrap();
        let child = self.command.stderr(File::create(&log).unwrap()).stdout(printed).spawn().unwrap();
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        let mut service = Service { child, log, url: String::new(), ca: self.ca };
        wait(
            || service.listening(scheme).is_some(),
            || format!("the service does not listen:\n{}", service.log()),
        );
        service.url = service.listening(scheme).unwrap();
        service
    }
}

pub(crate) fn wait(condition: impl Fn() -> bool, complaint: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{}", complaint());
        let pause = start.elapsed() / 50;
        std::thread::sleep(pause.clamp(Duration::from_millis(2), Duration::from_millis(100)));
    }
}
