//! Programs that judge what ours has made.

use std::path::PathBuf;
use std::process::Command;

/// A coreos-installer command; `make setup` installs the program.
pub(crate) fn coreos_installer(arguments: &[&str]) -> Command {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let installed = cache.join("coreos-image-service/tools/bin/coreos-installer");
    let mut command = Command::new(if installed.exists() { installed } else { "coreos-installer".into() });
    command.args(arguments);
    command
}

/// What a command prints; it must succeed. (Firmware draws boxes in a character set of old.)
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `make setup`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
