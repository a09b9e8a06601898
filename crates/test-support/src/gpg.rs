//! GnuPG with a keyring of its own, as the publisher of releases.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A home directory with secret keys. Time is what a call says, `YYYYMMDDThhmmss`.
#[derive(Debug)]
pub struct Gpg {
    home: TempDir,
}

/// When keys are made.
const FIRST: &str = "20200101T000000";

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Gpg {
    /// One without keys.
    pub fn new() -> Self {
        Self { home: TempDir::new().expect("a temporary directory can be made") }
    }

    /// Makes a key for signing on the first day of 2020, by `algorithm`, such as `rsa3072` or `ed25519`. It never
    /// expires. Returns its fingerprint.
    pub fn key(&self, user: &str, algorithm: &str) -> String {
        self.run(
            &["--faked-system-time", FIRST, "--quick-generate-key", user, algorithm, "sign", "never"],
            b"",
        );
        self.fingerprints(user).remove(0)
    }

    /// Adds a subkey, on the same day. `usage` is `sign` or `encr`. Returns its fingerprint.
    pub fn subkey(&self, key: &str, algorithm: &str, usage: &str) -> String {
        self.run(&["--faked-system-time", FIRST, "--quick-add-key", key, algorithm, usage, "never"], b"");
        self.fingerprints(key).pop().expect("it was added")
    }

    /// Lets a key expire at `until`.
    pub fn expire(&self, key: &str, until: &str) {
        self.run(&["--faked-system-time", "20200102T000000", "--quick-set-expire", key, until], b"");
    }

    /// Revokes a key at a time. `reason` is GnuPG's number: 1 compromised, 2 superseded, 3 no longer used.
    pub fn revoke(&self, key: &str, time: &str, reason: u8) {
        let answers = format!("y\n{reason}\n\ny\n");
        let arguments =
            ["--faked-system-time", time, "--command-fd", "0", "--no-batch", "--yes", "--gen-revoke", key];
        let certificate = self.run(&arguments, answers.as_bytes());
        self.run(&["--import"], &certificate);
    }

    /// The public keys, binary.
    pub fn export(&self, keys: &[&str]) -> Vec<u8> {
        self.run(&[&["--export"], keys].concat(), b"")
    }

    /// The public keys, armored.
    pub fn export_armored(&self, keys: &[&str]) -> Vec<u8> {
        self.run(&[&["--armor", "--export"], keys].concat(), b"")
    }

    /// The secret keys, armored.
    pub fn export_secret(&self, key: &str) -> Vec<u8> {
        self.run(&["--armor", "--export-secret-keys", key], b"")
    }

    /// Signs as publishers of releases do: a binary message with the document in it. An exclamation mark behind a
    /// fingerprint asks for exactly that subkey.
    pub fn sign(&self, keys: &[&str], document: &str) -> Vec<u8> {
        self.sign_with(keys, document, &["--faked-system-time", "20230101T000000", "--sign"])
    }

    /// The same with arguments of one's own.
    pub fn sign_with(&self, keys: &[&str], document: &str, arguments: &[&str]) -> Vec<u8> {
        let users: Vec<_> = keys.iter().flat_map(|key| ["--local-user", key]).collect();
        self.run(&[users.as_slice(), arguments].concat(), document.as_bytes())
    }

    fn fingerprints(&self, key: &str) -> Vec<String> {
        let listing = self.run(&["--with-colons", "--list-keys", key], b"");
        let listing = String::from_utf8(listing).expect("colons and text");
        let lines = listing.lines().filter(|line| line.starts_with("fpr:"));
        lines.map(|line| line.split(':').nth(9).expect("a fingerprint").to_owned()).collect()
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(self.home.path()).args(["--batch", "--quiet", "--no-tty", "--yes"]);
        gpg.args(["--pinentry-mode", "loopback", "--passphrase", "", "--no-auto-check-trustdb"]);
        let mut gpg = gpg
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg is installed");
        // It may end before it has read everything.
        let _ = gpg.stdin.take().expect("it is piped").write_all(input);
        let output = gpg.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {errors}");
        output.stdout
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let home: &Path = self.home.path();
        let _ = Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]).status();
    }
}

/// The document that says that a digest, `sha256:…`, is a release.
pub fn statement(digest: &str) -> String {
    format!(
        r#"{{"critical": {{"type": "atomic container signature", "image": {{"docker-manifest-digest": "{digest}"}},
        "identity": {{"docker-reference": "quay.io/openshift-release-dev/ocp-release:4.18.52-x86_64"}}}},
        "optional": {{"creator": "a test", "timestamp": 1672531200}}}}"#
    )
}
