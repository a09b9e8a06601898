//! What tests judge by: live ISOs built of Debian's parts, and programs that are not ours.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A live ISO of `make fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/fixtures/{name}.iso"));
    assert!(path.exists(), "{} does not exist: run `make fixtures`", path.display());
    path
}

/// What a program, which must succeed, writes to its standard output.
pub(crate) fn run<S: AsRef<OsStr>>(directory: &Path, program: &str, arguments: &[S]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("PATH", path())
        .stderr(Stdio::piped())
        .output()
        .unwrap_or_else(|error| panic!("{program} does not run: {error}; run `make setup`"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} failed: {errors}");
    output.stdout
}

/// Where programs are: those of `make setup`, and for users other than root `mkfs.erofs` and the like.
pub(crate) fn path() -> OsString {
    let home = |variable, below: &str| Some(PathBuf::from(std::env::var_os(variable)?).join(below));
    let cache = home("XDG_CACHE_HOME", "").or_else(|| home("HOME", ".cache")).unwrap_or_default();
    let mut path = cache.join("coreos-image-service/tools/bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path.push(":/usr/sbin:/sbin");
    path
}
